"""Eviction: pods are ended before the node itself runs out of memory, disk, inodes or process numbers."""
