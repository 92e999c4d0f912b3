"""Who may do what, and how rights lead to further rights: pure functions over roles, bindings, accounts and pods."""
