"""Installs what reads the schema of configurations as editors do, below target/editor."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import packages

# Validates by the letter of JSON Schema.
PYPI = ["jsonschema==4.26.0", packages.YAML]
# What completes and checks YAML in editors.
NPM = ["yaml-language-server@2.0.0"]

ROOT = packages.TARGET / "editor"


def ready() -> tuple[Path, list[str]]:
    """The Python that has the libraries, and the command that runs the language server."""
    packages.install(ROOT, PYPI, NPM)
    server = ROOT / "npm/node_modules/yaml-language-server/bin/yaml-language-server"
    return packages.python(ROOT), [*packages.javascript(ROOT), str(server), "--stdio"]


if __name__ == "__main__":
    ready()
