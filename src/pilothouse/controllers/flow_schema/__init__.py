"""Says of FlowSchemas whether their level exists."""
