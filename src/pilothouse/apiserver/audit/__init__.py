"""Who did what, when, and whether they might: a line for every request that the policy wants recorded."""
