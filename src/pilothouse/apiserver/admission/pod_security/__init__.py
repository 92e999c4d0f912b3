"""Kubernetes' Pod Security Standards: the controls as pure functions, and the admission step that applies them."""
