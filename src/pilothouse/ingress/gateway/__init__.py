"""Gateway API: Gateways and HTTPRoutes served by the same HAProxy as Ingresses, where their kinds are defined."""
