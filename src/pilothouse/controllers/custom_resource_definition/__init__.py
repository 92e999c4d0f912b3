"""Custom resource definitions: names freed are given out, and instances go with their definition."""
