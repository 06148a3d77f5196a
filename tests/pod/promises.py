"""What a pod with airside in it promises."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path

import jwt

from load import READ, WRITE, Load
from pod import HEALTH, READY, SECRET, TRAFFIC, ask, new_database, within
from service import Service
from values import role

OP, VIEWER = str(uuid.uuid4()), str(uuid.uuid4())
RUNS = "/api/v2/dags/demo/dagRuns"
SERVICE = ("127.0.0.1", 8080)


def airside_starts_before_airflow_and_never_says_it_is_healthy(node) -> None:
    """Airflow's containers start only when the sidecar's startup probe has succeeded."""
    pod = node.usual = node.pod()
    pod.start_airside()
    within(15, "airside is ready without Airflow", lambda: pod.probe(*READY) == 200)
    for path in (HEALTH, "/api/v2/version"):
        status = pod.probe(TRAFFIC, path)
        assert status in (502, 503), f"{path} without Airflow: {status}"
    pod.start_airflow()
    seen = []
    def answers() -> bool:
        seen.append(pod.probe(TRAFFIC, HEALTH))
        return seen[-1] == 200
    within(180, "Airflow's probe by way of airside", answers)
    # No answer in time is a failed probe as well.
    assert set(seen) <= {None, 502, 503, 200}, f"while Airflow started: {set(seen)}"
    assert pod.probe(TRAFFIC, HEALTH) == 200
    with socket.socket() as stream:
        reached = stream.connect_ex((pod.address, 8081))
    assert reached != 0, "Airflow is reached past airside"


def its_container_has_no_rights(node) -> None:
    """The Pod Security Standard `restricted`, as the kernel sees the process."""
    number = int(node.podman("inspect", "--format={{.State.Pid}}", node.usual.name))
    process = Path(f"/proc/{number}")
    lines = (line.split(":", 1) for line in (process / "status").read_text().splitlines())
    status = {name: value.split() for name, value in lines}
    assert status["Uid"] == ["65532"] * 4, status["Uid"]
    for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        assert int(status[name][0], 16) == 0, f"{name}: {status[name]}"
    assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], ["2"])
    mounts = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
    [root] = [options for _, _, _, _, place, options, *_ in mounts if place == "/"]
    assert "ro" in root.split(","), root
    assert not os.path.lexists(process / "root" / "tmp")


def callers_are_who_their_tokens_say(node) -> None:
    """Keys came by a name that a cluster's resolver settings lead to, over TLS of a private
    authority."""
    pod = node.usual
    assert node.entra.asked, "nobody asked for keys"
    op, viewer = node.entra.token(OP, role("Op")), node.entra.token(VIEWER, role("Viewer"))
    assert pod.ask("GET", READ)[0] == 401
    assert pod.ask("GET", READ, viewer)[0] == 200
    assert pod.ask("POST", RUNS, viewer, {"logical_date": None})[0] == 403
    status, run = pod.ask("POST", RUNS, op, {"logical_date": None})
    assert (status, run["triggering_user_name"]) == (200, OP), run


def its_health_check_and_other_commands_work_in_the_container(node) -> None:
    pod = node.usual
    node.podman("healthcheck", "run", pod.name)
    checked = pod.inside("check", "--config", "/etc/airside/airside.yaml", "--online")
    assert "no problems" in checked and "hand-off to 127.0.0.1:8081" in checked, checked
    token = node.entra.token(OP, role("Op"))
    said = pod.inside("explain", token, "--config", "/etc/airside/airside.yaml")
    assert OP in said, said


def keys_outlive_the_container_while_nobody_answers(node) -> str:
    """The cache is in an emptyDir, which a container's crash leaves as it is."""
    pod = node.usual
    [kept] = [file for file in pod.cache.rglob("*") if file.is_file()]
    assert (kept.stat().st_uid, kept.stat().st_mode & 0o777) == (65532, 0o600)
    known = pod.resolver.read_text()
    pod.end_airside()
    # A name server that is not there.
    pod.resolver.write_text(known.replace(node.entra.address, "10.244.0.254"))
    pod.start_airside()
    token = node.entra.token(VIEWER, role("Viewer"))
    within(15, "it is let in by the keys on disk", lambda: pod.ask("GET", READ, token)[0] == 200)
    pod.resolver.write_text(known)
    return f"({kept.name})"


def a_rotated_secret_is_taken_up_by_its_link(node) -> str:
    """The kubelet swaps `..data`; Airflow has its secret in its environment and starts anew."""
    pod, token = node.usual, node.entra.token(VIEWER, role("Viewer"))
    new = SECRET[::-1]
    own = {
        name: jwt.encode(
            {"sub": "admin", "role": "admin", "teams": [], "aud": "apache-airflow",
             "jti": uuid.uuid4().hex, "iat": int(time.time()), "nbf": int(time.time()),
             "exp": int(time.time()) + 600}, secret, algorithm="HS512")
        for name, secret in (("old", SECRET), ("new", new))
    }
    assert pod.ask("GET", READ, own["old"])[0] == 200
    began = time.monotonic()
    pod.secret.write({"jwt-secret": new})
    within(10, "airside signs anew, so the old Airflow refuses",
           lambda: pod.ask("GET", READ, token)[0] != 200)
    seconds = time.monotonic() - began
    pod.end_airflow()
    pod.start_airflow()
    within(180, "the new Airflow takes it", lambda: pod.ask("GET", READ, token)[0] == 200)
    assert pod.ask("GET", READ, own["new"])[0] == 200
    assert pod.ask("GET", READ, own["old"])[0] == 401
    return f"(after {seconds:.1f} s)"


def a_rolling_restart_fails_no_request(node) -> str:
    """Two pods behind a Service are replaced one by one under load, each new one ready first; a
    request that is under way in the first is finished there after Airflow got its SIGTERM."""
    database = new_database(node.home / "shared.db")
    token = node.entra.token(OP, role("Op"))
    service = Service(SERVICE)
    old = [started(node, service, database) for _ in range(2)]
    status, run = old[0].ask("POST", RUNS, token, {"logical_date": None})
    assert status == 200, run
    held = Held(old[0], f"{RUNS}/{run['dag_run_id']}", token)
    load = Load(SERVICE, token)
    codes = []
    for pod in old:
        new = started(node, service, database)
        service.remove(pod)
        # Ten seconds on, Airflow has had its SIGTERM, and airside may have had its own.
        finish = threading.Timer(10, held.finish, [new, load.writing])
        if pod is old[0]:
            finish.start()
        codes.append(pod.stop())
    time.sleep(2)
    load.stop()
    assert not load.failed, "\n".join([f"{len(load.failed)} failed, first:", *load.failed[:10]])
    assert held.ended() == (200, "success"), held.ended()
    assert codes == [{"airflow": 0, "airside": 0}] * 2, codes
    status, kept = ask_service(f"{WRITE}?limit=1", token)
    assert (status, kept["total_entries"]) == (200, len(load.written)), kept
    return f"({', '.join(f'{count} by {kind}' for kind, count in load.answered.items())})"


def started(node, service: Service, database: Path):
    pod = node.pod(database=database)
    pod.start()
    service.add(pod)
    return pod


def ask_service(path: str, token: str) -> tuple:
    return ask(http.client.HTTPConnection(*SERVICE, timeout=60), "GET", path, token)


class Held:
    """A request that Airflow answers bit by bit until a run of a DAG has ended."""

    def __init__(self, pod, run: str, token: str) -> None:
        self.run, self.token = run, token
        self.answer: tuple = ()
        self.finished: tuple = ()
        self.thread = threading.Thread(target=self.wait, args=[pod], daemon=True)
        self.thread.start()

    def wait(self, pod) -> None:
        self.answer = pod.ask("GET", f"{self.run}/wait?interval=0.5", self.token)

    def finish(self, pod, writing: threading.Lock) -> None:
        with writing:
            self.finished = pod.ask("PATCH", self.run, self.token, {"state": "success"})

    def ended(self) -> tuple:
        assert self.finished and self.finished[0] == 200, self.finished
        self.thread.join(30)
        status, lines = self.answer
        return status, json.loads(lines.splitlines()[-1])["state"]


PROMISES = [
    airside_starts_before_airflow_and_never_says_it_is_healthy,
    its_container_has_no_rights,
    callers_are_who_their_tokens_say,
    its_health_check_and_other_commands_work_in_the_container,
    keys_outlive_the_container_while_nobody_answers,
    a_rotated_secret_is_taken_up_by_its_link,
    a_rolling_restart_fails_no_request,
]
