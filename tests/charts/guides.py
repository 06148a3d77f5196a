"""What stands in documentation for Kubernetes: values for the chart of the gateway, in blocks of YAML that
begin with `# values of the airside chart`, and objects, in such that begin with `# kubectl apply` and in
config/forward-auth. The names in them are held against what the chart makes."""

from __future__ import annotations

import re
from collections.abc import Iterable

import yaml

from cases import ASKED, PROXIES
from gateway import CHART, LEAST, OLDEST, WARNED, configuration
from pods import of_kind, selects, the
from programs import (NEWEST, ROOT, Refused, checked, objects, template, validated, with_ids)

BLOCK = re.compile(r"^```yaml\n(# values of the airside chart.*?)^```$", re.MULTILINE | re.DOTALL)
APPLIED = re.compile(r"^```yaml\n(# kubectl apply.*?)^```$", re.MULTILINE | re.DOTALL)
DOCS = [CHART / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FORWARD_AUTH = ROOT / "config/forward-auth"
# A Service by its name in the cluster, and the port that follows.
ADDRESS = re.compile(r"\b(airside[-a-z]*)\.airflow(?:\.svc(?:\.cluster\.local)?)?(?::(\d+))?\b")


def checks() -> Iterable[tuple[str, list[str]]]:
    found = applied = 0
    for path in DOCS:
        text, name = path.read_text(), path.relative_to(ROOT)
        blocks = [yaml.safe_load(block) for block in BLOCK.findall(text)]
        for number, values in enumerate(blocks, 1):
            found += 1
            yield f"values {number} of {name}", faults(values)
        for number, block in enumerate(APPLIED.findall(text), 1):
            applied += 1
            yield f"objects {number} of {name}", list(faults_of_objects(objects(block), blocks))
    yield "values stand in documentation", [] if found > 3 else [f"{found} found"]
    yield "objects stand in documentation", [] if applied > 1 else [f"{applied} found"]
    for path in sorted(FORWARD_AUTH.glob("*.yaml")):
        made = [one for one in objects(path.read_text()) if "kind" in one]
        if made:
            yield str(path.relative_to(ROOT)), list(faults_of_objects(made, []))


def faults(values: dict) -> list[str]:
    """By themselves where they name an image, and over the example's where not, they render, and airside
    takes the configuration."""
    try:
        text = template(CHART, [] if "image" in values else [LEAST], values)
    except Refused as refused:
        return [str(refused)]
    written = configuration(objects(text))
    return [*validated(text, OLDEST), *checked(with_ids(written), WARNED)]


def rendered() -> list[dict]:
    """The chart's objects, with each that another may name."""
    values = {"config": {"forward_auth": ASKED}, "networkPolicy": {"askers": PROXIES},
              "httpRoute": {"enabled": True, "parentRefs": [{"name": "airflow"}]}}
    return objects(template(CHART, [LEAST], values))


# Groups of Kubernetes' own; its schemas have no others.
KNOWN = {"v1", "apps", "networking.k8s.io", "policy"}


def faults_of_objects(made: list[dict], blocks: list[dict]) -> Iterable[str]:
    """Kubernetes takes what it knows of, and what is named in them is there."""
    chart = rendered()
    for one in made:
        if one["apiVersion"].partition("/")[0] in KNOWN:
            yield from validated(yaml.safe_dump(one), NEWEST)
    yield from faults_of_names(made, chart)
    named = {(one["kind"], one["metadata"]["name"]) for one in chart}
    for one in made:
        if (one["kind"], one["metadata"]["name"]) in named:
            yield f"{one['kind']} {one['metadata']['name']} would take the place of the chart's"
        spec = one.get("spec", {})
        if target := spec.get("targetRef"):
            there = {(found["kind"], found["metadata"]["name"]) for found in [*chart, *made]}
            if (target["kind"], target["name"]) not in there:
                yield f"{one['kind']} {one['metadata']['name']} is about {target}"
        if one["kind"] == "Gateway" and not led_to(one, blocks):
            yield f"no values lead to the Gateway {one['metadata']}"


def led_to(gateway: dict, blocks: list[dict]) -> bool:
    """Whether values of the page name this Gateway, and a host of it."""
    metadata = gateway["metadata"]
    parent = {"name": metadata["name"], "namespace": metadata["namespace"]}
    hosts = {listener["hostname"] for listener in gateway["spec"]["listeners"]}
    return any(parent in route["parentRefs"] and hosts & set(route["hostnames"])
               for block in blocks if (route := block.get("httpRoute")))


def faults_of_names(made: list[dict], chart: list[dict]) -> Iterable[str]:
    """Addresses are of Services, of the chart or beside it, and what selects airside selects its pods."""
    labels = the(chart, "Deployment")["spec"]["template"]["metadata"]["labels"]
    services = {one["metadata"]["name"]: {port["port"] for port in one["spec"]["ports"]}
                for one in of_kind([*chart, *made], "Service")}
    for name, port in ADDRESS.findall(yaml.safe_dump_all(made, width=1000)):
        if name not in services or port and int(port) not in services[name]:
            yield f"{name}:{port} is no Service, those are {services}"
    for one in made:
        spec = one.get("spec", {})
        selector = {"Service": spec.get("selector"),
                    "NetworkPolicy": spec.get("podSelector", {}).get("matchLabels")}.get(one["kind"])
        if selector and "airside" in selector.values() and not selects(selector, labels):
            yield f"{one['kind']} {one['metadata']['name']} selects {selector}, pods have {labels}"
