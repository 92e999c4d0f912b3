import orjson
import pytest

from pilothouse.apiserver.openapi.documents import OpenApi
from pilothouse.apiserver.openapi.served import Served, ServedSubresource
from pilothouse.machinery.objects import Resource
from pilothouse.machinery.schema import GroupVersionKind

VERBS = frozenset(("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"))
SERVED = [
    Served(
        Resource("apps", "v1", "Deployment", "deployments", True),
        VERBS,
        (
            ServedSubresource("status", frozenset(("get", "patch", "update"))),
            ServedSubresource("scale", frozenset(("get",)), GroupVersionKind("autoscaling", "v1", "Scale")),
        ),
    ),
    Served(Resource("", "v1", "Service", "services", True), VERBS),
    Served(Resource("", "v1", "Node", "nodes", False), VERBS),
    Served(Resource("metrics.k8s.io", "v1beta1", "PodMetrics", "pods", True), frozenset(("get", "list"))),
]


def document(path):
    found = OpenApi(SERVED).document(path)
    assert found is not None
    return orjson.loads(found.body())


def references(tree):
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from references(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from references(value)


def test_the_index_names_every_document_by_a_hash_that_is_its_etag():
    api = OpenApi(SERVED)
    index = orjson.loads(api.index().body())["paths"]
    assert sorted(index) == ["api/v1", "apis/apps/v1", "apis/metrics.k8s.io/v1beta1"]
    url = index["apis/apps/v1"]["serverRelativeURL"]
    assert url == f"/openapi/v3/apis/apps/v1?hash={api.hash_of('apis/apps/v1')}"
    assert api.document("apis/apps/v1").etag == f'"{api.hash_of("apis/apps/v1")}"'
    assert api.document("apis/gone/v1") is None
    assert OpenApi(SERVED[1:]).hash_of("api/v1") == api.hash_of("api/v1")
    assert OpenApi(SERVED[:2]).hash_of("api/v1") != api.hash_of("api/v1")


def test_kubectl_finds_what_it_needs_on_the_patch_operation():
    item = document("apis/apps/v1")["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    patch = item["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert {"name": "fieldValidation", "in": "query"}.items() <= patch["parameters"][2].items()
    assert [parameter["name"] for parameter in item["parameters"]] == ["name", "namespace"]


def test_paths_follow_verbs_and_subresources():
    paths = document("apis/apps/v1")["paths"]
    base = "/apis/apps/v1/namespaces/{namespace}/deployments"
    assert set(paths) == {
        "/apis/apps/v1/deployments",
        base,
        *(base + end for end in ("/{name}", "/{name}/scale", "/{name}/status")),
    }
    assert paths[f"{base}/{{name}}/scale"]["get"]["x-kubernetes-group-version-kind"]["group"] == "autoscaling"
    assert "parameters" not in document("api/v1")["paths"]["/api/v1/nodes"]
    assert set(document("apis/metrics.k8s.io/v1beta1")["paths"]["/apis/metrics.k8s.io/v1beta1/pods"]) == {"get"}


def test_operation_names_are_unique():
    operations = [
        operation["operationId"]
        for path in ("api/v1", "apis/apps/v1")
        for item in document(path)["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    assert len(operations) == len(set(operations))


@pytest.mark.parametrize("path", ["api/v1", "apis/apps/v1", "apis/metrics.k8s.io/v1beta1"])
def test_every_reference_leads_somewhere(path):
    tree = document(path)
    schemas = tree["components"]["schemas"]
    assert {ref.removeprefix("#/components/schemas/") for ref in references(tree)} <= set(schemas)


def test_types_are_as_upstream_publishes_them():
    schemas = document("api/v1")["components"]["schemas"]
    port = schemas["io.k8s.api.core.v1.ServicePort"]["properties"]
    assert port["protocol"]["default"] == "TCP"
    assert port["nodePort"]["type"] == "integer"
    assert port["targetPort"]["allOf"] == [
        {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.util.intstr.IntOrString"}
    ]
    assert schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"] == "int-or-string"
    ports = schemas["io.k8s.api.core.v1.ServiceSpec"]["properties"]["ports"]
    assert ports["x-kubernetes-list-map-keys"] == ["port", "protocol"]
    assert ports["x-kubernetes-patch-merge-key"] == "port"
    assert "enum" not in schemas["io.k8s.api.core.v1.Service"]["properties"]["kind"]


def test_swagger_holds_everything_in_one_document():
    tree = orjson.loads(OpenApi(SERVED).v2().body())
    assert tree["swagger"] == "2.0"
    definitions = tree["definitions"]
    assert {ref.removeprefix("#/definitions/") for ref in references(tree)} <= set(definitions)
    assert definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"]["type"] == "string"
    create = tree["paths"]["/api/v1/namespaces/{namespace}/services"]["post"]
    assert create["parameters"][0]["in"] == "body"
    assert create["parameters"][1]["type"] == "string"
