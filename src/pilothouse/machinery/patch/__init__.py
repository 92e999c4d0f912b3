"""The patches a client may send: JSON, merge and strategic merge. None changes what it is given."""
