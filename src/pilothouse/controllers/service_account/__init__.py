"""A service account named default in every namespace."""
