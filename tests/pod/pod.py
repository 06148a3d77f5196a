"""One pod: Airflow's API server on loopback, airside from its image before it, and what the kubelet
does with both, as a native sidecar has it: airside is first to start and last to end."""

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

from entra import CLIENT_ID, HOST, TENANT
from volume import Volume

AIRFLOW = Path(__file__).resolve().parents[2] / "target/airflow"
SECRET = "a secret of Airflow and its sidecar, 64 bytes or more as HS512 wants it to be"
TRAFFIC, ADMIN = 8080, 9090
HEALTH = "/api/v2/monitor/health"
# As the sidecar's values have them, but for the periods, which are shorter here.
PERIOD = 0.5
PRE_STOP = 8.0
GRACE = 30.0
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
            "airside.yaml": configuration(), "authority.pem": node.entra.authority.read_text()})
        # `defaultMode: 0440`: root's group alone, which `fsGroup: 0` puts the container in.
        self.secret = Volume(self.home / "secret", {"jwt-secret": SECRET}, mode=0o440)
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
        self.node.podman(
            "run", "--detach", f"--name={self.name}", f"--network=ns:/run/netns/{self.name}",
            "--cgroups=disabled", *limits(), "--read-only", "--read-only-tmpfs=false",
            "--cap-drop=ALL", "--security-opt=no-new-privileges", "--group-add=0",
            f"--volume={self.config.place}:/etc/airside:ro",
            f"--volume={self.secret.place}:/run/secrets/airflow:ro",
            f"--volume={self.cache}:/var/cache/airside",
            f"--volume={self.resolver}:/etc/resolv.conf:ro",
            "airside", "serve", "--config", "/etc/airside/airside.yaml")
        within(30, "startupProbe of airside", lambda: self.probe(ADMIN, "/livez") == 200)

    def start_airflow(self) -> None:
        """As the sidecar's values start it, with its variables as the chart sets them."""
        secret = (self.secret.place / "jwt-secret").read_text()
        environment = {
            "PATH": "/usr/bin:/bin", "HOME": str(self.home), "AIRFLOW_HOME": str(self.home),
            "LANG": "C.UTF-8", "TZ": "UTC", "FORWARDED_ALLOW_IPS": "127.0.0.1",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.database}?timeout=60",
            "AIRFLOW__API_AUTH__JWT_SECRET": secret,
            "AIRFLOW__API__SECRET_KEY": "shared by all pods",
            "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).resolve().parents[1] / "airflow/dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        }
        command = ["ip", "netns", "exec", self.name, str(AIRFLOW / "servers/3.3.2/bin/airflow"),
                   "api-server", "--host", "127.0.0.1", "--port", "8081", "--proxy-headers"]
        with open(self.home / "airflow.log", "ab") as log:
            self.airflow = subprocess.Popen(
                command, env=environment, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True)

    def watch(self) -> None:
        """The readiness probes, again and again: airside's, and Airflow's by way of airside."""
        def probe() -> None:
            while not self.terminating:
                self.healthy = (
                    self.probe(ADMIN, "/readyz") == 200 and self.probe(TRAFFIC, HEALTH) == 200)
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

    def stop(self, hook: bool = True) -> dict[str, int]:
        """Runs the hooks of both containers at once; then SIGTERM to Airflow and, when that has ended,
        to airside (`killContainer` in the kubelet's kuberuntime_container.go). Without `hook` airside
        has none. The exit code of each."""
        self.terminating = True
        deadline = time.monotonic() + GRACE
        if hook:
            self.node.podman("exec", self.name, "/airside", "drain")
        time.sleep(PRE_STOP)
        self.airflow.send_signal(signal.SIGTERM)
        codes = {"airflow": self.airflow.wait(max(2, deadline - time.monotonic()))}
        left = max(2, int(deadline - time.monotonic()))
        self.node.podman("stop", f"--time={left}", self.name)
        return codes | {"airside": self.exit_code()}

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


def configuration() -> str:
    """The ConfigMap's airside.yaml; JSON is YAML."""
    return json.dumps({
        "upstream": {"url": "http://127.0.0.1:8081"},
        "issuers": [
            {"name": "entra", "type": "entra", "tenant": TENANT, "client_id": CLIENT_ID,
             "authority": f"https://{HOST}", "ca_file": "/etc/airside/authority.pem"},
            {"name": "airflow", "type": "airflow", "secret_file": "/run/secrets/airflow/jwt-secret"},
        ],
        "handoff": {"type": "airflow_token", "secret_file": "/run/secrets/airflow/jwt-secret"},
        "keys": {"cache_dir": "/var/cache/airside"},
        "drain": {"delay": "5s", "timeout": "15s"},
    })


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
