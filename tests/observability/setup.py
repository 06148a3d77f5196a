"""Installs what reads airside's metrics and traces in the tests, below target/observability: a
Prometheus, a collector, and parsers of both languages.

The packages are named and nothing else: where they come from is how pip and apt are configured on this
machine. Debian's Prometheus is unpacked, not installed, since a service of that name is not wanted.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

# PromQL's grammar, OTLP's messages as OpenTelemetry makes them for Python, a collector (a program in
# its package), YAML.
PYTHON = ["promql-parser==0.12.0", "opentelemetry-proto==1.45.2", "rotel==0.0.1a15", "PyYAML==6.0.3"]

ROOT = Path(__file__).resolve().parent.parent.parent / "target" / "observability"
PROMETHEUS = ROOT / "prometheus" / "usr" / "bin"


def ready() -> Path:
    """The Python that has them; makes it."""
    ROOT.mkdir(parents=True, exist_ok=True)
    with open(ROOT / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made_from = "\0".join([sys.executable, sys.version, *PYTHON, str(ROOT)])
        digest = hashlib.sha256(made_from.encode()).hexdigest()
        stamp, python = ROOT / "stamp", ROOT / "venv" / "bin" / "python"
        if not stamp.is_file() or stamp.read_text() != digest:
            stamp.unlink(missing_ok=True)
            shutil.rmtree(ROOT / "venv", ignore_errors=True)
            subprocess.run([sys.executable, "-I", "-m", "venv", ROOT / "venv"], check=True)
            install = [python, "-I", "-m", "pip", "install", "--quiet", *PYTHON]
            subprocess.run(install, check=True)
            unpack()
            stamp.write_text(digest)
    return python


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
