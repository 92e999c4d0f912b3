"""EndpointSlices for the Endpoints that people write: of Services without a selector."""
