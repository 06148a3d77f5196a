"""Configurations that stand in documents, read by `airside check`.

A block counts that begins with `# airside.yaml`. The files that it names are made, each of the kind
that its key wants; nothing else of it is touched.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from blocks import blocks
from documents import BINARY, ROOT, SECRET

BEGIN = "# airside.yaml"
NAMED = re.compile(
    r"""(?P<key>[a-z_]*file|cache_dir):\s*(?P<quote>["']?)(?P<path>/[^\s"',}\]]+)(?P=quote)"""
)


def faults_of_configurations(document: Path, home: Path) -> tuple[int, list[str]]:
    """How many there were, and what is wrong."""
    found = [
        block for block in blocks(document)
        if block.info.split(" ")[0] == "yaml" and block.text.startswith(BEGIN)
    ]
    faults = []
    for block in found:
        file = home / "airside.yaml"
        file.write_text(NAMED.sub(lambda named: made(named, home), block.text))
        said = subprocess.run(
            [BINARY, "check", "-c", file], capture_output=True, text=True, cwd=home, env={},
        )
        if said.returncode != 0:
            where = f"{document.relative_to(ROOT)}:{block.line}"
            told = f"check ended with {said.returncode}:\n{said.stdout}{said.stderr}"
            faults.append(f"{where}: {told}")
    return len(found), faults


def made(named: re.Match[str], home: Path) -> str:
    """The same words about a file in HOME, which is there."""
    place = home / named["path"].lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    if named["key"] == "cache_dir":
        place.mkdir(exist_ok=True)
    elif not place.exists():
        write(named["key"], place, home)
    return f"{named['key']}: {json.dumps(str(place))}"


def write(key: str, place: Path, home: Path) -> None:
    if key == "file":
        place.write_text("[]\n")  # revocation.file
    elif key.removeprefix("client_") in ("cert_file", "key_file", "ca_file"):
        certificate, private = home / "certificate.pem", home / "certificate.key"
        if not certificate.exists():
            openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-subj", "/CN=localhost", "-keyout", private, "-out", certificate)
        place.write_bytes((private if key.endswith("key_file") else certificate).read_bytes())
    elif key == "private_key_file":
        openssl("genpkey", "-algorithm", "ed25519", "-out", place)
    elif key == "public_key_file" or (key.endswith("keys_file") and place.suffix == ".pem"):
        private = home / f"{place.name}.private"
        openssl("genpkey", "-algorithm", "ed25519", "-out", private)
        openssl("pkey", "-in", private, "-pubout", "-out", place)
    elif key.endswith("keys_file"):
        x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"  # RFC 8037, appendix A.2
        entry = {"kty": "OKP", "crv": "Ed25519", "kid": place.stem, "use": "sig", "x": x}
        place.write_text(json.dumps({"keys": [entry]}))
    else:
        place.write_text(SECRET)


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
