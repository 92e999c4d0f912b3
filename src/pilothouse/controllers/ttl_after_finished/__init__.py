"""Finished Jobs are deleted once their time is up."""
