"""Snapshots of local volumes."""
