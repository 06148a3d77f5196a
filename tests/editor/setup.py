"""Installs what reads the schema of configurations as editors do, below target/editor.

The packages are named with their versions and nothing else: where they come from is how pip and npm
are configured on this machine. A second call finds everything done.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import node

# Validates by the letter of JSON Schema.
PYTHON = ["jsonschema==4.26.0", "PyYAML==6.0.4"]
# What completes and checks YAML in editors.
NPM = ["yaml-language-server@2.0.0"]

ROOT = Path(__file__).resolve().parent.parent.parent / "target" / "editor"


def ready() -> tuple[Path, list[str]]:
    """The Python that has the libraries, and the command that runs the language server."""
    ROOT.mkdir(parents=True, exist_ok=True)
    with open(ROOT / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with_node = node.of_this_machine()
        made_from = [
            sys.executable, sys.version, *PYTHON, *node.WHEEL, *NPM, str(with_node), str(ROOT),
        ]
        digest = hashlib.sha256("\0".join(made_from).encode()).hexdigest()
        stamp, python = ROOT / "stamp", ROOT / "venv" / "bin" / "python"
        if not stamp.is_file() or stamp.read_text() != digest:
            stamp.unlink(missing_ok=True)
            install(python, with_node)
            stamp.write_text(digest)
    server = ROOT / "npm/node_modules/yaml-language-server/bin/yaml-language-server"
    return python, [*node.commands(ROOT / "venv")[0], str(server), "--stdio"]


def install(python: Path, with_node: bool) -> None:
    venv = ROOT / "venv"
    shutil.rmtree(venv, ignore_errors=True)
    node.run([sys.executable, "-I", "-m", "venv", venv], ROOT)
    packages = PYTHON + ([] if with_node else node.WHEEL)
    node.run([python, "-I", "-m", "pip", "install", "--quiet", *packages], ROOT)
    node.install(ROOT / "npm", node.commands(venv)[1], NPM)


if __name__ == "__main__":
    ready()
