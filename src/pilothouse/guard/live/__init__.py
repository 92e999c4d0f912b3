"""Configuration checks of what runs: a change is re-evaluated with what it can affect, and nothing else."""
