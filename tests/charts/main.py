"""Holds what ships for Kubernetes against Helm, kustomize, Kubernetes' schemas and airside itself.

    python3 tests/charts/main.py              everything that needs no other chart
    python3 tests/charts/main.py --official   the values in the official charts of AIRFLOW_CHART
    python3 tests/charts/main.py --pods       the pods of the values, run with real Airflows
    python3 tests/charts/main.py --write      writes anew what is made from something else
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

# Nothing is left beside the sources.
sys.dont_write_bytecode = True

import setup  # noqa: E402

# Says that this is the second run, under the Python that has the packages.
AGAIN = "AIRSIDE_CHARTS"


def main() -> None:
    if AGAIN not in os.environ:
        python = str(setup.ready())
        os.environ[AGAIN] = "1"
        if sys.argv[1:] == ["--pods"]:
            setup.enter_network([python, *sys.argv])
        os.execv(python, [python, *sys.argv])
    from programs import BINARY

    if not BINARY.is_file():
        sys.exit(f"{BINARY} is not there: cargo build --profile ci")
    passed = failed = 0
    for name, faults in checks(sys.argv[1:]):
        print(f"{name}: {'; '.join(faults) or 'ok'}", flush=True)
        passed, failed = passed + (not faults), failed + bool(faults)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0 or passed == 0)


def checks(arguments: list[str]) -> Iterable[tuple[str, list[str]]]:
    import gateway
    import generated
    import guides
    import sidecar

    if arguments == ["--pods"]:
        import running

        yield from running.checks()
        return
    if arguments == ["--official"]:
        for chart in os.environ["AIRFLOW_CHART"].split(os.pathsep):
            yield from sidecar.official(Path(chart).resolve())
        return
    if arguments == ["--write"]:
        generated.write()
    for part in (gateway, sidecar, generated, guides):
        yield from part.checks()


if __name__ == "__main__":
    main()
