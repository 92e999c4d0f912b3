"""Pods nobody will finish any more: those of nodes that are gone, and ended ones beyond a limit."""
