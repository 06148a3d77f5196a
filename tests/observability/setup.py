"""Installs what reads airside's metrics and traces in the tests, below target/observability: a
Prometheus, a collector, and parsers of both languages.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import packages

# PromQL's grammar, OTLP's messages as OpenTelemetry makes them for Python, a collector (a program in
# its package), YAML.
PYPI = ["promql-parser==0.12.0", "opentelemetry-proto==1.45.2", "rotel==0.0.1a15", packages.YAML]

ROOT = packages.TARGET / "observability"
PROMETHEUS = ROOT / "prometheus" / "usr" / "bin"


def ready() -> Path:
    """The Python that has them; makes it."""
    packages.install(ROOT, PYPI, then=unpack)
    return packages.python(ROOT)


def unpack() -> None:
    packages.unpack("prometheus", ROOT / "prometheus")


if __name__ == "__main__":
    ready()
