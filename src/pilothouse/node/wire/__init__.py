"""Generated messages of CRI (`cri`) and of containerd's own API; sources are the .proto files beside them."""
