"""Nodes that stop answering: marked, tainted, their pods evicted after a time, and welcomed back."""
