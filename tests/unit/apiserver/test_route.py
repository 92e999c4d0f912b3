"""From methods and paths to routes."""

import pytest

from pilothouse.apiserver.route import Route, parse


def resource(path: str, method: str = "GET", *query: tuple[str, str]) -> Route:
    return parse(method, path, list(query))


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/v1/pods", ("list", "", "v1", "pods", "", "", "")),
        ("GET", "/api/v1/namespaces/ns/pods", ("list", "", "v1", "pods", "ns", "", "")),
        ("POST", "/api/v1/namespaces/ns/pods", ("create", "", "v1", "pods", "ns", "", "")),
        ("GET", "/api/v1/namespaces/ns/pods/p", ("get", "", "v1", "pods", "ns", "p", "")),
        ("PUT", "/apis/g/v1/namespaces/ns/ds/d/status", ("update", "g", "v1", "ds", "ns", "d", "status")),
        ("PATCH", "/apis/g/v1/namespaces/ns/ds/d", ("patch", "g", "v1", "ds", "ns", "d", "")),
        ("DELETE", "/apis/g/v1/namespaces/ns/ds", ("deletecollection", "g", "v1", "ds", "ns", "", "")),
        ("GET", "/api/v1/namespaces", ("list", "", "v1", "namespaces", "", "", "")),
        ("DELETE", "/api/v1/namespaces/ns", ("delete", "", "v1", "namespaces", "ns", "ns", "")),
        ("PUT", "/api/v1/namespaces/ns/finalize", ("update", "", "v1", "namespaces", "ns", "ns", "finalize")),
        ("PUT", "/api/v1/namespaces/ns/status", ("update", "", "v1", "namespaces", "ns", "ns", "status")),
        ("GET", "/api/v1/namespaces/ns/pods/p/exec", ("create", "", "v1", "pods", "ns", "p", "exec")),
        ("POST", "/api/v1/namespaces/ns/pods/p/exec", ("create", "", "v1", "pods", "ns", "p", "exec")),
        ("GET", "/api/v1/namespaces/ns/pods/p/log", ("get", "", "v1", "pods", "ns", "p", "log")),
        ("GET", "/api/v1/nodes/n%2e1", ("get", "", "v1", "nodes", "", "n.1", "")),
        ("POST", "/api/v1/namespaces/ns/pods/p", ("", "", "v1", "pods", "ns", "p", "")),
    ],
)  # fmt: skip
def test_resources(method: str, path: str, expected: tuple[str, ...]) -> None:
    route = parse(method, path, [])
    assert route.is_resource
    assert (
        route.verb,
        route.group,
        route.version,
        route.resource,
        route.namespace,
        route.name,
        route.subresource,
    ) == expected


def test_watch_is_a_list_with_a_parameter() -> None:
    assert resource("/api/v1/pods", "GET", ("watch", "true")).verb == "watch"
    assert resource("/api/v1/pods", "GET", ("watch", "1")).verb == "watch"
    assert resource("/api/v1/pods", "GET", ("watch", "false")).verb == "list"


def test_a_list_of_one_name_is_about_that_name() -> None:
    selector = ("fieldSelector", "metadata.name=web")
    assert resource("/api/v1/namespaces/ns/pods", "GET", selector, ("watch", "true")).name == "web"
    assert resource("/api/v1/namespaces/ns/pods", "GET", ("fieldSelector", "metadata.name!=web")).name == ""


@pytest.mark.parametrize(
    "path", ["/api", "/apis", "/apis/apps", "/apis/apps/v1", "/api/v1", "/version", "/", "/openapi/v3/apis/apps/v1"]
)
def test_other_paths(path: str) -> None:
    route = parse("GET", path + "/" if path != "/" else path, [])
    assert (route.is_resource, route.verb, route.path) == (False, "get", path)


@pytest.mark.parametrize(
    "path", ["/api/v1/namespaces//pods", "/apis//v1/pods", "/api/v1/namespaces/a%2Fb/pods", "/api/v1/secrets/ns%2Fs"]
)
def test_empty_or_hidden_segments_address_no_resource(path: str) -> None:
    assert not parse("DELETE", path, []).is_resource
