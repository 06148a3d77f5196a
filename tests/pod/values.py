"""What the pod runs as it ships: config/helm/sidecar-airflow3.values.yaml, which this reads and copies
nothing of. Airflow's Python, by which the test runs, has PyYAML."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from entra import CLIENT_ID, HOST, TENANT

FILE = Path(__file__).resolve().parents[2] / "config/helm/sidecar-airflow3.values.yaml"
# What a user of the file writes in the place of these words.
INSTEAD = {
    "YOUR-TENANT-ID": TENANT, "YOUR-CLIENT-ID": CLIENT_ID,
    # Where the node's Service connects from.
    "YOUR-INGRESS-NETWORK": "10.244.0.0/24",
}

VALUES = yaml.safe_load(FILE.read_text())
AIRFLOW = VALUES["apiServer"]
[AIRSIDE] = [one for one in AIRFLOW["extraInitContainers"] if one["name"] == "airside"]
# Kubernetes' own, where the values have none: seconds from the deletion to SIGKILL.
GRACE = float(AIRFLOW.get("terminationGracePeriodSeconds") or 30)


def variables(container: dict) -> dict[str, str]:
    return {one["name"]: str(one["value"]) for one in container.get("env", [])}


def hook_of_airflow() -> list[str]:
    """Its `preStop`; the chart has a value of its own for it."""
    return command_of(AIRFLOW.get("containerLifecycleHooks"))


def hook_of_airside() -> list[str]:
    return command_of(AIRSIDE.get("lifecycle"))


def command_of(hooks: dict | None) -> list[str]:
    """The command of `preStop`; nothing where there is none."""
    hook = (hooks or {}).get("preStop")
    return hook["exec"]["command"] if hook else []


def probe(name: str) -> tuple[int, str]:
    """Port and path of one of airside's probes."""
    asked = AIRSIDE[name]["httpGet"]
    [port] = [one["containerPort"] for one in AIRSIDE["ports"] if one["name"] == asked["port"]]
    return port, asked["path"]


def mode(volume: str) -> int:
    """The `defaultMode` of its files."""
    [found] = [one for one in AIRFLOW["extraVolumes"] if one["name"] == volume]
    [source] = [value for key, value in found.items() if key != "name"]
    return source.get("defaultMode", 0o644)


def mounts() -> dict[str, tuple[str, bool]]:
    """Where airside's container has which volume, and whether it may only read it."""
    return {one["name"]: (one["mountPath"], one.get("readOnly", False))
            for one in AIRSIDE["volumeMounts"]}


def rights() -> list[str]:
    """podman's words for the container's `securityContext`."""
    context = AIRSIDE["securityContext"]
    words = [f"--cap-drop={name}" for name in context.get("capabilities", {}).get("drop", [])]
    if "runAsUser" in context:
        words.append(f"--user={context['runAsUser']}")
    if context.get("readOnlyRootFilesystem"):
        words += ["--read-only", "--read-only-tmpfs=false"]
    if context.get("allowPrivilegeEscalation") is False:
        words.append("--security-opt=no-new-privileges")
    return words


def configuration() -> str:
    """airside.yaml of the ConfigMap, for an Entra that is the test's; JSON is YAML."""
    [of_airside] = VALUES["extraConfigMaps"].values()
    text = yaml.safe_load(of_airside["data"])["airside.yaml"]
    text = re.sub(r"YOUR-[A-Z-]+", lambda word: INSTEAD[word[0]], text)
    found = yaml.safe_load(text)
    [issuer] = [one for one in found["issuers"] if one["type"] == "entra"]
    issuer |= {"authority": f"https://{HOST}", "ca_file": "/etc/airside/authority.pem"}
    return json.dumps(found)


def role(meant: str) -> str:
    """The app role that the file maps to this role of Airflow's."""
    file = json.loads(configuration())
    [value] = [value for value, roles in file["roles"]["map"].items() if roles == [meant]]
    return value
