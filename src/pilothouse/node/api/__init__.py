"""The node's own HTTPS API, which the API server calls for logs, streams and statistics."""
