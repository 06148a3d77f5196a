"""One pod: Airflow's API server on loopback, airside from its image before it, both as values.py has
them, and what the kubelet does with both: a native sidecar is first to start and last to end."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import values
from volume import Volume

AIRFLOW = Path(__file__).resolve().parents[2] / "target/airflow"
SECRET = "a secret of Airflow and its sidecar, 64 bytes or more as HS512 wants it to be"
# The chart's: where its Service leads and its probes ask.
TRAFFIC, HEALTH = 8080, "/api/v2/monitor/health"
STARTED, READY = values.probe("startupProbe"), values.probe("readinessProbe")
# Of the probes; shorter than the file's.
PERIOD = 0.5
BOOT = 180.0


class Pod:
    """Made by `Node.pod`; `database` is a file that several pods may share."""

    def __init__(self, node, name: str, address: str, database: Path | None = None) -> None:
        self.node, self.name, self.address = node, name, address
        self.home = node.home / name
        self.home.mkdir()
        self.database = database or new_database(self.home / "airflow.db")
        node.connect(name, address)
        self.config = Volume(self.home / "config", {
            "airside.yaml": values.configuration(), "authority.pem": node.entra.authority.read_text()})
        self.secret = Volume(
            self.home / "secret", {"jwt-secret": SECRET}, mode=values.mode("airside-jwt"))
        self.cache = self.home / "cache"
        self.cache.mkdir()
        # An emptyDir: root's, anybody may write, setgid by fsGroup.
        self.cache.chmod(0o2777)
        self.resolver = self.home / "resolv.conf"
        self.resolver.write_text(
            f"search airflow.svc.cluster.local svc.cluster.local cluster.local\n"
            f"nameserver {node.entra.address}\noptions ndots:5\n")
        self.airflow: subprocess.Popen | None = None
        self.terminating = False
        self.healthy = False
        self.watching: threading.Thread | None = None

    # The kubelet starts it.

    def start(self) -> None:
        """Both containers, and waits until both are ready."""
        self.start_airside()
        self.start_airflow()
        self.watch()
        within(BOOT, f"{self.name} is ready", self.is_ready)

    def start_airside(self) -> None:
        """The native sidecar: the rest of the pod waits for its startup probe alone."""
        from node import limits
        volumes = {"airside-config": self.config.place, "airside-jwt": self.secret.place,
                   "airside-cache": self.cache}
        self.node.podman(
            "run", "--detach", f"--name={self.name}", f"--network=ns:/run/netns/{self.name}",
            "--cgroups=disabled", *limits(), *values.rights(),
            # `fsGroup: 0` of the chart's pods.
            "--group-add=0",
            *(f"--env={name}={value}" for name, value in values.variables(values.AIRSIDE).items()),
            *(f"--volume={volumes[name]}:{place}{':ro' if read_only else ''}"
              for name, (place, read_only) in values.mounts().items()),
            f"--volume={self.resolver}:/etc/resolv.conf:ro",
            "airside", *values.AIRSIDE["args"])
        within(30, "startupProbe of airside", lambda: self.probe(*STARTED) == 200)

    def start_airflow(self) -> None:
        """With the file's arguments and variables, beside those that the chart sets."""
        secret = (self.secret.place / "jwt-secret").read_text()
        environment = {
            "PATH": f"{AIRFLOW / 'servers/3.3.2/bin'}:/usr/bin:/bin",
            "HOME": str(self.home), "AIRFLOW_HOME": str(self.home), "LANG": "C.UTF-8", "TZ": "UTC",
            # Pods share the file; writers wait for each other, as they would not with PostgreSQL.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.database}?timeout=60",
            "AIRFLOW__API_AUTH__JWT_SECRET": secret,
            "AIRFLOW__API__SECRET_KEY": "shared by all pods",
            "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).resolve().parents[1] / "airflow/dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        } | values.variables(values.AIRFLOW)
        command = ["ip", "netns", "exec", self.name, *values.AIRFLOW["args"]]
        with open(self.home / "airflow.log", "ab") as log:
            self.airflow = subprocess.Popen(
                command, env=environment, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True)

    def watch(self) -> None:
        """The readiness probes, again and again: airside's, and Airflow's by way of airside."""
        def probe() -> None:
            while not self.terminating:
                self.healthy = (
                    self.probe(*READY) == 200 and self.probe(TRAFFIC, HEALTH) == 200)
                time.sleep(PERIOD)
        self.watching = threading.Thread(target=probe, daemon=True)
        self.watching.start()

    def is_ready(self) -> bool:
        """Whether a Service sends requests here."""
        return self.healthy and not self.terminating

    def probe(self, port: int, path: str) -> int | None:
        """What the kubelet's `httpGet` is answered; nothing where nobody answers."""
        headers = {"Host": f"{self.address}:{port}", "User-Agent": "kube-probe/1.33",
                   "Accept": "*/*", "Connection": "close"}
        connection = http.client.HTTPConnection(self.address, port, timeout=3)
        try:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    # The kubelet ends it.

    def stop(self) -> dict[str, int]:
        """Runs the hooks of both containers at once; SIGTERM to Airflow when its own has ended, and to
        airside when Airflow has (`killContainer` in the kubelet's kuberuntime_container.go). The exit
        code of each."""
        self.terminating = True
        deadline = time.monotonic() + values.GRACE
        hook = threading.Thread(target=self.run_hook_of_airside)
        hook.start()
        if values.hook_of_airflow():
            subprocess.run(values.hook_of_airflow(), check=True)
        self.airflow.send_signal(signal.SIGTERM)
        codes = {"airflow": self.airflow.wait(max(2, deadline - time.monotonic()))}
        hook.join()
        left = max(2, int(deadline - time.monotonic()))
        self.node.podman("stop", f"--time={left}", self.name)
        return codes | {"airside": self.exit_code()}

    def run_hook_of_airside(self) -> None:
        """The kubelet ends a container whose hook fails all the same; the load shows it."""
        if values.hook_of_airside():
            self.node.podman("exec", self.name, *values.hook_of_airside(), fails=True)

    def exit_code(self) -> int:
        return int(self.node.podman("inspect", "--format={{.State.ExitCode}}", self.name))

    def end_airflow(self) -> None:
        """Airflow's container crashes."""
        os.killpg(self.airflow.pid, signal.SIGKILL)
        self.airflow.wait()

    def end_airside(self) -> None:
        """So does airside's."""
        self.node.podman("kill", self.name)
        self.node.podman("rm", "--force", self.name)

    def kill(self) -> None:
        self.terminating = True
        if self.airflow and self.airflow.poll() is None:
            self.end_airflow()
        self.node.podman("rm", "--force", "--time=0", self.name, fails=True)

    # What others see.

    def ask(self, method: str, path: str, token: str | None = None, body: object = None) -> tuple:
        """Status and what was said, over a new connection to the pod."""
        connection = http.client.HTTPConnection(self.address, TRAFFIC, timeout=60)
        try:
            return ask(connection, method, path, token, body)
        finally:
            connection.close()

    def log(self) -> str:
        """What airside's container printed."""
        return self.node.podman("logs", self.name, fails=True)

    def inside(self, *command: str) -> str:
        """Runs the program in airside's container."""
        return self.node.podman("exec", self.name, "/airside", *command)


def ask(connection, method: str, path: str, token: str | None = None, body: object = None) -> tuple:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    said = answer.read()
    kind = answer.getheader("Content-Type") or ""
    return answer.status, json.loads(said) if "json" in kind and "ndjson" not in kind else said


def new_database(place: Path) -> Path:
    shutil.copy(AIRFLOW / "homes/3.3.2/airflow.db", place)
    return place


def within(seconds: float, what: str, holds) -> object:
    """Waits until it holds, and says what did not when time is up."""
    began = time.monotonic()
    while not (value := holds()):
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)
    return value
