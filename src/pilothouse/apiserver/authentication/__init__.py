"""Who asks: client certificates, service account tokens, bootstrap tokens, nobody in particular; and impersonation."""
