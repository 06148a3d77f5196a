"""The pods that the charts make, run for real: airside with the configuration of the file and Airflow
by its command, in a network of their own with the addresses of pods.

Needs Airflow as tests/airflow/setup.py makes it, and Linux that lets us have a network namespace.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

import gateway
import programs
from issuer import Issuer
from programs import ROOT, objects, secrets, template, with_ids
from setup import OTHER, POD
from sidecar import NAME, SIDECARS, Sidecar

# The servers of tests/airflow/setup.py that the files are run with.
SERVERS = {
    "sidecar-airflow3.values.yaml": "3.3.2",
    "sidecar-airflow3-fab.values.yaml": "3.3.2-fab",
    "sidecar-airflow3-execution-port.values.yaml": "3.3.2",
    "sidecar-airflow2.values.yaml": "2.10.5",
}
AIRFLOW = ROOT / "target/airflow"
MODULES = [ROOT / "config/airflow3/airside_auth_manager.py",
           ROOT / "config/airflow2/airside_auth_backend.py"]
# Airflow on a machine that does other things as well, in seconds.
PATIENCE = 300


def checks() -> Iterable[tuple[str, list[str]]]:
    for sidecar in SIDECARS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as home:
            faults = list(faults_of_pod(sidecar, Path(home)))
        took = f"{time.monotonic() - began:.0f} s"
        yield f"a pod of {sidecar.file} with Airflow {SERVERS[sidecar.file]} ({took})", faults
    with tempfile.TemporaryDirectory() as home:
        yield "the gateway of the chart before an Airflow 3.3.2", list(faults_of_gateway(Path(home)))


def faults_of_pod(sidecar: Sidecar, home: Path) -> Iterator[str]:
    issuer = Issuer(home)
    configuration, environment = laid_out(sidecar, home, issuer)
    health = "/health" if sidecar.part == "webserver" else "/api/v2/monitor/health"
    with running(serve(configuration), {}, home / "airside.log") as airside:
        # A native sidecar must be up without Airflow, and its probes must say so of Airflow.
        yield from answers(9090, "GET", "/livez", 200, wait=30)
        yield from answers(8080, "GET", health, 502)
        command = sidecar.values[sidecar.key]["args"]
        with running(command, environment, home / "airflow.log") as airflow:
            faults = list(answers(8080, "GET", health, 200, wait=PATIENCE, of=airflow))
            if faults:
                yield from [*faults, (home / "airflow.log").read_text()[-2000:]]
                return
            yield from faults_of_answers(sidecar, issuer)
            yield from faults_of_the_end(sidecar, airside, airflow, health)


def serve(configuration: Path) -> list:
    return [programs.BINARY, "serve", "--config", configuration]


def laid_out(sidecar: Sidecar, home: Path, issuer: Issuer) -> tuple[Path, dict[str, str]]:
    """The configuration and Airflow's environment, with the Secrets and volumes of the pod in folders."""
    text = yaml.safe_load(sidecar.values["extraConfigMaps"][NAME]["data"])["airside.yaml"]
    configuration = configured(text, home, issuer)
    shown = home / "shown"
    shown.mkdir()
    for module in MODULES:
        shutil.copy(module, shown)
    public = ["openssl", "pkey", "-pubout", "-in", home / "secrets/airside/assertion.pem"]
    (shown / "assertion.pub.pem").write_text(programs.run(*public))
    return configuration, of_airflow(SERVERS[sidecar.file], sidecar.values[sidecar.key]["env"], home)


def configured(text: str, home: Path, issuer: Issuer, **others: object) -> Path:
    """airside's file, with other settings than it says, and its Secrets."""
    secrets(home / "secrets")
    config = yaml.safe_load(here(with_ids(text), home)) | others
    config["issuers"][0]["keys_file"] = str(issuer.keys_file)
    configuration = home / "airside.yaml"
    configuration.write_text(yaml.safe_dump(config))
    return configuration


def here(text: str, home: Path) -> str:
    places = [("/run/secrets", "secrets"), ("/opt/airside", "shown"), ("/var/cache/airside", "cache")]
    for place, folder in places:
        text = text.replace(place, str(home / folder))
    return text


def of_airflow(server: str, values: list[dict], home: Path) -> dict[str, str]:
    """The environment of Airflow's container."""
    airflow = home / "airflow"
    shutil.copytree(AIRFLOW / "homes" / server, airflow)
    environment = {
        "PATH": f"{AIRFLOW / 'servers' / server / 'bin'}:{os.defpath}",
        "AIRFLOW_HOME": str(airflow),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{airflow}/airflow.db",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__WEBSERVER__WORKERS": "1",
        # As the chart does, from the Secret that `jwtSecretName` names.
        "AIRFLOW__API_AUTH__JWT_SECRET": (home / "secrets/airflow/jwt-secret").read_text(),
    }
    for variable in values:
        environment[variable["name"]] = here(variable["value"], home)
    return environment


def faults_of_gateway(home: Path) -> Iterator[str]:
    """The chart with its example, and Airflow in a pod of its own as docs/gateway.md sets it up."""
    issuer = Issuer(home)
    text = gateway.configuration(objects(template(gateway.CHART, [gateway.LEAST])))
    roles = {"map": {"my_airflow_viewer": ["Viewer"], "my_airflow_admin": ["Admin"]}}
    places = {"upstream": {"url": f"http://{OTHER}:8080"}, "listen": f"{POD}:8080"}
    configuration = configured(text, home, issuer, roles=roles, **places)
    guide = (ROOT / "docs/gateway.md").read_text()
    [_, block] = guide.split("# values of the official Airflow chart\n")
    values = yaml.safe_load(block.split("```")[0])["apiServer"]
    # In a pod of its own it would listen on all addresses.
    environment = of_airflow("3.3.2", values["env"], home) | {"AIRFLOW__API__HOST": OTHER}
    # The image has this variable; the chart empties it.
    settings = {"AIRSIDE_ADMIN_LISTEN": ""}
    with (running(serve(configuration), settings, home / "airside.log") as airside,
          running(values["args"], environment, home / "airflow.log") as airflow):
        health = "/api/v2/monitor/health"
        faults = list(answers(8080, "GET", health, 200, wait=PATIENCE, of=airflow))
        if faults:
            yield from [*faults, (home / "airflow.log").read_text()[-2000:]]
            return
        yield from faults_of_callers("/api/v2", 201, issuer)
        yield from answers(8080, "GET", "/execution/health", 403)
        yield from answers(8080, "GET", "/execution/health", 200, address=OTHER)
        airside.send_signal(signal.SIGTERM)
        yield from answers(9090, "GET", "/readyz", 503, wait=2)
        yield from answers(8080, "GET", health, 200)
        yield from ended(airside)


def faults_of_answers(sidecar: Sidecar, issuer: Issuer) -> Iterator[str]:
    api = "/api/v1" if sidecar.part == "webserver" else "/api/v2"
    yield from answers(8081, "GET", "/", None)  # Airflow is on loopback alone
    yield from faults_of_callers(api, 200 if sidecar.part == "webserver" else 201, issuer)
    if sidecar.users:
        yield from faults_of_redirects("/login" if sidecar.part == "webserver" else "/auth/login")
    if sidecar.part == "webserver":
        return
    workers, others = (8082, 403) if sidecar.execution else (8080, 200)
    yield from answers(workers, "GET", "/execution/health", 200)
    yield from answers(8080, "GET", "/execution/health", others)
    if sidecar.execution:
        yield from answers(8082, "GET", "/api/v2/version", 403)
    else:
        yield from answers(8082, "GET", "/execution/health", None)


def faults_of_redirects(login: str) -> Iterator[str]:
    """Airflow leads browsers to where they came from: TLS that the ingress ended, and its host."""
    connection = http.client.HTTPConnection(POD, 8080, timeout=60)
    connection.request("GET", login, headers={
        "Host": "airflow.contoso.com", "X-Forwarded-Proto": "https"})
    led = connection.getresponse().getheader("Location")
    connection.close()
    if led != f"https://airflow.contoso.com{login}/":
        yield f"{login} leads to {led}"


def faults_of_callers(api: str, made: int, issuer: Issuer) -> Iterator[str]:
    """Each may what its role may, and nobody more."""
    viewer, admin = issuer.token("my_airflow_viewer"), issuer.token("my_airflow_admin")
    pool = json.dumps({"name": "made", "slots": 1, "include_deferred": False})
    yield from answers(9090, "GET", "/readyz", 200)
    yield from answers(9090, "GET", "/metrics", 200)
    yield from answers(8080, "GET", f"{api}/dags", 401)
    spoofed = {"X-Airside-User": "admin", "X-Airside-Roles": "Admin"}
    yield from answers(8080, "GET", f"{api}/dags", 401, spoofed)
    yield from answers(8080, "GET", f"{api}/dags", 403, bearer(issuer.token("another")))
    yield from answers(8080, "GET", f"{api}/dags", 200, bearer(viewer), wait=5)
    yield from answers(8080, "POST", f"{api}/pools", 403, bearer(viewer), pool)
    yield from answers(8080, "POST", f"{api}/pools", made, bearer(admin), pool)
    if api == "/api/v2":
        login = json.dumps({"username": "admin", "password": "admin"})
        yield from answers(8080, "POST", "/auth/token", 403, {}, login)


def faults_of_the_end(sidecar: Sidecar, airside, airflow, health: str) -> Iterator[str]:
    """In the kubelet's order, within the 30 s that it waits."""
    if sidecar.part == "webserver":
        # Both at once, but Airflow sleeps first: airside serves on meanwhile.
        airside.send_signal(signal.SIGTERM)
        yield from answers(8080, "GET", health, 200)
    else:
        # The hooks of both at once: airside's has it drain, and Airflow's sleeps for longer.
        programs.run(programs.BINARY, "drain", "--pid", str(airside.pid))
        yield from answers(9090, "GET", "/readyz", 503, wait=2)
        yield from answers(8080, "GET", health, 200)
        # A native sidecar is stopped last, when Airflow has ended.
        airflow.send_signal(signal.SIGTERM)
        airflow.wait(60)
        airside.send_signal(signal.SIGTERM)
    yield from ended(airside)


def ended(airside: subprocess.Popen) -> Iterator[str]:
    try:
        if (code := airside.wait(22)) != 0:
            yield f"airside ended with {code}"
    except subprocess.TimeoutExpired:
        yield "airside does not end in time"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def answers(
    port: int, method: str, path: str, status: int | None, headers: dict[str, str] | None = None,
    body: str | None = None, wait: float = 0, address: str = POD,
    of: subprocess.Popen | None = None,
) -> Iterator[str]:
    """What is wrong with the answer at the pod's address, waited for while this process lives; None is
    nobody who listens."""
    until = time.monotonic() + wait
    while True:
        found = asked(address, port, method, path, headers or {}, body)
        if found[0] == status:
            return
        if time.monotonic() >= until or of and of.poll() is not None:
            yield f"{method} :{port}{path} is {found}, not {status}"
            return
        time.sleep(0.3)


def asked(address: str, port: int, method: str, path: str, headers: dict[str, str],
          body: str | None) -> tuple:
    kind = {"Content-Type": "application/json"} if body else {}
    connection = http.client.HTTPConnection(address, port, timeout=60)
    try:
        connection.request(method, path, body, headers | kind)
        answer = connection.getresponse()
        return answer.status, answer.read()[:300]
    except OSError as error:
        return None, str(error)
    finally:
        connection.close()


@contextmanager
def running(command: list, environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen]:
    """A container's process, ended with all that it started."""
    with open(log, "wb") as out:
        child = subprocess.Popen(
            [str(part) for part in command],
            env={"PATH": os.defpath, "HOME": str(log.parent)} | environment, cwd=log.parent,
            stdout=out, stderr=out, start_new_session=True,
        )
    try:
        yield child
    finally:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
