"""Which advisories apply to which packages, by each ecosystem's own rules. Pure but for the look-ups."""
