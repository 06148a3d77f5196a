"""Holds what ships for Prometheus, Grafana and collectors against the real ones, on loopback.

The running program exports metrics; each expression of the alerts and the dashboard is parsed, its
names and labels looked for among them, and run by a Prometheus that scrapes the program. Traces go
through a collector that is not ours and are read by OpenTelemetry's own messages.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import setup

# From here on by the Python that has the packages.
PYTHON = setup.ready()
if Path(sys.prefix) != PYTHON.parent.parent:
    os.execv(PYTHON, [str(PYTHON), *sys.argv])

from expressions import alerts_are_told, faults_of, shipped  # noqa: E402
from program import Airside, exported  # noqa: E402
from scrape import results  # noqa: E402
from spans import faults_of_traces  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent


def main() -> None:
    passed = failed = 0
    with tempfile.TemporaryDirectory() as home, Airside(ROOT / "target/ci/airside", Path(home)) as airside:
        checks: list[tuple[str, Callable[[], list[str]]]] = [
            ("alerts by promtool", lambda: promtool("check", "rules", "config/observability/alerts.yaml")),
            ("alerts that fire", lambda: promtool("test", "rules", "tests/observability/alerts.test.yaml")),
            ("alerts have a runbook", lambda: alerts_are_told(ROOT)),
            ("names and labels", lambda: faults_of(shipped(ROOT), exported(airside))),
            ("run by Prometheus", lambda: results(shipped(ROOT), airside, Path(home))),
            ("traces by a collector", lambda: faults_of_traces(airside, Path(home))),
        ]
        for name, check in checks:
            faults = check()
            print(f"{name}: {'; '.join(faults) or 'ok'}", flush=True)
            passed, failed = passed + (not faults), failed + bool(faults)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


def promtool(*arguments: str) -> list[str]:
    command = [setup.PROMETHEUS / "promtool", *arguments]
    ran = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    return [] if ran.returncode == 0 else [ran.stdout + ran.stderr]


if __name__ == "__main__":
    main()
