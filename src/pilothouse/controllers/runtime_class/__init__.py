"""Offers a RuntimeClass for each OCI runtime that works on some node."""
