import pytest

from pilothouse.kinds.core.pod_kind import KIND

from .trees import changed, container, faults, pod

CONTAINER_CASES: list[tuple[dict[str, object], list[str]]] = [
    ({"image": ""}, ["image: Required value"]),
    ({"image": " x"}, ['image: Invalid value: " x": must not have leading or trailing whitespace']),
    ({"name": ""}, ["name: Required value"]),
    (
        {"imagePullPolicy": "Sometimes"},
        ['imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"'],
    ),
    ({"ports": [{}]}, ["ports[0].containerPort: Required value"]),
    (
        {"ports": [{"containerPort": 70000}]},
        ["ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
    ),
    (
        {"ports": [{"containerPort": 1, "protocol": "ICMP"}]},
        ['ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'],
    ),
    (
        {"ports": [{"containerPort": 1, "name": "web"}, {"containerPort": 2, "name": "web"}]},
        ['ports[1].name: Duplicate value: "web"'],
    ),
    (
        {"ports": [{"containerPort": 1, "hostPort": 80}, {"containerPort": 2, "hostPort": 80}]},
        ['ports[1].hostPort: Duplicate value: "TCP//80"'],
    ),
    ({"env": [{"value": "x"}]}, ["env[0].name: Required value"]),
    (
        {"env": [{"name": "A", "valueFrom": {}}]},
        [
            'env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, '
            "`configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        ],
    ),
    (
        {"env": [{"name": "A", "value": "x", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
        ['env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'],
    ),
    (
        {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c"}}}]},
        ["env[0].valueFrom.configMapKeyRef.key: Required value"],
    ),
    (
        {"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1Mi"}}}]},
        [
            'env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": '
            "only divisor's values 1m and 1 are supported with the cpu resource"
        ],
    ),
    ({"envFrom": [{}]}, ['envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`']),
    ({"envFrom": [{"secretRef": {}}]}, ["envFrom[0].secretRef.name: Required value"]),
    ({"volumeMounts": [{"name": "gone", "mountPath": "/x"}]}, ['volumeMounts[0].name: Not found: "gone"']),
    ({"volumeMounts": [{"name": "data"}]}, ["volumeMounts[0].mountPath: Required value"]),
    (
        {"volumeMounts": [{"name": "data", "mountPath": "/x"}, {"name": "data", "mountPath": "/x"}]},
        ['volumeMounts[1].mountPath: Invalid value: "/x": must be unique'],
    ),
    (
        {"volumeMounts": [{"name": "data", "mountPath": "/x", "subPath": "../y"}]},
        ["volumeMounts.subPath: Invalid value: \"../y\": must not contain '..'"],
    ),
    (
        {"volumeMounts": [{"name": "data", "mountPath": "/x", "mountPropagation": "Bidirectional"}]},
        [
            "volumeMounts.mountPropagation: Forbidden: "
            "Bidirectional mount propagation is available only to privileged containers"
        ],
    ),
    (
        {"volumeMounts": [{"name": "data", "mountPath": "/x", "recursiveReadOnly": "Enabled"}]},
        ["volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true"],
    ),
    (
        {"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "Sometimes"}, {"resourceName": "cpu"}]},
        [
            'resizePolicy: Unsupported value: "Sometimes": supported values: "NotRequired", "RestartContainer"',
            'resizePolicy[1]: Duplicate value: "cpu"',
            "resizePolicy: Required value",
        ],
    ),
    (
        {"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}},
        [
            "lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than "
            "terminationGracePeriodSeconds (30)"
        ],
    ),
    (
        {"env": [{"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.x"}}}]},
        [
            'env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.x": error converting fieldPath: '
            "field label not supported: spec.x"
        ],
    ),
    ({"livenessProbe": {}}, ["livenessProbe: Required value: must specify a handler type"]),
    (
        {"readinessProbe": {"exec": {"command": ["x"]}, "tcpSocket": {"port": 1}}},
        ["readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
    ),
    (
        {"livenessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}},
        ["livenessProbe.successThreshold: Invalid value: 2: must be 1"],
    ),
    (
        {"readinessProbe": {"httpGet": {"port": "no--name"}, "periodSeconds": -1}},
        [
            'readinessProbe.httpGet.port: Invalid value: "no--name": must not contain consecutive hyphens',
            "readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ],
    ),
    ({"startupProbe": {"exec": {}}}, ["startupProbe.exec.command: Required value"]),
    ({"lifecycle": {"preStop": {}}}, ["lifecycle.preStop: Required value: must specify a handler type"]),
    (
        {"resources": {"limits": {"cpu": "500m"}, "requests": {"cpu": "1"}}},
        ['resources.requests: Invalid value: "1": must be less than or equal to cpu limit of 500m'],
    ),
    (
        {"resources": {"limits": {"memory": "lots"}}},
        [
            f'resources.{part}[memory]: Invalid value: "lots": quantities must match the regular expression '
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            for part in ("limits", "requests")
        ],
    ),
    (
        {"resources": {"limits": {"hugepages-2Mi": "4Mi"}}},
        ["resources: Forbidden: HugePages require cpu or memory"],
    ),
    (
        {"resources": {"limits": {"hugepages-2Mi": "3Mi", "cpu": "1"}}},
        ['resources: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi'] * 2,
    ),
    (
        {"resources": {"limits": {"hugepages-2Mi": "4Mi", "cpu": "1"}, "requests": {"hugepages-2Mi": "2Mi"}}},
        ['resources.requests: Invalid value: "2Mi": must be equal to hugepages-2Mi limit of 4Mi'],
    ),
    (
        {"resources": {"requests": {"example.com/gpu": "1"}}},
        ["resources.limits: Required value: Limit must be set for non overcommitable resources"],
    ),
    (
        {"resources": {"limits": {"widgets": "1"}}},
        [
            f'resources.{part}: Invalid value: "widgets": must be a standard resource for containers'
            for part in ("limits", "requests")
        ],
    ),
    (
        {"securityContext": {"runAsUser": -1}},
        ["securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"],
    ),
    (
        {"securityContext": {"seccompProfile": {"type": "Localhost"}}},
        ["securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost"],
    ),
    (
        {"volumeDevices": [{"name": "gone", "devicePath": "/dev/x"}, {"name": "gone", "devicePath": "/dev/x"}, {}]},
        [
            'volumeDevices[0].name: Not found: "gone"',
            'volumeDevices[1].name: Invalid value: "gone": must be unique',
            'volumeDevices[1].name: Not found: "gone"',
            'volumeDevices[1].devicePath: Invalid value: "/dev/x": must be unique',
            "volumeDevices[2].name: Required value",
            'volumeDevices[2].name: Not found: ""',
            "volumeDevices[2].devicePath: Required value",
        ],
    ),
]


@pytest.mark.parametrize(("fields", "expected"), CONTAINER_CASES, ids=lambda case: str(case)[:60])
def test_containers(fields: dict[str, object], expected: list[str]) -> None:
    tree = pod(containers=[container(**fields)], volumes=[{"name": "data", "emptyDir": {}}])
    assert faults(KIND, tree) == [f"spec.containers[0].{fault}" for fault in expected]


SPEC_CASES: list[tuple[dict[str, object], list[str]]] = [
    ({"containers": []}, ["containers: Required value"]),
    ({"containers": [container(), container()]}, ['containers[1].name: Duplicate value: "app"']),
    (
        {"initContainers": [container(name="init", readinessProbe={"tcpSocket": {"port": 1}})]},
        [
            "initContainers[0].readinessProbe: Forbidden: "
            "may not be set for init containers without restartPolicy=Always"
        ],
    ),
    (
        {"initContainers": [container(name="init", restartPolicy="Always", readinessProbe={"tcpSocket": {"port": 1}})]},
        [],
    ),
    (
        {"restartPolicy": "Maybe"},
        ['restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"'],
    ),
    (
        {"dnsPolicy": "None"},
        ["dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
    ),
    (
        {"dnsPolicy": "None", "dnsConfig": {}},
        ["dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None"],
    ),
    (
        {"terminationGracePeriodSeconds": -1},
        ["terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0"],
    ),
    (
        {"activeDeadlineSeconds": 0},
        ["activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
    ),
    (
        {"shareProcessNamespace": True, "hostPID": True, "securityContext": {}},
        [
            "securityContext.shareProcessNamespace: Invalid value: true: "
            "ShareProcessNamespace and HostPID cannot both be enabled"
        ],
    ),
    (
        {"hostUsers": False, "hostPID": True},
        ["HostPID: Forbidden: when `hostUsers` is false"],
    ),
    (
        {"hostnameOverride": "web.example.com", "hostNetwork": True},
        ["hostnameOverride: Forbidden: may not be specified when hostNetwork is true"],
    ),
    ({"os": {"name": "windows"}}, ['os.name: Unsupported value: "windows": supported values: "linux"']),
    ({"tolerations": [{"operator": "Exists"}]}, []),
    (
        {"tolerations": [{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}]},
        [
            'tolerations[0].effect: Invalid value: "NoSchedule": '
            "effect must be 'NoExecute' when `tolerationSeconds` is set"
        ],
    ),
    (
        {"schedulingGates": [{"name": "a"}, {"name": "a"}], "nodeName": "n1"},
        [
            'schedulingGates[1]: Duplicate value: "a"',
            "nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
        ],
    ),
    (
        {"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]},
        ["topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"],
    ),
    (
        {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}},
        [
            "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: "
            "Required value: must have at least one node selector term"
        ],
    ),
    (
        {
            "affinity": {
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {"weight": 101, "podAffinityTerm": {"topologyKey": "zone", "matchLabelKeys": ["a"]}}
                    ]
                }
            }
        },
        [
            "affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: "
            "Invalid value: 101: must be in the range 1-100",
            "affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm."
            "matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
        ],
    ),
    ({"hostAliases": [{"ip": "1.2.3.400"}]}, ['hostAliases[0].ip: Invalid value: "1.2.3.400": must be a valid IP']),
]


@pytest.mark.parametrize(("spec", "expected"), SPEC_CASES, ids=lambda case: str(case)[:60])
def test_specs(spec: dict[str, object], expected: list[str]) -> None:
    found = faults(KIND, pod(**spec))
    assert len(found) == len(expected), found
    for fault, beginning in zip(found, expected):
        assert fault.startswith(f"spec.{beginning}")


VOLUME_CASES: list[tuple[dict[str, object], list[str]]] = [
    ({"emptyDir": {}, "secret": {"secretName": "s"}}, [".secret: Forbidden: may not specify more than 1 volume type"]),
    (
        {"emptyDir": {"medium": "Disk"}},
        ['.emptyDir.medium: Unsupported value: "Disk": supported values: "HugePages", "HugePages-2Mi", "Memory"'],
    ),
    ({"hostPath": {}}, [".hostPath.path: Required value"]),
    ({"hostPath": {"path": "/a/../b"}}, [".hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"]),
    ({"configMap": {}}, [".configMap.name: Required value"]),
    ({"secret": {"secretName": "s", "items": [{"path": "x"}]}}, [".secret.items[0].key: Required value"]),
    (
        {"secret": {"secretName": "s", "defaultMode": 512}},
        [".secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"],
    ),
    (
        {"projected": {"sources": [{"serviceAccountToken": {"path": "/t", "expirationSeconds": 5}}]}},
        [
            ".projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 5: "
            "may not specify a duration less than 10 minutes",
            '.projected.sources[0].serviceAccountToken.path: Invalid value: "/t": must be a relative path',
        ],
    ),
    (
        {"configMap": {"name": "a"}, "secret": {}},
        [".secret.secretName: Required value", ".configMap: Forbidden: may not specify more than 1 volume type"],
    ),
    (
        {"projected": {"sources": [{"secret": {"name": "a", "items": [{"key": "k", "path": "p"}] * 2}}]}},
        ['.projected: Invalid value: "a": conflicting duplicate paths'],
    ),
    (
        {"ephemeral": {"volumeClaimTemplate": {"metadata": {"name": "a"}}}},
        [
            ".ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set",
            ".ephemeral.volumeClaimTemplate.spec.accessModes: Required value: at least 1 access mode is required",
            ".ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value",
        ],
    ),
    ({"persistentVolumeClaim": {}}, [".persistentVolumeClaim.claimName: Required value"]),
    ({"ephemeral": {}}, [".ephemeral.volumeClaimTemplate: Required value"]),
    (
        {"nfs": {"server": "s", "path": "/"}},
        [
            ".nfs: Forbidden: volumes of this type cannot be mounted by Pilothouse; it mounts configMap, csi, "
            "downwardAPI, emptyDir, ephemeral, hostPath, image, persistentVolumeClaim, projected, secret"
        ],
    ),
]


@pytest.mark.parametrize(("source", "expected"), VOLUME_CASES, ids=lambda case: str(case)[:60])
def test_volumes(source: dict[str, object], expected: list[str]) -> None:
    assert faults(KIND, pod(volumes=[{"name": "v", **source}])) == [f"spec.volumes[0]{fault}" for fault in expected]


ALLOWED = {
    "spec.containers.0.image": "registry.test/app:2",
    "spec.activeDeadlineSeconds": 60,
    "spec.tolerations": [{"key": "old", "operator": "Exists"}, {"key": "new", "operator": "Exists"}],
    "metadata.labels": {"a": "b"},
}
REFUSED = {
    "spec.containers.0.command": ["sh"],
    "spec.nodeName": "n1",
    "spec.restartPolicy": "Never",
    "spec.tolerations": [{"key": "new", "operator": "Exists"}],
    "spec.volumes": [{"name": "v", "emptyDir": {}}],
}
OLD = pod(tolerations=[{"key": "old", "operator": "Exists"}])


@pytest.mark.parametrize(("path", "value"), ALLOWED.items())
def test_changes_that_are_allowed(path: str, value: object) -> None:
    assert faults(KIND, changed(OLD, path, value), OLD) == []


@pytest.mark.parametrize(("path", "value"), REFUSED.items())
def test_changes_that_are_refused(path: str, value: object) -> None:
    found = faults(KIND, changed(OLD, path, value), OLD)
    assert len(found) == 1
    assert found[0].startswith("spec: Forbidden: pod updates may not change fields other than")
    assert found[0].endswith(f"changed here: {path.replace('.0.', '[0].')}")


def test_containers_are_not_added() -> None:
    new = changed(OLD, "spec.containers", [container(), container(name="b")])
    assert faults(KIND, new, OLD) == ["spec.containers: Forbidden: pod updates may not add or remove containers"]


def test_gates_are_only_taken_away() -> None:
    gated = pod(schedulingGates=[{"name": "a"}])
    assert faults(KIND, changed(gated, "spec.schedulingGates", []), gated) == []
    assert faults(KIND, changed(gated, "spec.nodeSelector", {"disk": "ssd"}), gated) == []
    assert faults(KIND, changed(gated, "spec.schedulingGates", [{"name": "b"}]), gated) == [
        "spec.schedulingGates: Forbidden: only deletion is allowed, but found new scheduling gate 'b'"
    ]
