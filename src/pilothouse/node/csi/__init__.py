"""CSI drivers of this node: registered at a socket, told in CSINode, and asked to mount what pods need."""
