"""Authorisation by configuration: which authorisers are asked in which order, webhooks among them."""
