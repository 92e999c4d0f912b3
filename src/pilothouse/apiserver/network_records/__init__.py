"""`network.pilothouse.dev/v1alpha1`: flows seen and flows denied, asked of the nodes when somebody asks."""
