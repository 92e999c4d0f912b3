"""ServiceCIDRs: ready, and held while a Service has an address of theirs."""
