"""CertificateSigningRequests approved and signed."""
