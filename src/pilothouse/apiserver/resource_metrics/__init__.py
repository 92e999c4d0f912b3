"""`metrics.k8s.io/v1beta1`: what nodes and pods use now, asked of the nodes when somebody asks (`kubectl top`)."""
