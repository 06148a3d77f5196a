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
from pathlib import Path

# Nothing is left beside the sources.
sys.dont_write_bytecode = True

import setup  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
BINARY = ROOT / "target/ci/airside"
# Says that this is the second run, under the Python that has the packages.
AGAIN = "AIRSIDE_OBSERVABILITY"


def main() -> None:
    if not BINARY.is_file():
        sys.exit(f"{BINARY} is not there: cargo build --profile ci")
    if AGAIN not in os.environ:
        python = str(setup.ready())
        os.execve(python, [python, *sys.argv], os.environ | {AGAIN: "1"})
    from program import Airside

    passed = failed = 0
    with tempfile.TemporaryDirectory(dir=setup.ROOT) as home, Airside(BINARY, Path(home)) as airside:
        for name, faults in checks(airside, Path(home)):
            print(f"{name}: {'; '.join(faults) or 'ok'}", flush=True)
            passed, failed = passed + (not faults), failed + bool(faults)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


def checks(airside, home: Path):
    """Each with what is wrong."""
    from expressions import alerts_are_told, faults_of, shipped
    from program import exported
    from scrape import results
    from spans import faults_of_traces

    yield "alerts, by promtool", promtool("check", "rules", "config/observability/alerts.yaml")
    yield "alerts that fire", promtool("test", "rules", "tests/observability/alerts.test.yaml")
    yield "alerts have a runbook", alerts_are_told(ROOT)
    yield "names and labels", faults_of(shipped(ROOT), exported(airside))
    yield "expressions, by Prometheus", results(shipped(ROOT), airside, home)
    yield "traces, by a collector", faults_of_traces(airside, home)


def promtool(*arguments: str) -> list[str]:
    command = [setup.PROMETHEUS / "promtool", *arguments]
    ran = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    return [] if ran.returncode == 0 else [ran.stdout + ran.stderr]


if __name__ == "__main__":
    main()
