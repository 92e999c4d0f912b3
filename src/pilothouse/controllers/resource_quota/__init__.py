"""Keeps the status of ResourceQuotas: what there is, and what is used of it."""
