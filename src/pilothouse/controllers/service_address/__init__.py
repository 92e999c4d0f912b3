"""The IPAddress objects of Services."""
