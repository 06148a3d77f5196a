"""Judges tokens with airside: the built program on loopback, asked over connections kept open."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

ACCEPTED = "accepted"
# Whatever is said of a token, it is never the proxy's fault: an answer of another status, or none,
# is a failure of its own.
NO_VERDICT = "no verdict"
# More would only wait for the two or so cores there are.
CONNECTIONS = 8
START = 30.0
LISTENING = re.compile(r"listening listener=proxy address=([\d.]+):(\d+)")
SECRET = "a secret of this test only: not random, but of sixty-four bytes and some more"


class Airside:
    """A running proxy before an upstream that says yes to everything; `async with` it."""

    def __init__(self, binary: Path, home: Path, policy: dict) -> None:
        self.binary, self.home, self.policy = binary, home, policy

    async def __aenter__(self) -> Airside:
        self.upstream = await asyncio.start_server(say_yes, "127.0.0.1", 0)
        port = self.upstream.sockets[0].getsockname()[1]
        configuration = self.write_configuration(port)
        self.log = self.home / "airside.log"
        with open(self.log, "wb") as log:
            self.child = await asyncio.create_subprocess_exec(
                self.binary, "serve", "-c", configuration, env={"PATH": "/usr/bin:/bin"},
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )
        self.address = await asyncio.wait_for(self.listening(), START)
        self.idle: asyncio.Queue = asyncio.Queue()
        for _ in range(CONNECTIONS):
            self.idle.put_nowait(None)
        return self

    async def __aexit__(self, *_) -> None:
        if self.child.returncode is None:
            self.child.terminate()
        await self.child.wait()
        self.upstream.close()

    def write_configuration(self, upstream: int) -> Path:
        keys, secret = self.home / "keys.json", self.home / "secret"
        keys.write_text(json.dumps(self.policy["jwks"]))
        secret.write_text(SECRET)
        # JSON is YAML.
        tree = {
            "listen": "127.0.0.1:0",
            "admin": {"listen": "127.0.0.1:0"},
            "upstream": {"url": f"http://127.0.0.1:{upstream}"},
            "issuers": [{
                "name": "sso", "type": "oidc", "issuer": self.policy["issuer"],
                "audiences": self.policy["audiences"], "keys_file": str(keys),
                "algorithms": ["RS256"], "username_prefix": "sso:", "roles": {"ops": ["Op"]},
            }],
            "leeway": f"{self.policy['leeway']}s",
            "handoff": {"type": "airflow_token", "secret_file": str(secret)},
            # The size of a token is no matter of its validity.
            "limits": {"header_bytes": 131072, "token_bytes": 65536},
            "drain": {"delay": "0s", "timeout": "5s"},
        }
        path = self.home / "airside.yaml"
        path.write_text(json.dumps(tree, indent=2))
        return path

    async def listening(self) -> tuple[str, int]:
        while True:
            said = LISTENING.search(self.log.read_text(errors="replace"))
            if said:
                return said[1], int(said[2])
            if self.child.returncode is not None:
                raise RuntimeError(f"airside ended at its start:\n{self.log.read_text()}")
            await asyncio.sleep(0.05)

    async def judge(self, token: str) -> str:
        """`accepted`, the reason of a refusal, or that there was no verdict on the token."""
        connection = await self.idle.get()
        try:
            if connection is None or connection[0].at_eof():
                connection = await asyncio.open_connection(*self.address)
            status, headers, body = await exchange(*connection, token)
        except (OSError, asyncio.IncompleteReadError):
            connection = None
            return f"{NO_VERDICT}: the connection broke"
        else:
            if headers.get("connection", "").lower() == "close":
                connection[1].close()
                connection = None
        finally:
            self.idle.put_nowait(connection)
        if status == 200:
            return ACCEPTED
        return json.loads(body)["reason"] if status in (401, 403) else f"{NO_VERDICT}: {status}"


async def exchange(reader, writer, token: str) -> tuple[int, dict[str, str], bytes]:
    head = "GET /api/v2/dags HTTP/1.1\r\nhost: airflow.example\r\nauthorization: Bearer "
    writer.write(head.encode() + token.encode() + b"\r\n\r\n")
    await writer.drain()
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.split(":", 1) for line in lines[1:] if line)
    headers = {name.lower(): value.strip() for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return int(lines[0].split()[1]), headers, body


async def say_yes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
