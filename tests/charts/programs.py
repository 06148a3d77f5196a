"""Helm, kubectl, the schemas of Kubernetes' objects, and airside, run as people run them."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

import setup

ROOT = Path(__file__).resolve().parent.parent.parent
BINARY = ROOT / "target/ci/airside"

# The newest of Kubernetes that the validator has schemas of.
NEWEST = "1.37"
# Their definitions are in nobody's schemas of Kubernetes.
CUSTOM = {"HTTPRoute", "ServiceMonitor"}


class Refused(Exception):
    """A program said no; its text is what the user reads."""


def run(*command: object, given: str | None = None) -> str:
    # No cluster and no configuration of this machine's user.
    environment = {"PATH": os.defpath, "HOME": str(setup.ROOT), "KUBECONFIG": os.devnull}
    ran = subprocess.run(
        [str(part) for part in command], cwd=ROOT, env=environment, input=given,
        text=True, capture_output=True, timeout=120,
    )
    if ran.returncode != 0:
        raise Refused(ran.stdout + ran.stderr)
    return ran.stdout


def template(chart: Path, files: list[Path], values: dict | None = None, *more: str,
             release: str = "airside") -> str:
    """What Helm makes of the chart with these files of values, and the values over them."""
    last = [] if values is None else ["--values", "-"]
    named = [part for file in files for part in ("--values", file)]
    given = None if values is None else json.dumps(values)
    command = ["template", release, chart, "--namespace", "airflow", *named, *last, *more]
    return run(setup.HELM, *command, given=given)


def objects(text: str) -> list[dict]:
    return [found for found in yaml.safe_load_all(text) if found]


def validated(text: str, oldest: str) -> list[str]:
    """What Kubernetes, the oldest that they are for and the newest, would not take of these objects; an
    unknown field for example."""
    faults = []
    for found in objects(text):
        for version in (oldest, NEWEST) if found["kind"] not in CUSTOM else ():
            try:
                kubernetes_validate.validate(found, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                place = ".".join(map(str, error.path))
                faults.append(f"{found['kind']}, Kubernetes {version}: {place}: {error.message}")
    return faults


IDS = {
    "YOUR-TENANT-ID": "7f1c2a9e-4b1d-4c55-9a52-6f0f3b1f9d10",
    "YOUR-CLIENT-ID": "0b8c6c3e-52cb-4d0c-8d64-3d6a8e6f2a77",
    # The pods of setup.py, from one of which the tests call.
    "YOUR-INGRESS-NETWORK": "10.244.0.0/16",
}


def with_ids(text: str) -> str:
    for word, id in IDS.items():
        text = text.replace(word, id)
    return text


def checked(text: str, warned: set[str]) -> list[str]:
    """What `airside check` has against a configuration whose secrets, lists and folders are there; its
    warnings are those, by place."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        secrets(folder / "secrets")
        (folder / "revoked.yaml").write_text("[]\n")
        for there, here in [("/run/secrets", "secrets"), ("/var/cache/airside", "cache"),
                            ("/etc/airside/revocation", ".")]:
            text = text.replace(there, str(folder / here))
        file = folder / "airside.yaml"
        file.write_text(text)
        try:
            said = run(BINARY, "check", "--config", file)
        except Refused as refused:
            return [f"airside check: {refused}"]
    places = {line.split(": ")[-1] for line in said.splitlines() if line.startswith("warning: ")}
    return [] if places == warned else [f"airside check warns of {places}, not {warned}"]


def secrets(folder: Path) -> None:
    """Under the names that the files below config/helm and the guides give them."""
    for name in ["airflow", "airside", "tls"]:
        (folder / name).mkdir(parents=True)
    (folder / "airflow" / "jwt-secret").write_text(os.urandom(64).hex())
    key = folder / "airside" / "assertion.pem"
    run("openssl", "genpkey", "-algorithm", "ed25519", "-out", key)
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run(*made, "-subj", "/CN=airflow.contoso.com", "-addext", "subjectAltName=DNS:airflow.contoso.com",
        "-keyout", folder / "tls" / "tls.key", "-out", folder / "tls" / "tls.crt")


def without_ids(text: str) -> list[str]:
    """Whether the configuration as it ships is refused, for the words that are to be replaced."""
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(text)
            file.flush()
            run(BINARY, "check", "--config", file.name)
    except Refused as refused:
        return [f"{word} is not refused" for word in IDS
                if word in text and f'"{word}"' not in str(refused)]
    return ["airside check takes the configuration as it ships"]
