"""What every cluster holds from its first start: namespaces, roles, classes, the API's own Service."""
