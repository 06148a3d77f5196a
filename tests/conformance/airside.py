"""The built program on loopback, before an Airflow that answers as it is told."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
import time
from pathlib import Path

from exchanges import SECRET, Exchange

START = 30.0
FRAMED = re.compile(rb"(?i)\r\n(content-length|transfer-encoding):|^HTTP/1.1 (204|304)")
LISTENING = re.compile(r"listening listener=proxy address=([\d.]+):(\d+)")


class Airflow:
    """Gives the answer of the exchange under way to whoever asks; after one whose end cannot be told
    otherwise, the end of the connection."""

    def __init__(self) -> None:
        self.answer = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            stream, _ = self.listener.accept()
            threading.Thread(target=self.converse, args=[stream], daemon=True).start()

    def converse(self, stream: socket.socket) -> None:
        with stream:
            while read_request(stream):
                stream.sendall(self.answer)
                if not FRAMED.search(self.answer):
                    stream.shutdown(socket.SHUT_WR)
                    while stream.recv(65536):
                        pass
                    return


def read_request(stream: socket.socket) -> bool:
    """Reads a whole request; false if there was none."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = stream.recv(65536)
        if not more:
            return False
        received += more
    head, body = received.split(b"\r\n\r\n", 1)
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    chunked = re.search(rb"(?i)transfer-encoding: *chunked", head)
    while (length and len(body) < int(length[1])) or (chunked and not body.endswith(b"0\r\n\r\n")):
        body += stream.recv(65536)
    return True


class Airside:
    """A running proxy; `with` it."""

    def __init__(self, binary: Path, home: Path) -> None:
        self.airflow = Airflow()
        secret = home / "secret"
        secret.write_text(SECRET)
        # JSON is YAML.
        configuration = home / "airside.yaml"
        configuration.write_text(json.dumps({
            "listen": "127.0.0.1:0",
            "admin": {"listen": "127.0.0.1:0"},
            "upstream": {"url": f"http://127.0.0.1:{self.airflow.port}"},
            "issuers": [{"name": "airflow", "type": "airflow", "secret_file": str(secret)}],
            "handoff": {"type": "airflow_token", "secret_file": str(secret)},
            "access": {"password_login": "closed"},
            "limits": {"header_bytes": 16384, "body_bytes": 1000},
            "drain": {"delay": "0s", "timeout": "5s"},
        }))
        self.log = home / "airside.log"
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(
                [binary, "serve", "-c", configuration], env={"PATH": "/usr/bin:/bin"},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __enter__(self) -> Airside:
        began = time.monotonic()
        while not (said := LISTENING.search(self.log.read_text(errors="replace"))):
            if self.child.poll() is not None or time.monotonic() - began > START:
                raise RuntimeError(f"airside did not start:\n{self.log.read_text()}")
            time.sleep(0.05)
        self.address = (said[1], int(said[2]))
        return self

    def __exit__(self, *_: object) -> None:
        self.child.terminate()
        self.child.wait()

    def expects(self, exchange: Exchange) -> None:
        """From here on, Airflow answers as this exchange has it."""
        self.airflow.answer = exchange.airflow or b""
