"""ReplicaSets: as many pods of a template as wanted."""
