"""What is promised of every pod that has an airside in it, and of what leads to it."""

from __future__ import annotations

from collections.abc import Iterable

PROBES = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}


def of_kind(objects: list[dict], kind: str) -> list[dict]:
    return [found for found in objects if found["kind"] == kind]


def the(objects: list[dict], kind: str, name: str | None = None) -> dict:
    [found] = [one for one in of_kind(objects, kind) if name in (None, one["metadata"]["name"])]
    return found


def containers(pod: dict) -> dict[str, dict]:
    return {one["name"]: one for one in [*pod.get("initContainers", []), *pod["containers"]]}


def ports(container: dict) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container["ports"]}


def faults_of_container(pod: dict, admin: str, config: dict) -> Iterable[str]:
    """Of the container `airside`: restricted, probed at the admin port, and open where it listens."""
    container = containers(pod)["airside"]
    context = (pod.get("securityContext") or {}) | container["securityContext"]
    restricted = {
        "runAsNonRoot": True, "runAsUser": 65532, "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for key, wanted in restricted.items():
        if context.get(key) != wanted:
            yield f"securityContext.{key} is {context.get(key)}, not {wanted}"
    for probe, path in PROBES.items():
        asked = container[probe].get("httpGet")
        if asked != {"path": path, "port": admin}:
            yield f"{probe} asks {asked}"
    if "memory" not in container["resources"]["limits"] or "cpu" in container["resources"]["limits"]:
        yield f"limits are {container['resources']['limits']}"
    if "cpu" not in container["resources"]["requests"]:
        yield "no request of processor time"
    if container["args"] != ["serve", "--config", "/etc/airside/airside.yaml"]:
        yield f"args are {container['args']}"
    # As docs/image.md has it: where it is not emptied, the image's goes before the configuration.
    if {"name": "AIRSIDE_ADMIN_LISTEN", "value": ""} not in container["env"]:
        yield "admin.listen is the image's"
    listens = [config["listen"], config["admin"]["listen"], config.get("execution_listen"),
               config.get("forward_auth", {}).get("listen")]
    wanted = {int(listen.rpartition(":")[2]) for listen in listens if listen}
    if (found := set(ports(container).values())) != wanted:
        yield f"ports are {found}, configured are {wanted}"
    if ports(container)[admin] != int(config["admin"]["listen"].rpartition(":")[2]):
        yield "the admin port is another"
    yield from faults_of_volumes(pod, container)


def faults_of_volumes(pod: dict, container: dict) -> Iterable[str]:
    """Each mount has its volume and follows changes, and everything but the cache is read-only."""
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        volume = volumes.get(mount["name"])
        if volume is None:
            yield f"no volume {mount['name']}"
            continue
        if "subPath" in mount:
            yield f"{mount['name']} is mounted by subPath, which never changes"
        if not mount.get("readOnly") and "emptyDir" not in volume:
            yield f"{mount['name']} can be written to"
        if "secret" in volume and volume["secret"]["defaultMode"] != 0o440:
            yield f"{mount['name']} has mode {volume['secret']['defaultMode']:o}"


def faults_of_secrets(objects: list[dict]) -> Iterable[str]:
    """Secrets are named, never made; nothing looks like one."""
    if of_kind(objects, "Secret"):
        yield "a Secret is made"
    for config_map in of_kind(objects, "ConfigMap"):
        for key, text in config_map["data"].items():
            if "PRIVATE KEY" in text:
                yield f"a private key in {key}"


def selects(selector: dict, labels: dict) -> bool:
    return selector.items() <= labels.items()
