"""Events are forgotten after an hour."""
