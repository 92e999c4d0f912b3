"""Jobs: pods of a template until so many of them have succeeded."""
