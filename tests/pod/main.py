"""A pod of the official Airflow chart with airside as its sidecar, without a cluster: the image in a
container as a cluster runs it, real Airflow beside it, and what the kubelet and a Service do to both.

Everything is in namespaces of its own and ends with this program. As root, with podman, crun, iproute2
and util-linux (`make test-packages`), the image (image/build.py) and Airflow (tests/airflow/setup.py).
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback
from pathlib import Path

# Nothing is left beside the sources.
sys.dont_write_bytecode = True

ROOT = Path(__file__).resolve().parent.parent.parent
# Airflow's own Python has what signs tokens and certificates.
PYTHON = ROOT / "target/airflow/servers/3.3.2/bin/python"
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "amd64")
IMAGE = ROOT / f"target/image/airside-{ARCH}.docker.tar"
PLACE = ROOT / "target/pod"
# Says that this is the second run, inside of the namespaces.
AGAIN = "AIRSIDE_POD"
ALONE = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]


def main() -> None:
    if AGAIN not in os.environ:
        is_there(PYTHON, "python3 tests/airflow/setup.py")
        is_there(IMAGE, f"python3 image/build.py {ARCH}")
        command = ["unshare", *ALONE, str(PYTHON), *sys.argv]
        os.execvpe("unshare", command, os.environ | {AGAIN: "1"})
    from node import Node
    from promises import PROMISES

    wanted = sys.argv[1:]
    passed = failed = 0
    PLACE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PLACE) as home, Node(IMAGE, Path(home)) as node:
        for promise in PROMISES:
            if wanted and promise.__name__ not in wanted:
                continue
            name = promise.__name__.replace("_", " ")
            try:
                told = promise(node) or ""
            except Exception:
                failed += 1
                print(f"{name}: FAILED\n{traceback.format_exc()}", flush=True)
            else:
                passed += 1
                print(f"{name}: ok {told}".rstrip(), flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


def is_there(file: Path, command: str) -> None:
    if not file.exists():
        sys.exit(f"{file} is not there: {command}")


if __name__ == "__main__":
    main()
