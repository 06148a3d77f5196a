"""A Prometheus that scrapes the running program, and runs every expression that ships."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import urllib.parse
import urllib.request
from pathlib import Path

import setup
from expressions import Expression
from program import Airside, open_url, token, wait

# Nobody is refused by these, and nothing is lost or read again, while all is well.
QUIET = {"Turned away", "Lost"}


def results(expressions: list[Expression], airside: Airside, home: Path) -> list[str]:
    """What Prometheus cannot run, and panels that stay empty."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = "127.0.0.1:%d" % free.getsockname()[1]
    configuration = home / "prometheus.json"
    configuration.write_text(json.dumps({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [{
            "job_name": "airside", "static_configs": [{"targets": [airside.listeners()["admin"]]}],
        }],
        "rule_files": [str(Path(__file__).resolve().parent.parent.parent / "config/observability/alerts.yaml")],
    }))
    command = [
        setup.PROMETHEUS / "prometheus", f"--config.file={configuration}",
        f"--web.listen-address={address}", f"--storage.tsdb.path={home / 'series'}",
    ]
    with open(home / "prometheus.log", "wb") as log:
        prometheus = subprocess.Popen(command, stdout=log, stderr=log, cwd=home)
    done = threading.Event()
    busy = threading.Thread(target=keep_busy, args=[airside, done])
    busy.start()
    try:
        up = 'count_over_time(up{job="airside"}[1m]) >= 5'
        wait("Prometheus has scraped", lambda: query(address, up)["data"]["result"])
        return [fault for expression in expressions for fault in run(address, expression)]
    finally:
        done.set()
        busy.join()
        prometheus.terminate()
        prometheus.wait()


def keep_busy(airside: Airside, done: threading.Event) -> None:
    bearer = {"Authorization": f"Bearer {token()}"}
    while not done.wait(0.05):
        airside.ask("/api/v2/dags", bearer)
        airside.ask("/api/v2/dags", {})


def run(address: str, expression: Expression) -> list[str]:
    answer = query(address, expression.text)
    if answer["status"] != "success":
        return [f"{expression.where}: {answer.get('error')}"]
    result = answer["data"]["result"]
    numbers = [sample["value"][1] for sample in result]
    if expression.answered and expression.where not in QUIET and (not numbers or set(numbers) == {"NaN"}):
        return [f"{expression.where}: nothing for {expression.text}"]
    if not expression.answered and result and expression.where != "AirsideTracesLost":
        return [f"{expression.where}: fires while all is well: {result}"]
    return []


def query(address: str, text: str) -> dict:
    arguments = urllib.parse.urlencode({"query": text})
    try:
        _, _, answer = open_url(urllib.request.Request(f"http://{address}/api/v1/query?{arguments}"))
        return json.loads(answer)
    except (OSError, ValueError):
        # Not there yet.
        return {"status": "error", "error": "no answer", "data": {"result": []}}
