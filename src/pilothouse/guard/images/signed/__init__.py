"""What others say of an image beside it in its registry, and whether a key vouches for it."""
