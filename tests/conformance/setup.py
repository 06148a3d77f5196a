"""Installs the strict peers that airside's answers are read by, below target/conformance.

The packages are named with their versions and nothing else: where they come from is how pip is
configured on this machine. A second call finds everything done.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

# HTTP/2 and HTTP/1.1 that forgive nothing, and what reads heads as caches and browsers do.
PYTHON = ["h2==4.4.1", "h11==0.16.0", "httplint==2026.10.4"]

ROOT = Path(__file__).resolve().parent.parent.parent / "target" / "conformance"


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
            stamp.write_text(digest)
    return python


if __name__ == "__main__":
    ready()
