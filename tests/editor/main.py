"""Holds the schema against editors: the YAML language server, and a validator by the letter.

Every shipped configuration is good to both, wrong ones are not, `${NAME}` may stand anywhere, and
keys and values are completed.

    python3 tests/editor/main.py
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

# Nothing is left beside the sources.
sys.dont_write_bytecode = True

import setup  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
CONFIG = ROOT / "config"
# Says that this is the second run, under the Python that has the libraries, and what the server is.
AGAIN = "AIRSIDE_EDITOR"

GOOD = """\
# yaml-language-server: $schema=airside.schema.json
upstream: {url: "http://127.0.0.1:8081"}
issuers:
  - name: entra
    type: entra
    tenant: 7f1c2a9e-4b1d-4c55-9a52-6f0f3b1f9d10
    client_id: 0b8c6c3e-52cb-4d0c-8d64-3d6a8e6f2a77
handoff: {type: airflow_token, secret_file: /s}
"""

# What is added, or takes the place of another text.
WRONG = {
    "an unknown key": ("", "lisen: 0.0.0.0:8080\n"),
    "an unknown key of a section": ("", "limits: {header_byte: 1}\n"),
    "an unknown word": ("", "access: {docs: ajar}\n"),
    "text for a number": ("", "limits: {connections: many}\n"),
    "a number for text": ("", "roles: {map: [1]}\n"),
    "a number out of range": ("", "threads: 0\n"),
    "no duration": ("", "leeway: soon\n"),
    "no address to listen on": ("", "listen: localhost\n"),
    "another scheme": ("http://127", "ftp://127"),
    "no network": ("", "forwarded: {trusted: [proxy]}\n"),
    "another type of issuer": ("type: entra", "type: entraa"),
    "an issuer without a tenant": ("tenant:", "tenan:"),
    "a list for a section": ("{type: airflow_token, secret_file: /s}", "[x]"),
}
RIGHT = {
    "nothing more": "",
    "a variable for a number": 'limits: {connections: "${CONNECTIONS}"}\n',
    "a variable for a word": 'access: {docs: "${DOCS}"}\n',
    "a variable for a truth value": 'proxy_protocol: "${PROXY}"\n',
    "a variable for an address": 'listen: "${LISTEN}"\n',
    "a variable in a duration": 'leeway: "${SECONDS}s"\n',
    "sections left out": "tls: null\nexecution_listen: null\n",
    "spans of time": "leeway: 1m 30s\nkeys: {refresh: 90m, timeout: 1500ms}\n",
    "the other issuers": "roles: {map: {a: [Op]}, teams: {a: [t]}}\n",
}
# Where the text ends, some of what is offered, and some of what is not.
OFFERED = [
    ("", {"listen", "limits", "access", "tls"}, {"tenant", "docs"}),
    ("access:\n  ", {"ui", "password_login", "docs"}, {"listen"}),
    ("access:\n  docs: ", {"open", "closed"}, {"airflow"}),
    ("access:\n  ui: ", {"airflow", "closed"}, {"open"}),
    ("log:\n  level: ", {"info", "debug"}, {"text"}),
    ("handoff:\n  ", {"type", "secret_file", "fab"}, {"ui"}),
]


def main() -> None:
    if AGAIN not in os.environ:
        python, server = setup.ready()
        again = os.environ | {AGAIN: json.dumps(server)}
        os.execve(python, [str(python), *sys.argv], again)
    faults = [*by_the_letter(), *by_the_server(json.loads(os.environ[AGAIN]))]
    for fault in faults:
        print(f"FAULT: {fault}")
    print(f"{len(faults)} faults")
    sys.exit(bool(faults))


def shipped() -> dict[Path, str]:
    files = [*CONFIG.glob("*.yaml"), *CONFIG.glob("*/airside.yaml")]
    assert len(files) > 8, files
    return {path: path.read_text() for path in sorted(files)}


def cases() -> list[tuple[str, str, bool]]:
    """Names and texts, and whether they are good."""
    wrong = [
        (name, GOOD.replace(old, new) if old else GOOD + new, False)
        for name, (old, new) in WRONG.items()
    ]
    return wrong + [(name, GOOD + more, True) for name, more in RIGHT.items()]


def by_the_letter() -> list[str]:
    import jsonschema
    import yaml

    schema = json.loads((CONFIG / "airside.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)

    def said(text: str) -> list[str]:
        return [f"{error.json_path}: {error.message}" for error in
                validator.iter_errors(yaml.safe_load(text))]

    faults = []
    for path, text in shipped().items():
        faults += [f"jsonschema, {path.name}: {error}" for error in said(text)]
    for name, text, good in cases():
        if (errors := said(text)) and good or not errors and not good:
            faults.append(f"jsonschema, {name}: {errors}")
    return faults


def by_the_server(command: list[str]) -> list[str]:
    from server import Server

    faults = []
    with Server(command, ROOT) as server:
        for path, text in shipped().items():
            server.open(path, text)
            faults += [f"server, {path.name}: {mark}" for mark in server.diagnostics(path)]
        for number, (name, text, good) in enumerate(cases()):
            path = CONFIG / f"case-{number}.yaml"
            server.open(path, text)
            if (marks := server.diagnostics(path)) and good or not marks and not good:
                faults.append(f"server, {name}: {marks}")
        for number, (text, wanted, others) in enumerate(OFFERED):
            path, text = CONFIG / f"offered-{number}.yaml", GOOD.split("\n")[0] + "\n" + text
            server.open(path, text)
            server.diagnostics(path)
            offered = server.completions(path, text)
            if not wanted <= offered or others & offered:
                faults.append(f"server, after {text!r}: {sorted(offered)}")
        path = CONFIG / "hovered.yaml"
        server.open(path, GOOD + "leeway: 30s\n")
        server.diagnostics(path)
        if "clocks that differ" not in (told := server.hover(path, GOOD.count("\n"), 2)):
            faults.append(f"server, hovering: {told}")
    return faults


if __name__ == "__main__":
    main()
