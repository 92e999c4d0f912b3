"""Who may do what: roles and their bindings, what a node needs for its own pods, and questions about both."""
