"""Checks across objects, each a pure function over a snapshot; one file a topic."""

from __future__ import annotations

from pilothouse.guard.cross import autoscaling, configuration, disruption, namespaces, network, rights, services
from pilothouse.guard.snapshot import CrossCheck

CROSS_CHECKS: tuple[CrossCheck, ...] = (
    *services.CHECKS,
    *autoscaling.CHECKS,
    *disruption.CHECKS,
    *network.CHECKS,
    *namespaces.CHECKS,
    *configuration.CHECKS,
    *rights.CHECKS,
)
