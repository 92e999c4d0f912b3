"""APIs served by other servers behind this one."""
