"""PodDisruptionBudgets: how many of an application's pods may be evicted now."""
