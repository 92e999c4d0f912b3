"""Devices that plugins on the node offer to containers, as extended resources."""
