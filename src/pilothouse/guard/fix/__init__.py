"""Mends what can be mended without changing what works unannounced, at the places where it is written."""
