"""What people do with kubectl all day, command by command; each line is what was typed and a part of what must be said.

They run in order in one namespace: later ones use what earlier ones made.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kubectl import Kubectl, Refused
from tools import tools

from pilothouse.testing.served_cluster import ServedCluster

NS = "commands"
CONFIG = """apiVersion: v1
kind: ConfigMap
metadata: {name: cm, namespace: commands, labels: {set: one}}
data: {a: "VALUE"}
"""
PRUNED = CONFIG.replace("cm,", "kept,").replace("one", "pruned")
TYPO = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"g-"},"dat":{"a":"b"}}'
RBAC = """apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: commands}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: commands}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: bob, namespace: commands}]
"""

# A line: the command, what it prints (a pattern), and what is typed into it. `!` at the front: it must fail.
COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("auth whoami", r"Username +pilothouse-admin", ""),
    ("auth can-i --list --as=jane", r"selfsubjectreviews\.authentication\.k8s\.io", ""),
    ("create serviceaccount bob", r"serviceaccount/bob created", ""),
    ("auth reconcile -f -", r"rolebinding\.rbac\.authorization\.k8s\.io/reader reconciled", RBAC),
    (f"auth can-i get pods --as=system:serviceaccount:{NS}:bob", r"^yes", ""),
    (f"!auth can-i list pods --as=system:serviceaccount:{NS}:bob", r"^no", ""),
    ("apply -f -", r"configmap/cm created", CONFIG.replace("VALUE", "1")),
    ("!diff -f -", r'\+  a: "2"', CONFIG.replace("VALUE", "2")),
    ("apply -f -", r"configmap/cm configured", CONFIG.replace("VALUE", "2")),
    ("apply view-last-applied cm/cm", r'a: "2"', ""),
    ("apply -f - --server-side", r"configmap/cm serverside-applied", CONFIG.replace("VALUE", "3")),
    (
        "!apply -f - --server-side --field-manager=other",
        r'Apply failed with 1 conflict: conflict with "kubectl": \.data\.a',
        CONFIG.replace("VALUE", "4"),
    ),
    ("apply -f - --server-side --field-manager=other --force-conflicts", "applied", CONFIG.replace("VALUE", "4")),
    ("get cm cm --show-managed-fields -o jsonpath={.metadata.managedFields[*].manager}", r"kubectl .*other", ""),
    ("replace --force -f -", r"configmap/cm replaced", CONFIG.replace("VALUE", "5")),
    (
        """!patch cm cm --type=json -p [{"op":"test","path":"/data/a","value":"9"}]""",
        r"testing value /data/a failed",
        "",
    ),
    ("""patch cm cm --type=merge -p {"data":{"b":"x"}}""", r"configmap/cm patched", ""),
    ("label cm cm set=two --overwrite", r"labeled", ""),
    ("!label cm cm set=three", r"already has a value \(two\), and --overwrite is false", ""),
    ("annotate cm cm note-", r"annotat", ""),
    ("get cm -l set=two -L set", r"cm +2 +\d+s +two", ""),
    ("!create -f -", r'unknown field "dat"; did you mean "data"', TYPO),
    ("create -f - --validate=warn", r"configmap/g-\w+ created", TYPO),
    ("create -f - --validate=ignore --dry-run=server -o name", r"configmap/g-\w+", TYPO),
    ("create deployment web --image=registry.test/web:1 --replicas=2 --port=80", r"created", ""),
    ("rollout status deployment/web --timeout=100s", r"successfully rolled out", ""),
    ("set image deployment/web web=registry.test/web:2", r"image updated", ""),
    ("set env deployment/web A=B", r"env updated", ""),
    ("set resources deployment/web --limits=cpu=100m,memory=64Mi", r"updated", ""),
    ("rollout status deployment/web --timeout=100s", r"successfully rolled out", ""),
    ("rollout history deployment/web", r"REVISION[\s\S]*\n4 ", ""),
    ("rollout undo deployment/web --to-revision=1", r"rolled back", ""),
    ("rollout pause deployment/web", r"paused", ""),
    ("rollout resume deployment/web", r"resumed", ""),
    ("rollout restart deployment/web", r"restarted", ""),
    ("rollout status deployment/web --timeout=100s", r"successfully rolled out", ""),
    ("scale deployment web --replicas=1 --current-replicas=2", r"scaled", ""),
    ("!scale deployment web --replicas=3 --current-replicas=7", r"[Ee]xpected replicas to be 7, was 1", ""),
    ("wait deployment/web --for=jsonpath={.status.availableReplicas}=1 --timeout=100s", r"condition met", ""),
    ("get deployment web --subresource=scale", r"NAME +DESIRED +AVAILABLE +AGE\nweb +1 +1 ", ""),
    ("wait pod -l app=web --for=condition=Ready --timeout=100s", r"condition met", ""),
    ("expose deployment web --port=80 --type=NodePort", r"service/web exposed", ""),
    ("autoscale deployment web --min=1 --max=3 --cpu=50%", r"autoscaled", ""),
    ("get all -o wide", r"deployment\.apps/web +1/1 .* registry\.test/web:1 +app=web", ""),
    ("events --for deployment/web", r"ScalingReplicaSet", ""),
    ("get events --sort-by=.lastTimestamp", r"SuccessfulCreate", ""),
    ("get pods --field-selector=status.phase=Running -o name --chunk-size=1", r"pod/web-", ""),
    ("!get pods --field-selector=spec.nothing=1", r"field label not supported", ""),
    ("describe deployment web", r"Replicas: +1 desired \| 1 updated", ""),
    ("create quota q --hard=pods=10,count/deployments.apps=3", r"created", ""),
    ("wait quota/q --for=jsonpath={.status.used.count/deployments\\.apps}=1 --timeout=100s", r"condition met", ""),
    ("create job j --image=registry.test/x:1", r"created", ""),
    ("""create cronjob c --image=registry.test/x:1 --schedule=@yearly""", r"created", ""),
    ("create job k --from=cronjob/c", r"created", ""),
    ("taint nodes n1 k=v:PreferNoSchedule", r"tainted", ""),
    ("taint nodes n1 k-", r"untainted", ""),
    ("cordon n1", r"cordoned", ""),
    ("drain n1 --ignore-daemonsets --force --dry-run=server", r"drained \(server dry run\)", ""),
    ("uncordon n1", r"uncordoned", ""),
    ("create pdb p --selector=app=web --min-available=1", r"created", ""),
    ("create ingress i --rule=a.test/*=web:80", r"created", ""),
    ("create secret generic s --from-literal=a=b", r"created", ""),
    ("create token bob --duration=10m --bound-object-kind=Secret --bound-object-name=s", r"^[\w-]+\.[\w-]+\.", ""),
    ("!create token bob --bound-object-kind=Secret --bound-object-name=none", r'secrets "none" not found', ""),
    ("api-versions", r"(?s)apps/v1.*flowcontrol\.apiserver\.k8s\.io/v1.*\nv1$", ""),
    ("api-resources --categories=all -o name", r"deployments\.apps", ""),
    ("cluster-info", r"control plane is running at https://127\.0\.0\.1", ""),
    (f"cluster-info dump --namespaces={NS}", r'"kind": "PodList"', ""),
    ("get componentstatuses", r"store +Healthy +ok", ""),
    ("get --raw /readyz?verbose", r"\[\+\]store ok", ""),
    ("explain deployment.spec.strategy --recursive", r"rollingUpdate\s+<RollingUpdateDeployment>", ""),
    ("explain pod.spec.containers.resizePolicy", r"ContainerResizePolicy", ""),
    ("delete pods -l app=web --wait=false", r'pod "web-\w+-\w+" deleted', ""),
    ("delete cm cm --dry-run=server", r'configmap "cm" deleted .*\(server dry run\)', ""),
    ("delete deployment web --cascade=orphan", r"deleted", ""),
    ("get replicasets -l app=web -o name", r"replicaset\.apps/web-", ""),
    ("delete replicasets -l app=web --cascade=foreground --timeout=100s", r"deleted", ""),
    (
        "apply -f - --prune -l set=pruned",
        r"configmap/kept created",
        CONFIG.replace("cm,", "kept,").replace("one", "pruned"),
    ),
)


@pytest.fixture(scope="module")
def kubectl(cluster: ServedCluster, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    return Kubectl(tools().kubectl, cluster.kubeconfig, tmp_path_factory.mktemp("commands"))


def test_every_command_says_what_it_should(kubectl: Kubectl) -> None:
    kubectl.run("create", "namespace", NS)
    wrong: list[str] = []
    for command, wanted, given in COMMANDS:
        fails = command.startswith("!")
        try:
            said = kubectl.run("-n", NS, *command.removeprefix("!").split(" "), standard_input=given)
            failed = False
        except Refused as error:
            said, failed = str(error), True
        if failed is not fails or not re.search(wanted, said.strip(), re.MULTILINE):
            wrong.append(f"{command}\n    {'failed' if failed else 'worked'}: {said}")
    assert not wrong, "\n".join(wrong)


def test_a_request_becomes_a_certificate(kubectl: Kubectl, tmp_path: Path) -> None:
    """As Kubernetes' own tutorial has it, with an RSA key."""
    import base64

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ann")])
    key = rsa.generate_private_key(65537, 2048)
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    pem = base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()
    request = f"""apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {{name: ann}}
spec: {{request: {pem}, signerName: kubernetes.io/kube-apiserver-client, usages: [client auth]}}
"""
    kubectl.run("create", "-f", "-", standard_input=request)
    assert re.search(r"ann .* Pending$", kubectl.run("get", "csr", "ann").strip())
    kubectl.run("certificate", "approve", "ann")
    kubectl.run("wait", "csr/ann", "--for=jsonpath={.status.certificate}", "--timeout=100s")
    issued = base64.b64decode(kubectl.run("get", "csr", "ann", "-o", "jsonpath={.status.certificate}"))
    assert x509.load_pem_x509_certificate(issued).subject == name
    assert re.search(r"ann .* Approved,Issued$", kubectl.run("get", "csr", "ann").strip())
