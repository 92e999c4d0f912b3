"""CPU, memory and network use of the node, its pods and their containers, read from the kernel when asked for."""
