"""The chart of the gateway, rendered with each of its settings and refused with wrong ones, and beside
it the objects for kustomize."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import yaml

import programs
from pods import (containers, faults_of_container, faults_of_secrets, of_kind, ports, selects, the)
from programs import (ROOT, Refused, checked, objects, run, template, validated, with_ids,
                      without_ids)

CHART = ROOT / "config/helm/airside"
LEAST = CHART / "ci/example-values.yaml"
KUSTOMIZE = ROOT / "config/kustomize"
# Of Kubernetes, as Chart.yaml has it.
OLDEST = "1.27"
# That metrics are for who gets there, and that Airflow is on another machine.
WARNED = {"admin.listen", "upstream.url"}

PROMETHEUS = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
PROXIES = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}]
# Values, and the kinds of objects that come with or go by them.
FLAGS: dict[str, tuple[dict, dict[str, int]]] = {
    "nothing more": ({}, {"Secret": 0, "HorizontalPodAutoscaler": 0, "Service": 1, "ConfigMap": 1}),
    "autoscaling": ({"autoscaling": {"enabled": True}}, {"HorizontalPodAutoscaler": 1}),
    "no disruption budget": ({"podDisruptionBudget": {"enabled": False}}, {"PodDisruptionBudget": 0}),
    "a share for the budget": ({"podDisruptionBudget": {"maxUnavailable": "25%"}}, {}),
    "no service account": (
        {"serviceAccount": {"create": False, "name": "theirs"}}, {"ServiceAccount": 0}),
    "a managed identity": (
        {"workloadIdentity": {"clientId": "0b8c6c3e-52cb-4d0c-8d64-3d6a8e6f2a77"}}, {}),
    "a port for workers": (
        {"config": {"execution_listen": "0.0.0.0:8082", "access": {"execution_api": "verify"}}}, {}),
    "a port for proxies that ask": (
        {"config": {"forward_auth": {"listen": "0.0.0.0:8084", "trusted": ["10.244.0.0/16"],
                                     "protocol": "nginx"}},
         "networkPolicy": {"askers": PROXIES}}, {}),
    "other ports": ({"config": {"listen": "0.0.0.0:8888", "admin": {"listen": "[::]:9999"}},
                     "service": {"port": 80}}, {}),
    "a load balancer": (
        {"service": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "annotations": {
            "service.beta.kubernetes.io/azure-load-balancer-internal": "true"}}}, {}),
    "an admin service": (
        {"adminService": {"enabled": True}, "networkPolicy": {"admin": PROMETHEUS}}, {"Service": 2}),
    "an Ingress": (
        {"ingress": {"enabled": True, "hosts": ["airflow.contoso.com"],
                     "tls": [{"secretName": "tls", "hosts": ["airflow.contoso.com"]}]}},
        {"Ingress": 1}),
    "an HTTPRoute": (
        {"httpRoute": {"enabled": True, "parentRefs": [{"name": "airflow", "namespace": "ingress"}],
                       "hostnames": ["airflow.contoso.com"], "timeouts": {"request": "0s"}}},
        {"HTTPRoute": 1}),
    "a ServiceMonitor": (
        {"serviceMonitor": {"enabled": True, "apiVersion": "azmonitoring.coreos.com/v1"},
         "networkPolicy": {"admin": PROMETHEUS}}, {"ServiceMonitor": 1, "Service": 2}),
    "annotations for metrics": ({"metrics": {"annotations": True}}, {}),
    "no network policy": ({"networkPolicy": {"enabled": False}}, {"NetworkPolicy": 0}),
    "a policy for what goes out": (
        {"networkPolicy": {"egress": [{"ports": [{"port": 443}]}]}}, {"NetworkPolicy": 1}),
    "a revocation list": (
        {"revocation": {"enabled": True, "entries": [
            {"subject": "0b8c6c3e-52cb-4d0c-8d64-3d6a8e6f2a77"}]}}, {"ConfigMap": 2}),
    "an empty revocation list": ({"revocation": {"enabled": True}}, {"ConfigMap": 2}),
    "a revocation list of theirs": (
        {"revocation": {"enabled": True, "existingConfigMap": "theirs"}}, {"ConfigMap": 1}),
    "more of everything": (
        {"commonLabels": {"team": "data"}, "podLabels": {"a": "b"}, "podAnnotations": {"c": "d"},
         "nodeSelector": {"e": "f"}, "tolerations": [{"operator": "Exists"}],
         "affinity": {"nodeAffinity": {}}, "priorityClassName": "high",
         "imagePullSecrets": [{"name": "registry"}], "image": {"digest": "sha256:" + "a" * 64},
         "env": [{"name": "TENANT", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
         "extraVolumes": [{"name": "more", "emptyDir": {}}],
         "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
         "topologySpreadConstraints": [], "fullnameOverride": "gateway"}, {}),
    "large numbers": ({"config": {"limits": {"body_bytes": 10485760, "connections": 1000000}}}, {}),
}

# Values, and what Helm's answer has to name.
WRONG: dict[str, tuple[dict, list[str]]] = {
    "an unknown value": ({"replica": 3}, ["replica", "not allowed"]),
    "an unknown value of a section": ({"service": {"prot": 80}}, ["/service", "prot"]),
    "a key that airside does not have": ({"config": {"lisen": "x"}}, ["/config", "lisen"]),
    "a word that airside does not have": (
        {"config": {"access": {"docs": "ajar"}}}, ["/config/access/docs"]),
    "an issuer without a client": (
        {"config": {"issuers": [{"name": "e", "type": "entra", "tenant": "t"}]}},
        ["/config/issuers/0", "client_id"]),
    "a secret in the place of its name": ({"secrets": {"airflow": "S3CRET=="}}, ["/secrets/airflow"]),
    "a folder above": ({"secrets": {"../etc": "name"}}, ["../etc", "does not match"]),
    "text for a number": ({"replicas": "two"}, ["/replicas", "integer"]),
    "no port": ({"service": {"port": 0}}, ["/service/port"]),
    "a port of root": ({"config": {"listen": "0.0.0.0:80"}}, ["config.listen", "above 1023"]),
    "loopback": (
        {"config": {"admin": {"listen": "127.0.0.1:9090"}}}, ["config.admin.listen", "0.0.0.0"]),
    "no issuers": ({"config": {"issuers": []}}, ["config.issuers", "found nothing"]),
    "no image": ({"image": {"repository": ""}}, ["image.repository", "docs/image.md"]),
    "no digest": ({"image": {"digest": "sha256:1"}}, ["/image/digest"]),
    "no identity": ({"workloadIdentity": {"clientId": "mine"}}, ["/workloadIdentity/clientId"]),
    "another route table": ({"service": {"type": "NodePort"}}, ["/service/type"]),
    "a Gateway without a name": ({"httpRoute": {"enabled": True}}, ["httpRoute.parentRefs"]),
    "an Ingress for every host": ({"ingress": {"enabled": True}}, ["ingress.hosts"]),
    "an address for a host": (
        {"ingress": {"enabled": True, "hosts": ["https://a"]}}, ["/ingress/hosts/0"]),
    "a scrape that the policy forbids": (
        {"serviceMonitor": {"enabled": True}}, ["networkPolicy.admin"]),
    "a policy that lets nobody in": ({"networkPolicy": {"callers": []}}, ["networkPolicy.callers"]),
    "a port for workers that nobody reaches": (
        {"config": {"execution_listen": "0.0.0.0:8082"}, "networkPolicy": {"workers": []}},
        ["networkPolicy.workers"]),
    "a port for proxies that nobody reaches": (
        {"config": {"forward_auth": {"listen": "0.0.0.0:8084"}}}, ["networkPolicy.askers"]),
    "a list that is not in force": (
        {"revocation": {"entries": [{"jti": "x"}]}}, ["revocation.enabled"]),
    "two lists": (
        {"revocation": {"enabled": True, "entries": [{"jti": "x"}], "existingConfigMap": "theirs"}},
        ["revocation:", "one of them"]),
    "a list twice": (
        {"revocation": {"enabled": True}, "config": {"revocation": {"file": "/x"}}},
        ["config.revocation"]),
    "a scale of nothing": (
        {"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}},
        ["resources.requests.cpu"]),
    "more at least than at most": (
        {"autoscaling": {"enabled": True, "minReplicas": 9}}, ["autoscaling.minReplicas"]),
    "a policy of a load balancer alone": (
        {"service": {"externalTrafficPolicy": "Local"}}, ["service.externalTrafficPolicy"]),
}

IMAGE = {"repository": "registry.example/airside"}
ISSUERS = [{"name": "e", "type": "entra", **dict.fromkeys(["tenant", "client_id"], "an id")}]
UPSTREAM = {"url": "http://airflow-api-server:8080"}
# Without the example's values.
INCOMPLETE: dict[str, tuple[dict, list[str]]] = {
    "no values": ({}, ["found nothing, expected"]),
    "values without an issuer": ({"image": IMAGE, "config": {"upstream": UPSTREAM}}, ["config."]),
    "values without an upstream": (
        {"image": IMAGE, "config": {"issuers": ISSUERS, "handoff": {"type": "headers"}}},
        ["config.upstream", "Airflow's address"]),
    "values without a hand-off": (
        {"image": IMAGE, "config": {"issuers": ISSUERS, "upstream": UPSTREAM}},
        ["config.handoff", "how Airflow is told"]),
}


def checks() -> Iterable[tuple[str, list[str]]]:
    """Each with what is wrong."""
    yield "the chart, by helm lint", linted()
    yield "the chart as a package", packaged()
    yield "what Helm says after an installation", told()
    for name, (values, kinds) in FLAGS.items():
        yield f"the chart with {name}", faults(values, kinds)
    shipped = configuration(objects(template(CHART, [LEAST])))
    yield "the configuration as it ships", without_ids(shipped)
    yield "what needs new pods", fixed_settings()
    for name, (values, words) in WRONG.items():
        yield f"the chart refuses {name}", refused([LEAST], values, words)
    for name, (values, words) in INCOMPLETE.items():
        yield f"the chart refuses {name}", refused([], values, words)
    yield "the chart refuses an old Kubernetes", refused(
        [LEAST], {}, ["1.26"], "--kube-version", "1.26.0")
    yield "kustomize makes what the chart makes", kustomized()


def linted() -> list[str]:
    try:
        run(programs.setup.HELM, "lint", "--strict", CHART, "--values", LEAST)
    except Refused as refused:
        return [str(refused)]
    return []


def packaged() -> list[str]:
    """A package renders, without the tests' values in it."""
    with tempfile.TemporaryDirectory() as folder:
        run(programs.setup.HELM, "package", CHART, "--destination", folder)
        [package] = Path(folder).glob("airside-*.tgz")
        names = run("tar", "--list", "--file", package).splitlines()
        same = template(package, [LEAST]) == template(CHART, [LEAST])
    wanted = {"airside/values.schema.json", "airside/README.md"}
    return [*([] if wanted <= set(names) else [f"has {names}"]),
            *[f"has {name}" for name in names if "/ci/" in name],
            *([] if same else ["renders otherwise"])]


def told() -> list[str]:
    """Where airside is, and which Secret is not there: without a cluster, none is."""
    install = ["install", "airside", CHART, "--namespace", "airflow", "--dry-run=client"]
    said = run(programs.setup.HELM, *install, "--values", LEAST).partition("\nNOTES:\n")[2]
    words = ["http://airside.airflow:8080", "Secret airflow-jwt was not seen"]
    return [f"not {word}" for word in words if word not in said]


def faults(values: dict, kinds: dict[str, int]) -> list[str]:
    try:
        text = template(CHART, [LEAST], values)
    except Refused as refused:
        return [str(refused)]
    made = objects(text)
    counted = {kind: len(of_kind(made, kind)) for kind in kinds}
    return [*([] if counted == kinds else [f"{counted}, not {kinds}"]),
            *validated(text, OLDEST), *promises(made, values)]


def promises(made: list[dict], values: dict) -> Iterable[str]:
    """What holds whatever the values are."""
    deployment = the(made, "Deployment")
    template_ = deployment["spec"]["template"]
    pod, labels = template_["spec"], template_["metadata"]["labels"]
    text = configuration(made)
    config = yaml.safe_load(text)
    yield from checked(with_ids(text), WARNED)
    yield from faults_of_container(pod, "admin", config)
    yield from faults_of_secrets(made)
    if pod["automountServiceAccountToken"] or pod["enableServiceLinks"]:
        yield "Kubernetes' token or variables are in the pod"
    if pod["terminationGracePeriodSeconds"] <= 25:
        yield "no time for the drain"
    known = ports(containers(pod)["airside"])
    for service in of_kind(made, "Service"):
        admin = service["metadata"]["name"].endswith("-admin")
        led = {port["targetPort"] for port in service["spec"]["ports"]}
        if led - known.keys() or ("admin" in led) != admin:
            yield f"Service {service['metadata']['name']} leads to {led}"
    for selector in selectors(made):
        if not selector or not selects(selector, labels):
            yield f"{selector} does not select {labels}"
    for policy in of_kind(made, "NetworkPolicy"):
        rules = policy["spec"]["ingress"]
        if any(not rule["from"] for rule in rules):
            yield "a rule lets everybody in"
        if {port["port"] for rule in rules for port in rule["ports"]} - known.keys():
            yield f"rules are {rules}"
    if values.get("networkPolicy", {}).get("enabled", True) and not of_kind(made, "NetworkPolicy"):
        yield "no network policy"


def configuration(made: list[dict]) -> str:
    return next(found["data"]["airside.yaml"] for found in of_kind(made, "ConfigMap")
                if "airside.yaml" in found["data"])


def selectors(made: list[dict]) -> Iterable[dict]:
    for found in made:
        spec = found.get("spec", {})
        if found["kind"] == "Service":
            yield spec["selector"]
        if found["kind"] in ("PodDisruptionBudget", "Deployment"):
            yield spec["selector"]["matchLabels"]
        if found["kind"] == "NetworkPolicy":
            yield spec["podSelector"]["matchLabels"]


def fixed_settings() -> list[str]:
    """Pods are made anew for what a running airside does not take up, and for nothing else."""

    def pods(config: dict) -> str:
        made = objects(template(CHART, [LEAST], {"config": config}))
        return yaml.safe_dump(the(made, "Deployment")["spec"]["template"])

    before = pods({})
    new: dict[str, dict] = {
        "threads": {"threads": 4}, "log.format": {"log": {"format": "text"}},
        "listen": {"listen": "[::]:8080"}, "admin.listen": {"admin": {"listen": "[::]:9090"}},
        "execution_listen": {"execution_listen": "0.0.0.0:8082"},
    }
    same: dict[str, dict] = {
        "roles": {"roles": {"map": {"a": ["Op"]}}}, "log.level": {"log": {"level": "debug"}},
        "admin.status": {"admin": {"status": "open"}},
    }
    return [*[f"{key} makes none" for key, config in new.items() if pods(config) == before],
            *[f"{key} makes new ones" for key, config in same.items() if pods(config) != before]]


def refused(files: list[Path], values: dict, words: list[str], *more: str) -> list[str]:
    try:
        template(CHART, files, values, *more)
    except Refused as refused:
        said = str(refused)
        return [f"says nothing of {word}: {said}" for word in words if word not in said]
    return ["it is taken"]


def kustomized() -> list[str]:
    """The chart's own with the base's configuration, but for what Helm writes of itself."""
    text = run(programs.setup.KUBECTL, "kustomize", KUSTOMIZE)
    config = yaml.safe_load((KUSTOMIZE / "airside.yaml").read_text())
    wanted = {key(found): found for found in for_kustomize(config)}
    made = {key(found): found for found in objects(text)}
    faults = [f"{name} differs" for name in sorted(made.keys() | wanted.keys())
              if plain(made.get(name)) != plain(wanted.get(name))]
    written = configuration(objects(text))
    return [*faults, *validated(text, OLDEST), *without_ids(written),
            *checked(with_ids(written), WARNED)]


def key(found: dict) -> str:
    return f"{found['kind']} {found['metadata']['name']}"


def plain(found: dict | None) -> object:
    """Configurations by what they say."""
    if found and "airside.yaml" in found.get("data", {}):
        return yaml.safe_load(found["data"]["airside.yaml"])
    return found


def for_kustomize(config: dict) -> list[dict]:
    """The chart's objects without what is Helm's: its labels, its hook, the digest of settings."""
    text = template(CHART, [LEAST], {"config": config})
    helms = r"(helm\.sh/chart|app\.kubernetes\.io/managed-by|airside/fixed-settings)"
    made = objects(re.sub(rf"(?m)^ *{helms}: .*\n", "", text))
    made = [found for found in made
            if "helm.sh/hook" not in found["metadata"].get("annotations", {})]
    for found in made:
        metadata = found.get("spec", {}).get("template", {}).get("metadata", {})
        if metadata.get("annotations", {}) is None:
            del metadata["annotations"]
    return made
