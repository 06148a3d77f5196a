"""Installs what drives a browser, below target/page; a second call finds it done.

The package is named with its version and nothing else: where it comes from is how npm (without
Node.js: pip) is configured on this machine.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import node

ROOT = Path(__file__).resolve().parent.parent.parent / "target" / "page"


def ready() -> tuple[list[str], Path]:
    """The command that runs Node.js, and the folder with Playwright; makes both."""
    ROOT.mkdir(parents=True, exist_ok=True)
    with open(ROOT / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with_node = node.of_this_machine()
        made_from = [*node.WHEEL, *node.PLAYWRIGHT, str(with_node), sys.version, str(ROOT)]
        digest = hashlib.sha256("\0".join(made_from).encode()).hexdigest()
        stamp, venv = ROOT / "stamp", ROOT / "venv"
        if not stamp.is_file() or stamp.read_text() != digest:
            stamp.unlink(missing_ok=True)
            if not with_node:
                shutil.rmtree(venv, ignore_errors=True)
                node.run([sys.executable, "-I", "-m", "venv", venv], ROOT)
                install = ["-I", "-m", "pip", "install", "--quiet", *node.WHEEL]
                node.run([venv / "bin" / "python", *install], ROOT)
            node.install(ROOT / "npm", node.commands(venv)[1], node.PLAYWRIGHT)
            stamp.write_text(digest)
    return node.commands(ROOT / "venv")[0], ROOT / "npm"


if __name__ == "__main__":
    ready()
