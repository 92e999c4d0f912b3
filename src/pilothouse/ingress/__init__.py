"""Ingress: HAProxy, configured from Ingresses, run on the API's machine while there is any."""
