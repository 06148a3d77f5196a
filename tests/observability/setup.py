"""Installs what reads airside's metrics and traces in the tests, below target/observability: a
Prometheus, a collector, and parsers of both languages.

Debian's Prometheus is unpacked, not installed, since a service of that name is not wanted; where it
comes from is how apt is configured on this machine.
"""

from __future__ import annotations

import shutil
import subprocess
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
    """Debian's package of Prometheus; apt knows it after `apt-get update` (make test-packages)."""
    shutil.rmtree(ROOT / "prometheus", ignore_errors=True)
    kept = ROOT / "package"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    # As root, apt would download as a user of its own, who may not write here.
    download = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "prometheus"]
    subprocess.run(download, cwd=kept, check=True)
    [package] = kept.glob("prometheus_*.deb")
    subprocess.run(["dpkg-deb", "-x", package, ROOT / "prometheus"], check=True)
    shutil.rmtree(kept)


if __name__ == "__main__":
    ready()
