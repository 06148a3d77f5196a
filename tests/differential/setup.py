"""Installs the libraries that airside is compared with, below target/differential."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import packages

PYPI = ["PyJWT==2.15.1", "joserfc==1.8.0", "cryptography==50.0.2"]
NPM = ["jose@6.2.17"]

ROOT = packages.TARGET / "differential"


def ready() -> tuple[Path, list[str]]:
    """The Python that has the Python libraries, and the command that runs Node.js; makes both."""
    packages.install(ROOT, PYPI, NPM)
    return packages.python(ROOT), packages.javascript(ROOT)


if __name__ == "__main__":
    ready()
