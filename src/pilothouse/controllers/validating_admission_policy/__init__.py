"""Says in a policy's status what does not fit the kinds it names."""
