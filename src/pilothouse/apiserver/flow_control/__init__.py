"""Priority and fairness: which requests run, which wait, and which are turned away when too many come at once."""
