"""Holds airside's answers against peers that forgive nothing: h11, h2, httplint, curl and nghttp2.

Every exchange (exchanges.py) goes over HTTP/1.1 and HTTP/2. What a peer does not take fails, as does
another status than expected, another body over one version than over the other, and every warning
of the linter that explained.py does not explain.

    python3 tests/conformance/main.py [--binary target/ci/airside] [--programs]

With `--programs`, curl, nghttp and h2load ask instead.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

# Nothing is left beside the sources.
sys.dont_write_bytecode = True

import setup  # noqa: E402

HERE = Path(__file__).resolve().parent
# Says that this is the second run, under the Python that has the peers.
AGAIN = "AIRSIDE_CONFORMANCE"


def main() -> None:
    arguments = parse_arguments()
    if not arguments.binary.is_file():
        sys.exit(f"{arguments.binary} is not there: cargo build --profile ci")
    if AGAIN not in os.environ:
        python = str(setup.ready())
        os.execve(python, [python, *sys.argv], os.environ | {AGAIN: "1"})
    from airside import Airside

    with tempfile.TemporaryDirectory(dir=setup.ROOT) as home:
        with Airside(arguments.binary, Path(home)) as airside:
            faults = programs(airside) if arguments.programs else libraries(airside)
    for fault in faults:
        print(f"FAULT: {fault}")
    print(f"{len(faults)} faults")
    sys.exit(bool(faults))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=HERE.parent.parent / "target/ci/airside")
    parser.add_argument("--programs", action="store_true", help="curl, nghttp and h2load ask")
    return parser.parse_args()


def libraries(airside) -> list[str]:
    import peers
    from exchanges import table
    from explained import EXPLAINED

    faults, called_for = [], set()
    http2 = peers.Http2(airside.address)
    print(f"{'exchange':<34}{'HTTP/1.1':>9}{'HTTP/2':>8}  remarks that are explained")
    for exchange in table():
        airside.expects(exchange)
        answers = []
        for ask in (lambda one: peers.http1(airside.address, one), http2.ask):
            try:
                answers.append(ask(exchange))
            except Exception as error:  # noqa: BLE001: whatever a peer raises is what it is for
                answers.append(None)
                faults.append(f"{exchange.label}: {error!r}")
                if ask == http2.ask:
                    http2 = peers.Http2(airside.address)
        remarks = set()
        for answer in filter(None, answers):
            faults += judge(exchange, answer)
            remarks |= {(name, text) for name, text in linted(exchange, answer)}
        bodies = {comparable(answer.body) for answer in answers if answer}
        faults += [f"{exchange.label}: the bodies differ: {bodies}"] if len(bodies) > 1 else []
        for name, text in sorted(remarks):
            if name in EXPLAINED and exchange.label in EXPLAINED[name][0]:
                called_for.add((name, exchange.label))
            else:
                faults.append(f"{exchange.label}: {name}: {text}")
        statuses = [str(answer.status) if answer else "-" for answer in answers]
        names = ", ".join(sorted({name for name, _ in remarks}))
        print(f"{exchange.label:<34}{statuses[0]:>9}{statuses[1]:>8}  {names}".rstrip())
    http2.close()
    for name, (labels, why) in EXPLAINED.items():
        print(f"\n{name}: {why}")
        faults += [f"explained, and nobody said so: {name}, {label}"
                   for label in sorted(labels) if (name, label) not in called_for]
    return faults


def judge(exchange, answer) -> list[str]:
    faults = []
    if answer.status != exchange.status:
        faults.append(f"{exchange.label}: {answer.status} instead of {exchange.status}: {answer.body[:200]}")
    names = [name.lower() for name, _ in answer.headers]
    if b"x-request-id" not in names:
        faults.append(f"{exchange.label}: no X-Request-Id")
    return faults


def comparable(body: bytes) -> bytes:
    """Without what differs from request to request."""
    import re

    return re.sub(rb'"request_id":"[^"]*"', b"", body)


def linted(exchange, answer) -> list[tuple[str, str]]:
    """What httplint warns of, by the names of its remarks."""
    from httplint import HttpRequestLinter, HttpResponseLinter
    from httplint.note import levels

    request = HttpRequestLinter()
    request.process_request_topline(
        exchange.method.encode(), f"http://airflow.example{exchange.path}".encode(), b"1.1")
    request.process_headers([(name.encode(), value.encode()) for name, value in exchange.headers])
    response = HttpResponseLinter()
    response.request = request
    response.is_head_response = exchange.method == "HEAD"
    response.process_response_topline(
        answer.version.encode(), str(answer.status).encode(), answer.reason)
    response.process_headers(answer.headers)
    response.feed_content(answer.body)
    response.finish_content(True)
    return [(type(note).__name__, f"{note.summary}") for note in response.notes
            if note.level in (levels.BAD, levels.WARN)]


def programs(airside) -> list[str]:
    """Clients that people have: none may find anything wrong."""
    from exchanges import table, token

    url = "http://{}:{}".format(*airside.address)
    read = next(exchange for exchange in table() if exchange.label == "a read")
    airside.expects(read)
    bearer = f"authorization: Bearer {token()}"
    faults = []
    for words, says in [
        (["curl", "--http1.1"], "{}"),
        (["curl", "--http2-prior-knowledge"], "{}"),
        (["nghttp", "--no-dep"], "{}"),
    ]:
        quiet = ["--silent", "--show-error", "--fail", "--max-time", "30"]
        more = quiet if words[0] == "curl" else ["--timeout=30"]
        faults += said([*words, *more, "-H", bearer, f"{url}/api/v2/dags"], says)
    load = ["h2load", "-n", "2000", "-c", "4", "-m", "20", "-T", "30", "-H", bearer]
    all_of_them = "2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout"
    for more in ([], ["--h1"]):
        faults += said([*load, *more, f"{url}/api/v2/dags"], all_of_them)
    return faults


def said(command: list[str], what: str) -> list[str]:
    """Runs it; a fault unless it ended well and printed that."""
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    shown = [word for word in command if "Bearer" not in word]
    holds = ran.returncode == 0 and what in ran.stdout
    print(f"{' '.join(shown)}: {'ok' if holds else 'FAILED'}")
    return [] if holds else [f"{' '.join(shown)}: {ran.returncode} {ran.stdout[-800:]}{ran.stderr[-400:]}"]


if __name__ == "__main__":
    main()
