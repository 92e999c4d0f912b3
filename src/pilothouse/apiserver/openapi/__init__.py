"""OpenAPI documents of what this server serves, for clients that ask: `kubectl apply`, `kubectl explain`, helm."""
