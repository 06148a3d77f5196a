"""The chart of the gateway, rendered with each of its settings and refused with wrong ones, and beside
it the objects for kustomize."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import yaml

import programs
from cases import ASKED, FLAGS, INCOMPLETE, PROXIES, SHOWN, WRONG
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

def checks() -> Iterable[tuple[str, list[str]]]:
    """Each with what is wrong."""
    yield "the chart, by helm lint", linted()
    yield "the chart as a package", packaged()
    yield "what Helm says after an installation", told()
    for name, (values, kinds) in FLAGS.items():
        yield f"the chart with {name}", faults(values, kinds, SHOWN.get(name, {}))
    yield "what is to be shown is of a case", sorted(SHOWN.keys() - FLAGS.keys())
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
    yield "kustomize builds upon it as its head says", built_upon()


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


def faults(values: dict, kinds: dict[str, int], shown: dict[str, object]) -> list[str]:
    try:
        text = template(CHART, [LEAST], values)
    except Refused as refused:
        return [str(refused)]
    made = objects(text)
    counted = {kind: len(of_kind(made, kind)) for kind in kinds}
    return [*([] if counted == kinds else [f"{counted}, not {kinds}"]),
            *[f"{place} lacks {wanted}" for place, wanted in shown.items()
              if not holds(at(made, place), wanted)],
            *validated(text, OLDEST), *promises(made, values)]


def at(made: list[dict], place: str) -> object:
    """What stands under a kind, a name where there are several, and a path."""
    kind, *name, path = place.split(" ")
    found: object = next(one for one in of_kind(made, kind)
                         if not name or [one["metadata"]["name"]] == name)
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def holds(found: object, wanted: object) -> bool:
    """All of what is wanted is there; of a list each, in any order."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            key in found and holds(found[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and all(
            any(holds(one, value) for one in found) for value in wanted)
    return found == wanted


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
    drain = {"delay": "5s", "timeout": "20s"} | config.get("drain", {})
    if pod["terminationGracePeriodSeconds"] <= sum(map(seconds, drain.values())):
        yield f"no time for {drain}"
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


def seconds(text: str) -> int:
    """Of a duration such as `1m 30s`."""
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+) *([a-z]+)", text))


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
        # The ports are open before, so that nothing but the addresses changes.
        more = {"execution_listen": "0.0.0.0:8082", "forward_auth": ASKED} | config
        values = {"config": more, "networkPolicy": {"askers": PROXIES}}
        made = objects(template(CHART, [LEAST], values))
        return yaml.safe_dump(the(made, "Deployment")["spec"]["template"])

    before = pods({})
    new: dict[str, dict] = {
        "threads": {"threads": 4}, "log.format": {"log": {"format": "text"}},
        "listen": {"listen": "[::]:8080"}, "admin.listen": {"admin": {"listen": "[::]:9090"}},
        "execution_listen": {"execution_listen": "[::]:8082"},
        "forward_auth.listen": {"forward_auth": ASKED | {"listen": "[::]:8084"}},
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


def built_upon() -> list[str]:
    """The example in the head of kustomization.yaml, beside a copy of the folder."""
    head = (KUSTOMIZE / "kustomization.yaml").read_text().partition("apiVersion")[0]
    example = "\n".join(re.findall(r"(?m)^#   (.*)$", head))
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(KUSTOMIZE, Path(folder) / "airside")
        mine = Path(folder) / "mine"
        mine.mkdir()
        (mine / "kustomization.yaml").write_text(example)
        (mine / "airside.yaml").write_text("mine: true\n")
        made = objects(run(programs.setup.KUBECTL, "kustomize", mine))
    deployment = the(made, "Deployment")
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    wanted = [{"projected": {"sources": [{"configMap": {"name": "airside"}}]}}]
    image = yaml.safe_load(example)["images"][0]
    return [*([] if plain(the(made, "ConfigMap", "airside")) == {"mine": True} else ["another file"]),
            *([] if holds(volumes, wanted) else [f"volumes are {volumes}"]),
            *([] if containers(deployment["spec"]["template"]["spec"])["airside"]["image"]
              == f"{image['newName']}:{image['newTag']}" else ["another image"]),
            *[f"{key(one)} is in no namespace" for one in made
              if one["metadata"].get("namespace") != "airflow"]]


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
