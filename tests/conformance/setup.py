"""Installs the strict peers that airside's answers are read by, below target/conformance."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import packages

# HTTP/2 and HTTP/1.1 that forgive nothing, and what reads heads as caches and browsers do.
PYPI = ["h2==4.4.1", "h11==0.16.0", "httplint==2026.10.4"]

ROOT = packages.TARGET / "conformance"


def ready() -> Path:
    """The Python that has them; makes it."""
    packages.install(ROOT, PYPI)
    return packages.python(ROOT)


if __name__ == "__main__":
    ready()
