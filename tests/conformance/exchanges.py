"""Requests of every kind, what Airflow answers to them, and the status that must come."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field

SECRET = "a secret of this test only: not random, but of sixty-four bytes and some more"


@dataclass
class Exchange:
    label: str
    status: int
    path: str = "/api/v2/dags"
    method: str = "GET"
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | None = None
    # What stands before airside: the bytes of Airflow's answer, or none if it is not to be asked.
    airflow: bytes | None = None


def table() -> list[Exchange]:
    good = [("authorization", f"Bearer {token()}")]
    bearer = [("authorization", "Bearer x.y.z")]
    ok = answer("200 OK", [], b"{}")
    return [
        # Of our own.
        Exchange("no token", 401),
        Exchange("no token, HEAD", 401, method="HEAD"),
        Exchange("a bad token", 401, headers=bearer),
        Exchange("a bad token, HEAD", 401, method="HEAD", headers=bearer),
        Exchange("two credentials", 400, headers=bearer * 2),
        Exchange("another scheme", 401, headers=[("authorization", "Basic eDp5")]),
        Exchange("a token nobody has issued", 401, headers=[("authorization", f"Bearer {token(iss='x')}")]),
        Exchange("an expired token", 401, headers=[("authorization", f"Bearer {token(exp=1)}")]),
        Exchange("dots in the path", 400, path="/api/v2/%2e%2e/x", headers=good),
        Exchange("what is ours and is not there", 404, path="/airside/x", headers=good),
        Exchange("TRACE", 405, method="TRACE", headers=good),
        Exchange("a closed door", 403, method="POST", path="/auth/token", body=b"{}"),
        Exchange("a large field", 431, headers=[*good, ("x-filler", "x" * 20_000)]),
        Exchange("a large body", 413, method="POST", headers=good, body=b"x" * 2000),
        Exchange("Airflow hangs up", 502, headers=good, airflow=b""),
        Exchange("Airflow answers nonsense", 502, headers=good, airflow=b"nonsense\r\n\r\n"),
        # Of Airflow's.
        Exchange("an open path", 200, path="/api/v2/version", airflow=ok),
        Exchange("a read", 200, headers=good, airflow=ok),
        Exchange("a read, HEAD", 200, method="HEAD", headers=good, airflow=answer("200 OK", [("content-length", "2")])),
        Exchange("a write", 201, method="POST", headers=good, body=b"{}",
                 airflow=answer("201 Created", [("location", "/api/v2/variables/x")], b"{}")),
        Exchange("a deletion", 204, method="DELETE", headers=good, airflow=answer("204 No Content", [])),
        Exchange("a redirect", 307, headers=good,
                 airflow=answer("307 Temporary Redirect", [("location", "/api/v2/dags/")], b"")),
        Exchange("nothing new", 304, headers=[*good, ("if-none-match", '"a"')],
                 airflow=answer("304 Not Modified", [("etag", '"a"'), ("cache-control", "private")])),
        Exchange("a part", 206, headers=[*good, ("range", "bytes=0-1")],
                 airflow=answer("206 Partial Content", [("content-range", "bytes 0-1/9")], b"ab")),
        Exchange("in chunks", 200, headers=good, airflow=(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
            b"1\r\n{\r\n1;x=y\r\n}\r\n0\r\nx-late: 1\r\n\r\n")),
        Exchange("until the end", 200, headers=good, airflow=(
            b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{}")),
        Exchange("with hop-by-hop fields", 200, headers=good, airflow=answer(
            "200 OK", [("connection", "close, x-mine"), ("x-mine", "1"), ("keep-alive", "timeout=5")], b"{}")),
        Exchange("after an early hint", 200, headers=good,
                 airflow=b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + ok),
        Exchange("an error of Airflow", 500, headers=good,
                 airflow=answer("500 Internal Server Error", [], b"{}")),
        Exchange("a large answer", 200, headers=good, airflow=answer("200 OK", [], b'"' + b"x" * 300_000 + b'"')),
    ]


def answer(status: str, headers: list[tuple[str, str]], body: bytes | None = None) -> bytes:
    fields = [("date", "Thu, 01 Jan 2026 00:00:00 GMT"), *headers]
    if body is not None:
        fields += [("content-length", str(len(body)))]
    if body:
        fields += [("content-type", "application/json")]
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode() + (body or b"")


def token(**claims: object) -> str:
    """One that Airflow could have issued."""
    now = int(time.time())
    claims = {"sub": "alice", "aud": "apache-airflow", "iat": now - 5, "nbf": now - 5,
              "exp": now + 3600, "jti": "0" * 32} | claims
    parts = [part({"alg": "HS512", "typ": "JWT", "kid": "not-used"}), part(claims)]
    signature = hmac.digest(SECRET.encode(), ".".join(parts).encode(), hashlib.sha512)
    return ".".join([*parts, encode(signature)])


def part(value: dict) -> str:
    return encode(json.dumps(value).encode())


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
