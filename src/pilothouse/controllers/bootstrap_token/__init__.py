"""Join tokens: made, and deleted when expired; the cluster's public introduction."""
