"""Endpoints: what came before EndpointSlices, for clients that still read them."""
