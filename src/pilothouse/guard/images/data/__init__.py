"""Vulnerability data: read from what its makers publish, kept compact, looked up by package."""
