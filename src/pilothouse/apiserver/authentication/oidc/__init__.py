"""Users of OpenID Connect issuers: JSON Web Tokens signed by keys that the issuer publishes."""
