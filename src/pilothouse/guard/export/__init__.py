"""The checks of one object as policies and bindings for any Kubernetes cluster. Pure.

Source: Kubernetes documentation, "Validating Admission Policy" (stable since 1.30).
"""
