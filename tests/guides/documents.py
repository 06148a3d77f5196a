"""How each document is run: the one place that says it.

A document with `sh` blocks has an entry here, or the test fails. `sh azure` and `sh cluster` blocks
need an account or a cluster, and nothing runs them; their `airside` lines are read all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# As the tests built it, and the Airflow of tests/airflow/setup.py.
BINARY = ROOT / "target/ci/airside"
AIRFLOW = ROOT / "target/airflow/servers/3.3.2"


@dataclass(frozen=True)
class Run:
    """The blocks run in order in one fresh shell, in an empty folder."""

    variables: dict[str, str] = field(default_factory=dict)
    # Whole commands of a block, and what runs in their place: what takes too long, or the network.
    instead: dict[str, str] = field(default_factory=dict)
    # Files that the reader is taken to have.
    files: dict[str, str] = field(default_factory=dict)
    # Whether the reader is taken to have the program.
    installed: bool = True
    # What has to be there; where it is not the document was NOT RUN, which fails.
    needs: tuple[Path, ...] = ()


@dataclass(frozen=True)
class By:
    """A test of its own runs the blocks; it has to name the document."""

    script: str


# Nothing is built or downloaded a second time; everything else is as printed.
QUICKSTART = Run(
    variables={"AIRSIDE": str(ROOT)},
    instead={
        'cargo install --locked --path "$AIRSIDE" --root "$PWD"':
            f'mkdir bin && ln -s "{BINARY}" bin/airside',
        'python3 -m venv venv': 'mkdir venv',
        'venv/bin/pip install "apache-airflow==3.3.2"': f'ln -s "{AIRFLOW}/bin" venv/bin',
    },
    installed=False,
    needs=(AIRFLOW / "bin/airflow",),
)

# Where names of tests stand beside what they prove.
PROVEN = {"docs/migration.md", "docs/security.md"}

EXAMPLE = """\
upstream: {url: "http://127.0.0.1:8081"}
issuers:
  - name: entra
    type: entra
    tenant: 7f1c2a9e-4b1d-4c55-9a52-6f0f3b1f9d10
    client_id: 0b8c6c3e-52cb-4d0c-8d64-3d6a8e6f2a77
  - {name: airflow, type: airflow, secret_file: jwt-secret}
roles: {map: {Airflow.Viewer: [Viewer]}}
handoff: {type: airflow_token, secret_file: jwt-secret}
"""
SECRET = "for the test of the documents alone: not random, but of sixty-four bytes and more\n"
CONFIGURED = Run(files={"airside.yaml": EXAMPLE, "jwt-secret": SECRET})

# The command of the README serves until it is ended.
README = Run(instead={
    "cargo run --release -- dev":
        f'"{BINARY}" dev > dev.log 2>&1 & DEV=$!; '
        "until curl -sf -o /dev/null http://127.0.0.1:8080/api/v2/version; do sleep 0.2; done; "
        'kill "$DEV" && wait "$DEV"',
})

DOCUMENTS: dict[str, Run | By] = {
    "README.md": README,
    "docs/airflow-2.md": Run(),
    "docs/airflow-auth-managers.md": Run(),
    "docs/configuration.md": CONFIGURED,
    "docs/migration.md": CONFIGURED,
    "docs/quickstart.md": QUICKSTART,
    "docs/sidecar.md": Run(),
    "docs/upgrade.md": CONFIGURED,
}
