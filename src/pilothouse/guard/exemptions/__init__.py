"""Exemptions: which findings they accept, which of them nothing needs, which have ended."""
