"""Installs what drives a browser, below target/page."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import node
import packages

ROOT = packages.TARGET / "page"


def ready() -> tuple[list[str], Path]:
    """The command that runs Node.js, and the folder with Playwright; makes both."""
    packages.install(ROOT, npm=node.PLAYWRIGHT)
    return packages.javascript(ROOT), ROOT / "npm"


if __name__ == "__main__":
    ready()
