"""The values for the official Airflow chart: what can be said of the files themselves, and what that
chart makes of them, where one is at hand (AIRFLOW_CHART: folders or packages, separated by `:`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

import programs
from pods import containers, faults_of_container, faults_of_secrets, of_kind, selects, the
from programs import (ROOT, Refused, checked, objects, run, template, validated, with_ids,
                      without_ids)

HELM = ROOT / "config/helm"
POLICY = HELM / "sidecar-execution-port.networkpolicy.yaml"
# Of Kubernetes, for native sidecars and the official chart since 1.17.
OLDEST = "1.30"
NAME = '{{ include "airflow.fullname" . }}-airside'


@dataclass
class Sidecar:
    """One of the files, and what it is about."""

    file: str
    part: str  # the chart's name of what airside stands beside
    probed: set[str]  # what the chart's own probes may ask for, by its version
    program: str  # what runs beside airside
    charts: tuple[int, int]  # minor versions of chart 1.x that it is for
    warned: frozenset[str] = frozenset({"admin.listen"})
    jwt: bool = True  # shares Airflow's secret
    execution: bool = False  # has a port for workers
    users: str = ""  # where the chart's first user of FAB is set

    @property
    def path(self) -> Path:
        return HELM / self.file

    @property
    def values(self) -> dict:
        return yaml.safe_load(self.path.read_text())

    @property
    def key(self) -> str:
        return {"api-server": "apiServer", "webserver": "webserver"}[self.part]


HEALTH = {"/api/v2/monitor/health", "/api/v2/version"}
API_SERVER = "exec airflow api-server --host 127.0.0.1 --port 8081 --proxy-headers"
SIDECARS = [
    Sidecar("sidecar-airflow3.values.yaml", "api-server", HEALTH, API_SERVER, (20, 99)),
    Sidecar("sidecar-airflow3-fab.values.yaml", "api-server", HEALTH, API_SERVER, (21, 99),
            users="createUserJob"),
    Sidecar("sidecar-airflow3-execution-port.values.yaml", "api-server", HEALTH, API_SERVER, (20, 99),
            execution=True),
    Sidecar("sidecar-airflow2.values.yaml", "webserver", {"/health"},
            "exec airflow webserver --hostname 127.0.0.1 --port 8081", (16, 19),
            jwt=False, users="webserver"),
]


def checks() -> Iterable[tuple[str, list[str]]]:
    """What needs no chart."""
    for sidecar in SIDECARS:
        yield sidecar.file, list(faults_of_file(sidecar))
    yield "airside is the same beside each Airflow 3", differing()
    yield POLICY.name, validated(POLICY.read_text(), OLDEST)
    there = {path.name for path in HELM.glob("sidecar-*.values.yaml")}
    yield "every file of values is tested", sorted(there ^ {sidecar.file for sidecar in SIDECARS})


def faults_of_file(sidecar: Sidecar) -> Iterable[str]:
    values = sidecar.values
    text = yaml.safe_load(values["extraConfigMaps"][NAME]["data"])["airside.yaml"]
    config = yaml.safe_load(text)
    yield from checked(with_ids(text), set(sidecar.warned))
    yield from without_ids(text)
    part = values[sidecar.key]
    pod = {"containers": part.get("extraContainers", []), "volumes": part["extraVolumes"],
           "initContainers": part.get("extraInitContainers", [])}
    # As the chart fills it in, which takes extraVolumes for a template.
    yield from faults_of_airside(sidecar, pod, config, "{{ .Values.jwtSecretName }}")
    if sidecar.jwt == ("jwtSecretName" not in values):
        yield "jwtSecretName is there, or not"
    yield from faults_of_logins(sidecar, values, config)
    yield from validated(yaml.safe_dump(alone(pod)), OLDEST)
    head = sidecar.path.read_text().split("\n\n")[0]
    image = containers(pod)["airside"]["image"]
    for word in [*programs.IDS, image, "my_airflow_", "ingress-nginx"]:
        if word not in head:
            yield f"the head of the file does not tell to change {word}"


def differing() -> list[str]:
    """Containers of airside in files for Airflow 3, but for the port of workers and the key of the
    assertion, and the files' settings but for what each is about."""
    apart = {"handoff", "access", "execution_listen"}
    first, *others = [sidecar for sidecar in SIDECARS if sidecar.part == "api-server"]

    def common(sidecar: Sidecar) -> dict:
        [container] = sidecar.values["apiServer"]["extraInitContainers"]
        own = [("ports", "airside-exec"), ("volumeMounts", "airside-assertion")]
        for key, name in own:
            container[key] = [one for one in container[key] if one["name"] != name]
        text = yaml.safe_load(sidecar.values["extraConfigMaps"][NAME]["data"])["airside.yaml"]
        config = {key: value for key, value in yaml.safe_load(text).items() if key not in apart}
        return {"container": container, "configuration": config,
                "hooks": sidecar.values["apiServer"]["containerLifecycleHooks"]}

    return [f"{other.file}: the {key} is another than in {first.file}" for other in others
            for key, value in common(first).items() if common(other)[key] != value]


def faults_of_logins(sidecar: Sidecar, values: dict, config: dict) -> Iterable[str]:
    """Nobody gets in with the chart's own user, and no login is for plain HTTP."""
    default = values.get(sidecar.users, {}).get("defaultUser", {}) if sidecar.users else {}
    if sidecar.users and default.get("enabled") is not False:
        yield f"{sidecar.users}.defaultUser is {default}"
    if config["access"]["password_login"] != "closed":
        yield f"password_login is {config['access']['password_login']}"
    if config["forwarded"]["trusted"] != ["YOUR-INGRESS-NETWORK"]:
        yield f"forwarded.trusted is {config['forwarded']['trusted']}"


def alone(pod: dict) -> dict:
    """A pod of the sidecar's container and volumes alone, for the validator."""
    plain = yaml.safe_dump(pod["volumes"], width=1000)
    # What is a template has any name.
    volumes = yaml.safe_load(re.sub(r"(?m): '.*{{.*}}.*'$", ": name", plain))
    # A native sidecar needs somebody to be beside.
    rest = pod["containers"] or [{"name": "airflow", "image": "airflow"}]
    spec = pod | {"containers": rest, "volumes": volumes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}


def faults_of_airside(sidecar: Sidecar, pod: dict, config: dict, jwt: str) -> Iterable[str]:
    """`jwt` is what the Secret is called that Airflow signs with."""
    yield from faults_of_container(pod, "airside-admin", config)
    if config["upstream"]["url"] != "http://127.0.0.1:8081":
        yield f"Airflow is looked for at {config['upstream']['url']}"
    if config["upstream"].get("airflow", 3) != {"api-server": 3, "webserver": 2}[sidecar.part]:
        yield "the paths are those of another Airflow"
    container = containers(pod)["airside"]
    native = sidecar.part == "api-server"
    if (container.get("restartPolicy") == "Always") != native:
        yield "a native sidecar, or not"
    hook = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
    if hook != (["/airside", "drain"] if native else None):
        yield f"the hook of airside is {hook}"
    slept = int(sidecar.values[sidecar.key]["containerLifecycleHooks"]["preStop"]["exec"]["command"][1])
    delay = int(config.get("drain", {}).get("delay", "5s").removesuffix("s"))
    if delay >= slept:
        yield f"Airflow is stopped after {slept} s, clients are told to leave it for {delay} s"
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    if sidecar.jwt:
        secret = volumes[mounted["/run/secrets/airflow"]]["secret"]["secretName"]
        if secret != jwt:
            yield f"airside has the secret {secret}, not {jwt}"
    elif "/run/secrets/airflow" in mounted:
        yield "a secret of Airflow that nothing needs"


def official(chart: Path) -> Iterable[tuple[str, list[str]]]:
    """What this chart makes of the files for its version."""
    about = yaml.safe_load(run(programs.setup.HELM, "show", "chart", chart))
    minor = int(about["version"].split(".")[1])
    for sidecar in SIDECARS:
        if sidecar.charts[0] <= minor <= sidecar.charts[1]:
            yield f"chart {about['version']} with {sidecar.file}", rendered(chart, sidecar)
        else:
            low, high = sidecar.charts
            print(f"chart {about['version']} with {sidecar.file}: NOT RUN, for 1.{low} to 1.{high}")


def rendered(chart: Path, sidecar: Sidecar) -> list[str]:
    # Without hooks, so that all objects are shown. The secret is another, as when it is replaced.
    more: dict = {job: {"useHelmHooks": False} for job in ("createUserJob", "migrateDatabaseJob")}
    if sidecar.jwt:
        more["jwtSecretName"] = "airflow-jwt-2"
    try:
        text = template(chart, [sidecar.path], more, "--kube-version", "1.33.0", release="airflow")
    except Refused as refused:
        return [str(refused)]
    made = objects(text)
    named = f"airflow-{sidecar.part}"
    ours = [the(made, "Deployment", named), the(made, "Service", named)]
    return [*validated(yaml.safe_dump_all(ours), OLDEST), *promises(made, named, sidecar)]


def promises(made: list[dict], named: str, sidecar: Sidecar) -> Iterable[str]:
    template_ = the(made, "Deployment", named)["spec"]["template"]
    pod, labels = template_["spec"], template_["metadata"]["labels"]
    text = the(made, "ConfigMap", "airflow-airside")["data"]["airside.yaml"]
    config = yaml.safe_load(text)
    yield from checked(with_ids(text), set(sidecar.warned))
    yield from faults_of_airside(sidecar, pod, config, "airflow-jwt-2")
    if sidecar.users and any("create-user" in job["metadata"]["name"] for job in of_kind(made, "Job")):
        yield "the chart makes a user of its own"
    yield from faults_of_secrets([the(made, "ConfigMap", "airflow-airside")])
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    if volumes["airside-config"]["configMap"]["name"] != "airflow-airside":
        yield f"the configuration is {volumes['airside-config']}"
    yield from faults_of_airflow(pod, sidecar)
    yield from faults_of_service(the(made, "Service", named), labels, pod, sidecar)
    yield from faults_of_policy(the(made, "NetworkPolicy", f"{named}-policy"), labels, sidecar)
    settings = the(made, "ConfigMap", "airflow-config")["data"]["airflow.cfg"]
    addresses = [line.split("=", 1)[1].strip() for line in settings.splitlines()
                 if line.strip().startswith("execution_api_server_url")]
    wanted = [f"http://{named}:{8082 if sidecar.execution else 8080}/execution/"]
    if sidecar.part == "api-server" and addresses != wanted:
        yield f"workers go to {addresses}, not {wanted}"


def faults_of_airflow(pod: dict, sidecar: Sidecar) -> Iterable[str]:
    """On loopback, asked through airside, and stopped after its callers are gone."""
    airflow = containers(pod)[sidecar.part]
    if airflow["args"] != ["bash", "-c", sidecar.program]:
        yield f"Airflow is started by {airflow['args']}"
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"]:
        asked = airflow[probe]["httpGet"]
        if asked["port"] != 8080 or asked["path"] not in sidecar.probed:
            yield f"Airflow's {probe} asks {asked}"
    if "sleep" not in airflow["lifecycle"]["preStop"]["exec"]["command"]:
        yield f"lifecycle is {airflow['lifecycle']}"
    mounts = {mount["name"] for mount in airflow["volumeMounts"]}
    if mounts & {"airside-config", "airside-assertion", "airside-jwt"}:
        yield f"Airflow sees {mounts}"
    order = [container["name"] for container in pod["initContainers"]]
    if sidecar.part == "api-server" and order[-1] != "airside":
        yield f"started in the order {order}"


def faults_of_service(service: dict, labels: dict, pod: dict, sidecar: Sidecar) -> Iterable[str]:
    """A port without targetPort leads to the same number, which airside has open."""
    led = {port.get("targetPort", port["port"]) for port in service["spec"]["ports"]}
    if led != ({8080, 8082} if sidecar.execution else {8080}):
        yield f"the Service leads to {led}"
    opened = {port["containerPort"] for port in containers(pod)["airside"]["ports"]}
    if not led <= opened:
        yield f"nobody listens on {led - opened}"
    if not selects(service["spec"]["selector"], labels):
        yield f"the Service selects {service['spec']['selector']}"


def faults_of_policy(policy: dict, labels: dict, sidecar: Sidecar) -> Iterable[str]:
    if not selects(policy["spec"]["podSelector"]["matchLabels"], labels):
        yield f"the policy selects {policy['spec']['podSelector']}"
    for rule in policy["spec"]["ingress"]:
        if {port["port"] for port in rule["ports"]} != {8080} or not rule["from"]:
            yield f"the policy lets in by {rule}"
        workers = {"podSelector": {"matchLabels": {"tier": "airflow"}}} in rule["from"]
        if workers != (sidecar.part == "api-server" and not sidecar.execution):
            yield f"workers get to port 8080, or do not: {rule['from']}"
    if sidecar.execution:
        own = yaml.safe_load(POLICY.read_text())["spec"]
        if not selects(own["podSelector"]["matchLabels"], labels):
            yield f"{POLICY.name} selects {own['podSelector']}"
        [[port]] = [rule["ports"] for rule in own["ingress"]]
        if port["port"] != 8082:
            yield f"{POLICY.name} is for {port}"
