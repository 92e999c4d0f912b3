"""FlowSchemas say whether their level is there."""

from __future__ import annotations

from cluster_world import Cluster

from pilothouse.kinds.flowcontrol.flow_schema import FlowSchema
from pilothouse.kinds.flowcontrol.priority_level_configuration import PriorityLevelConfiguration
from pilothouse.machinery.objects import Obj


async def test_a_schema_says_whether_its_level_is_there(cluster: Cluster) -> None:
    subject = {"kind": "User", "user": {"name": "ann"}}
    paths = {"verbs": ["*"], "nonResourceURLs": ["*"]}
    spec: Obj = {"priorityLevelConfiguration": {"name": "low"}}
    rules = [{"subjects": [subject], "nonResourceRules": [paths]}]
    await cluster.client.create_tree(FlowSchema.resource, {"metadata": {"name": "a"}, "spec": {**spec, "rules": rules}})

    def said() -> list[tuple[str, str, str]]:
        return [
            (entry.type, entry.status, entry.reason)
            for schema in cluster.all(FlowSchema)
            for entry in schema.status.conditions
        ]

    await cluster.until(lambda: said() == [("Dangling", "True", "NotFound")])
    limited = {"limitResponse": {"type": "Reject"}}
    level = {"metadata": {"name": "low"}, "spec": {"type": "Limited", "limited": limited}}
    await cluster.client.create_tree(PriorityLevelConfiguration.resource, level)
    await cluster.until(lambda: said() == [("Dangling", "False", "Found")])
    await cluster.client.delete(PriorityLevelConfiguration, "low")
    await cluster.until(lambda: said() == [("Dangling", "True", "NotFound")])
