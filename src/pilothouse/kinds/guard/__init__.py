"""`guard.pilothouse.dev`: what the guard serves of its own."""
