"""Other API servers behind this one: found by APIService objects, asked with this server's word for who the user is."""
