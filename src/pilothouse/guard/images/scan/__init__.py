"""Takes inventories: layers through a limited worker, each once."""
