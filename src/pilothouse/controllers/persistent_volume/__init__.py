"""Volumes: bound to claims, made on local disks, protected while in use, reclaimed."""
