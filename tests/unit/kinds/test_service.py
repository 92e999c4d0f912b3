import pytest

from pilothouse.kinds.core.service import KIND

from .trees import changed, defaulted, faults, service


def test_defaults() -> None:
    assert defaulted(KIND, service())["spec"] == {
        "selector": {"app": "web"},
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "NodePort"}, {"externalTrafficPolicy": "Cluster"}),
        ({"type": "LoadBalancer"}, {"allocateLoadBalancerNodePorts": True}),
        ({"sessionAffinity": "ClientIP"}, {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}}),
        ({"clusterIP": "None"}, {"clusterIPs": ["None"]}),
    ],
)
def test_defaults_that_follow_from_a_choice(given: dict[str, object], expected: dict[str, object]) -> None:
    spec = defaulted(KIND, service(**given))["spec"]
    assert {key: spec[key] for key in expected} == expected


def test_an_external_name_has_no_address() -> None:
    spec = defaulted(KIND, service(type="ExternalName", externalName="db.example.com"))["spec"]
    assert not spec.keys() & {"ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"ports": []}, ["ports: Required value"]),
        ({"ports": [], "clusterIP": "None"}, []),
        ({"ports": [{"port": 1}, {"port": 2}]}, ["ports[0].name: Required value", "ports[1].name: Required value"]),
        (
            {"ports": [{"port": 0}]},
            [
                "ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            {"trafficDistribution": "Anywhere", "ports": [{"port": 1, "protocol": "SCTP"}]},
            [
                'trafficDistribution: Unsupported value: "Anywhere": '
                'supported values: "PreferClose", "PreferSameNode", "PreferSameZone"',
            ],
        ),
        (
            {"ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]},
            ['ports[1]: Duplicate value: {"port":1,"protocol":"TCP"}'],
        ),
        (
            {"ports": [{"port": 1, "nodePort": 30001}]},
            ["ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (
            {"type": "NodePort", "ports": [{"port": 1, "nodePort": 80}]},
            [
                "ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. "
                "The range of valid ports is 30000-32767"
            ],
        ),
        (
            {"type": "Magic"},
            [
                'type: Unsupported value: "Magic": '
                'supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'
            ],
        ),
        ({"type": "ExternalName"}, ["externalName: Required value"]),
        (
            {"clusterIP": "10.0.0.300"},
            [
                'clusterIPs[0]: Invalid value: "10.0.0.300": '
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            ],
        ),
        ({"ipFamilies": ["IPv6"]}, []),
        ({"ipFamilies": ["IPv5"]}, ['ipFamilies[0]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6"']),
        ({"ipFamilies": ["IPv6", "IPv6"]}, ['ipFamilies[1]: Duplicate value: "IPv6"']),
        (
            {"ipFamilyPolicy": "Both"},
            [
                'ipFamilyPolicy: Unsupported value: "Both": '
                'supported values: "PreferDualStack", "RequireDualStack", "SingleStack"'
            ],
        ),
        (
            {"clusterIP": "10.0.0.3", "clusterIPs": ["10.0.0.3", "10.0.0.4"]},
            ['clusterIPs: Invalid value: ["10.0.0.3","10.0.0.4"]: may specify no more than one IP for each IP family'],
        ),
        (
            {"clusterIP": "None", "clusterIPs": ["None", "fd00::4"]},
            ['clusterIPs: Invalid value: ["None","fd00::4"]: \'None\' must be the first and only value'],
        ),
        (
            {"clusterIP": "fd00::3", "ipFamilies": ["IPv4"]},
            ['clusterIPs[0]: Invalid value: "fd00::3": expected an IPv4 value as indicated by `ipFamilies[0]`'],
        ),
        (
            {"externalTrafficPolicy": "Local"},
            ['externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services'],
        ),
    ],
    ids=lambda case: str(case)[:50],
)
def test_rules(spec: dict[str, object], expected: list[str]) -> None:
    assert faults(KIND, service(**spec)) == [f"spec.{fault}" for fault in expected]


def test_a_name_must_start_with_a_letter() -> None:
    assert faults(KIND, changed(service(), "metadata.name", "1st"))[0].startswith("metadata.name: Invalid value")


OLD = service(
    type="NodePort",
    clusterIP="10.96.0.7",
    clusterIPs=["10.96.0.7"],
    ports=[{"port": 80, "protocol": "TCP", "nodePort": 30080}],
)


def _updated(**spec: object) -> dict[str, object]:
    new = defaulted(KIND, service(**spec))
    KIND.prepare_update(new, OLD)
    found: dict[str, object] = new["spec"]
    return found


def test_an_update_that_leaves_out_what_was_allocated_keeps_it() -> None:
    spec = _updated(type="NodePort", ports=[{"port": 8080}])
    assert (spec["clusterIP"], spec["clusterIPs"]) == ("10.96.0.7", ["10.96.0.7"])
    assert spec["ports"] == [{"port": 8080, "protocol": "TCP", "targetPort": 8080, "nodePort": 30080}]


def test_a_type_without_node_ports_gives_them_up() -> None:
    spec = _updated(type="ClusterIP", externalTrafficPolicy="Cluster", ports=[{"port": 80, "nodePort": 30080}])
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert spec["clusterIP"] == "10.96.0.7"


def test_an_external_name_gives_up_its_address() -> None:
    spec = _updated(type="ExternalName", externalName="x.example.com", clusterIP="10.96.0.7", clusterIPs=["10.96.0.7"])
    assert "clusterIP" not in spec


def test_the_address_stays() -> None:
    old = service(clusterIP="10.96.0.7")
    assert faults(KIND, service(clusterIP="10.96.0.8"), old) == [
        'spec.clusterIPs[0]: Invalid value: ["10.96.0.8"]: may not change once set'
    ]


DUAL = service(clusterIPs=["10.96.0.7", "fd00::7"], ipFamilies=["IPv4", "IPv6"], ipFamilyPolicy="PreferDualStack")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"clusterIPs": ["10.96.0.7"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}, []),
        (
            {"clusterIPs": ["10.96.0.7"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "PreferDualStack"},
            [
                'ipFamilyPolicy: Invalid value: "PreferDualStack": '
                f"must be set to 'SingleStack' when releasing the secondary {what}"
                for what in ("clusterIP", "ipFamily")
            ],
        ),
        (
            {"clusterIPs": ["10.96.0.7", "fd00::8"], "ipFamilies": ["IPv4", "IPv6"]},
            ['clusterIPs[1]: Invalid value: ["10.96.0.7","fd00::8"]: may not change once set'],
        ),
        (
            {"clusterIPs": ["10.96.0.7", "fd00::7"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"},
            [],
        ),
    ],
    ids=lambda case: str(case)[:60],
)
def test_the_second_address_goes_only_when_that_is_said(spec: dict[str, object], expected: list[str]) -> None:
    assert faults(KIND, service(**spec), DUAL) == [f"spec.{fault}" for fault in expected]


def test_a_client_that_knows_one_address_takes_none_away() -> None:
    new = defaulted(KIND, service(clusterIP="10.96.0.7"))
    KIND.prepare_update(new, DUAL)
    assert new["spec"]["clusterIPs"] == ["10.96.0.7", "fd00::7"]
