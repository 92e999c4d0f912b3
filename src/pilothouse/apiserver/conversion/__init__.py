"""Custom resources converted between versions by a webhook."""
