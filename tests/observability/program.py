"""The built program on loopback between an issuer and an Airflow of the tests, with everything on
that has a metric."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

START = 30.0
SECRET = "a secret of these tests alone, neither random nor kept, of sixty-four bytes at the least"
LISTENING = re.compile(r"listening listener=(\w+) address=(127\.0\.0\.1:\d+)")


def serve(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    """A server on a port of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def url_of(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


class Quiet(BaseHTTPRequestHandler):
    """Answers JSON and prints nothing."""

    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class Issuer(Quiet):
    """Publishes a key; nobody here has its private half."""

    MODULUS = base64.urlsafe_b64encode(b"\xc1" + os.urandom(254) + b"\x01").rstrip(b"=").decode()

    def do_GET(self) -> None:
        key = {"kty": "RSA", "use": "sig", "kid": "k", "n": self.MODULUS, "e": "AQAB"}
        self.answer(200, {"keys": [key]})


class Airflow(Quiet):
    """Answers as the path says, and keeps the heads it got."""

    received: list[dict[str, str]] = []

    def do_GET(self) -> None:
        self.received.append({name.lower(): value for name, value in self.headers.items()})
        self.answer(500 if self.path.endswith("/broken") else 200, {"path": self.path})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.do_GET()


class Airside:
    """A running proxy; `with` it."""

    def __init__(self, binary: Path, home: Path) -> None:
        self.binary, self.home = binary, home
        self.airflow, self.issuer = serve(Airflow), serve(Issuer)
        (home / "secret").write_text(SECRET)
        (home / "revoked.yaml").write_text("- jti: revoked\n")
        self.set_collector("http://127.0.0.1:1")

    def set_collector(self, endpoint: str) -> None:
        """Writes the configuration with it; in force some seconds later if the program runs."""
        tenant = "aaaabbbb-0000-cccc-1111-dddd2222eeee"
        secret = str(self.home / "secret")
        # JSON is YAML.
        (self.home / "airside.yaml").write_text(json.dumps({
            "listen": "127.0.0.1:0",
            "admin": {"listen": "127.0.0.1:0"},
            "upstream": {"url": url_of(self.airflow)},
            "issuers": [
                {"name": "entra", "type": "entra", "tenant": tenant, "client_id": tenant,
                 "authority": url_of(self.issuer)},
                {"name": "airflow", "type": "airflow", "secret_file": secret},
            ],
            "handoff": {"type": "airflow_token", "secret_file": secret},
            "revocation": {"file": str(self.home / "revoked.yaml")},
            "telemetry": {"otlp_endpoint": endpoint},
            "drain": {"delay": "0s", "timeout": "5s"},
        }))

    def __enter__(self) -> Airside:
        self.log = self.home / "airside.log"
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(
                [self.binary, "serve", "-c", self.home / "airside.yaml"],
                env={"PATH": "/usr/bin:/bin"}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait("airside listens", lambda: len(self.listeners()) == 2)
        wait("airside is ready", lambda: self.ask_admin("/readyz")[0] == 200)
        return self

    def __exit__(self, *_: object) -> None:
        self.child.terminate()
        self.child.wait()

    def listeners(self) -> dict[str, str]:
        return dict(LISTENING.findall(self.log.read_text(errors="replace")))

    def ask(self, path: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> tuple[int, dict[str, str]]:
        """Status and headers of the answer."""
        request = urllib.request.Request(
            f"http://{self.listeners()['proxy']}{path}", headers=headers or {}, data=body)
        return open_url(request)[:2]

    def ask_admin(self, path: str) -> tuple[int, str]:
        request = urllib.request.Request(f"http://{self.listeners()['admin']}{path}")
        status, _, text = open_url(request)
        return status, text


def open_url(request: urllib.request.Request) -> tuple[int, dict[str, str], str]:
    try:
        with OPENER.open(request, timeout=START) as answer:
            status, headers, content = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:
        status, headers, content = answer.code, answer.headers, answer.read()
    return status, {name.lower(): value for name, value in headers.items()}, content.decode()


# Whatever proxies this machine has are not for loopback.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def token() -> str:
    """One that Airflow would have issued."""
    now = int(time.time())
    claims = {
        "sub": "alice", "role": "op", "teams": [], "aud": "apache-airflow", "jti": "0" * 32,
        "iat": now, "nbf": now, "exp": now + 600,
    }
    parts = [{"alg": "HS512", "typ": "JWT"}, claims]
    signed = ".".join(encode(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{encode(hmac.digest(SECRET.encode(), signed.encode(), hashlib.sha512))}"


def encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def wait(what: str, asked: object) -> None:
    began = time.monotonic()
    while not asked():
        if time.monotonic() - began > START:
            raise RuntimeError(f"waited in vain: {what}")
        time.sleep(0.05)


SERIES = re.compile(r'^(airside_\w+)(?:\{(.*)\})? \S+$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def exported(airside: Airside) -> dict[str, dict[str, set[str]]]:
    """What `/metrics` has after requests of each kind: labels and their values by series' name."""
    bearer = {"Authorization": f"Bearer {token()}"}
    for path, headers in [("/api/v2/dags", bearer), ("/api/v2/dags", {}), ("/x/../y", {}), ("/api/v2/broken", bearer)]:
        airside.ask(path, headers)
    names: dict[str, dict[str, set[str]]] = {}
    for line in airside.ask_admin("/metrics")[1].splitlines():
        if found := SERIES.match(line):
            labels = names.setdefault(found[1], {})
            for name, value in LABEL.findall(found[2] or ""):
                labels.setdefault(name, set()).add(value)
    return names
