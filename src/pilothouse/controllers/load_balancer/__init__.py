"""Services of type LoadBalancer, on the nodes' own addresses."""
