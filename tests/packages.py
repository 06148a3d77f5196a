"""What tests need from PyPI and npm: installed below target/, once.

Packages are named with their versions and nothing else: where they come from is how pip and npm are
configured on this machine.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import node

TARGET = Path(__file__).resolve().parent.parent / "target"

YAML = "PyYAML==6.0.4"


def install(
    root: Path,
    pypi: Sequence[str] = (),
    npm: Sequence[str] = (),
    then: Callable[[], None] = lambda: None,
) -> None:
    """Puts the Python packages into ROOT/venv and those of npm into ROOT/npm, and lets `then` add the
    rest; finds it done where it is. Where npm is needed and the machine has no Node.js, the venv has it.
    """
    root.mkdir(parents=True, exist_ok=True)
    pypi = [*pypi, *(node.WHEEL if npm and not node.of_this_machine() else [])]
    made_from = [sys.executable, sys.version, str(root), *pypi, *npm]
    digest = hashlib.sha256("\0".join(made_from).encode()).hexdigest()
    with open(root / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = root / "stamp"
        if not stamp.is_file() or stamp.read_text() != digest:
            stamp.unlink(missing_ok=True)
            make(root, pypi, npm)
            then()
            stamp.write_text(digest)


def make(root: Path, pypi: Sequence[str], npm: Sequence[str]) -> None:
    venv = root / "venv"
    shutil.rmtree(venv, ignore_errors=True)
    if pypi:
        node.run([sys.executable, "-I", "-m", "venv", venv], root)
        node.run([python(root), "-I", "-m", "pip", "install", "--quiet", *pypi], root)
    if npm:
        node.install(root / "npm", node.commands(venv)[1], npm)


def unpack(package: str, place: Path) -> None:
    """Puts the files of a package of Debian into PLACE, not installed, since a service of that name is
    not wanted; apt knows it after `apt-get update` (make test-packages), and where it comes from."""
    kept = place.with_name(f"{place.name}.package")
    for folder in (place, kept):
        shutil.rmtree(folder, ignore_errors=True)
    kept.mkdir(parents=True)
    # As root, apt would download as a user of its own, who may not write here.
    download = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package]
    subprocess.run(download, cwd=kept, check=True)
    [found] = kept.glob(f"{package}_*.deb")
    subprocess.run(["dpkg-deb", "-x", found, place], check=True)
    shutil.rmtree(kept)


def python(root: Path) -> Path:
    """The Python that has the packages."""
    return root / "venv" / "bin" / "python"


def javascript(root: Path) -> list[str]:
    """The command that runs Node.js."""
    return node.commands(root / "venv")[0]
