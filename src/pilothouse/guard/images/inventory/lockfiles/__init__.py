"""Lockfiles: what a folder's programs are made of, before they are in an image."""
