"""What the program of the image is: static, without `dev`, without a trace of the machine that built
it, and able to serve a request."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import platform
import re
import struct
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MACHINES = {"amd64": 62, "arm64": 183}  # EM_X86_64, EM_AARCH64
PT_INTERP, PT_DYNAMIC, DT_NEEDED = 3, 2, 1
NATIVE = {"x86_64": "amd64", "aarch64": "arm64"}
SECRET = b"a secret of sixty-four bytes or more, which is what HS512 wants to have"
LISTENING = re.compile(r"listening listener=proxy address=127\.0\.0\.1:(\d+)")


def command(program: Path, arch: str, *words: str) -> list[str]:
    """How it is run on this machine."""
    emulated = [] if NATIVE.get(platform.machine()) == arch else ["qemu-aarch64-static"]
    return [*emulated, str(program), *words]


def faults_of_program(program: Path, arch: str, source: Path) -> list[str]:
    content = program.read_bytes()
    faults = elf(content, MACHINES[arch])
    for place in {str(source), os.path.expanduser("~/.cargo"), os.environ.get("CARGO_HOME", "")} - {""}:
        if (at := content.find(place.encode())) >= 0:
            faults.append(f"it names {content[at:at + 100]!r}")
    told = subprocess.run(command(program, arch, "--version"), text=True, capture_output=True)
    if not told.stdout.startswith("airside "):
        faults.append(f"--version: {told}")
    for word in ("dev", "token"):
        asked = command(program, arch, word, "--help")
        ran = subprocess.run(asked, text=True, capture_output=True)
        if ran.returncode != 2 or "unrecognized subcommand" not in ran.stderr:
            faults.append(f"it has the command {word}")
    return faults


def elf(content: bytes, machine: int) -> list[str]:
    """Nothing of the system is loaded with it (System V ABI, chapter 5)."""
    if content[:5] != b"\x7fELF\x02":
        return ["it is no program of 64 bits"]
    faults = []
    [found] = struct.unpack_from("<H", content, 18)
    if found != machine:
        faults.append(f"it is for the processor {found}, expected {machine}")
    [headers] = struct.unpack_from("<Q", content, 32)
    length, count = struct.unpack_from("<HH", content, 54)
    for number in range(count):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", content, headers + number * length)
        if kind == PT_INTERP:
            faults.append("it names an interpreter, so it is not static")
        if kind == PT_DYNAMIC:
            tags = struct.iter_unpack("<QQ", content[offset:offset + size])
            faults += ["it needs a library"] if any(tag == DT_NEEDED for tag, _ in tags) else []
    return faults


def faults_of_serving(program: Path, arch: str) -> list[str]:
    """A token is verified and handed on, and another refused."""
    told: list[str] = []
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), stub(told))
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        secret = Path(folder) / "secret"
        secret.write_bytes(SECRET)
        config = Path(folder) / "airside.yaml"
        config.write_text(json.dumps({
            "listen": "127.0.0.1:0", "admin": {"listen": "127.0.0.1:0"},
            "upstream": {"url": f"http://127.0.0.1:{upstream.server_port}"},
            "issuers": [{"name": "airflow", "type": "airflow", "secret_file": str(secret)}],
            "handoff": {"type": "airflow_token", "secret_file": str(secret)},
            "drain": {"delay": "0s", "timeout": "5s"},
        }))
        log = Path(folder) / "log"
        with open(log, "wb") as output:
            child = subprocess.Popen(
                command(program, arch, "serve", "-c", str(config)), env={}, stdout=output,
                stderr=output)
        try:
            port = listening(child, log)
            good, bad = (ask(port, token(key)) for key in (SECRET, SECRET[::-1]))
        finally:
            child.terminate()
            code = child.wait(30)
            upstream.shutdown()
        found = (good, bad, told, code)
        expected = (200, 401, ["alice"], 0)
        if found == expected:
            return []
        return [f"expected {expected}, found {found}: {log.read_text(errors='replace')}"]


def stub(told: list[str]) -> type[BaseHTTPRequestHandler]:
    class Airflow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.append(self.headers["X-Airside-User"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Airflow


def listening(child: subprocess.Popen, log: Path) -> int:
    """The port, once it is bound; under emulation that takes seconds."""
    began = time.monotonic()
    while not (said := LISTENING.search(log.read_text(errors="replace"))):
        if child.poll() is not None or time.monotonic() - began > 60:
            raise RuntimeError(f"airside did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.05)
    return int(said[1])


def ask(port: int, bearer: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/api/v2/dags", headers={"Authorization": f"Bearer {bearer}"})
    return connection.getresponse().status


def token(secret: bytes) -> str:
    """As Airflow signs its own."""
    now = int(time.time())
    claims = {"sub": "alice", "role": "admin", "teams": [], "aud": "apache-airflow", "jti": "0" * 32,
              "iat": now, "nbf": now, "exp": now + 600}
    parts = [encoded(json.dumps(part).encode()) for part in ({"alg": "HS512", "typ": "JWT"}, claims)]
    signature = hmac.new(secret, ".".join(parts).encode(), hashlib.sha512).digest()
    return ".".join([*parts, encoded(signature)])


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
