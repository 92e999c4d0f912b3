"""Deployments: rollouts of a pod template through ReplicaSets."""
