"""Builds the image for these processors into target/image, with nothing but buildah:

    image/build.py [--profile=PROFILE] [--label NAME=VALUE]... amd64|arm64...

For each processor: the program in target/image/ARCH/airside, and two archives of the image, one in
OCI's format for registries and one in Docker's, which has the health check. zig comes from PyPI as pip
is configured on this machine. The same source gives the same digests.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# Nothing is left beside the sources.
sys.dont_write_bytecode = True

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tests"))
import packages  # noqa: E402

DOCKERFILE = ROOT / "Dockerfile"
BUILT = packages.TARGET / "image"
RUST = {"amd64": "x86_64-unknown-linux-musl", "arm64": "aarch64-unknown-linux-musl"}


@dataclass(frozen=True)
class Image:
    """What is made for one kind of processor."""

    arch: str

    @property
    def program(self) -> Path:
        return BUILT / self.arch / "airside"

    @property
    def oci(self) -> Path:
        return BUILT / f"airside-{self.arch}.oci.tar"

    @property
    def docker(self) -> Path:
        return BUILT / f"airside-{self.arch}.docker.tar"

    @property
    def digest(self) -> Path:
        """The digest of the manifest in OCI's format."""
        return BUILT / f"airside-{self.arch}.digest"


def main() -> None:
    arguments = argparse.ArgumentParser(description="Builds the image into target/image.")
    arguments.add_argument("--profile", default="release", help="cargo's; the image has `release`")
    arguments.add_argument("--label", action="append", default=[], metavar="NAME=VALUE")
    arguments.add_argument("arch", nargs="+", choices=RUST)
    given = arguments.parse_args()
    for arch in given.arch:
        image = Image(arch)
        compile_program(image, given.profile)
        print(f"{arch}: {assemble(image, given.label)}", flush=True)


def compile_program(image: Image, profile: str, source: Path = ROOT, file: Path | None = None) -> None:
    """Compiles `source` by its own script into `file`, the image's program where none is named."""
    packages.install(BUILT / "zig", [f"ziglang=={wanted('ZIG')}"])
    [zig] = (BUILT / "zig" / "venv").glob("lib/*/site-packages/ziglang/zig")
    if shutil.which("rustup"):
        run(["rustup", "target", "add", RUST[image.arch]], source)
    environment = os.environ | {"ZIG": str(zig), "PROFILE": profile}
    # The tests' own build has a place of its own; this one must not depend on who calls it.
    environment.pop("CARGO_TARGET_DIR", None)
    script = source / "image" / "binary.sh"
    subprocess.run([script, image.arch, file or image.program], check=True, env=environment)


def assemble(image: Image, labels: list[str] = ()) -> str:
    """Makes the archives of the program that is there; the digest of the one in OCI's format."""
    tag = f"airside:{wanted('VERSION')}"
    build = [
        "bud", "--quiet", "--isolation=chroot", "--format=docker", f"--platform=linux/{image.arch}",
        # Every file and the image itself are of 1970, so that two builds are the same.
        "--timestamp=0", "--no-cache", f"--build-context=build={image.program.parent}",
        f"--build-arg=REVISION={revision()}",
        *(f"--label={label}" for label in labels), f"--tag={tag}", f"--file={DOCKERFILE}", str(ROOT),
    ]
    buildah(*build)
    for file, kind in [(image.oci, "oci-archive"), (image.docker, "docker-archive")]:
        file.unlink(missing_ok=True)
        buildah("push", "--quiet", f"--digestfile={image.digest}.{kind}", tag, f"{kind}:{file}:{tag}")
    os.replace(f"{image.digest}.oci-archive", image.digest)
    os.unlink(f"{image.digest}.docker-archive")
    return image.digest.read_text().strip()


def wanted(argument: str) -> str:
    """The default of one of the Dockerfile's arguments."""
    [value] = re.findall(rf"^ARG {argument}=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    return value


def revision() -> str:
    """The commit that is built; nothing where there is none or something has changed since."""
    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "HEAD") or "" if changed == "" else ""


def git(*words: str) -> str | None:
    ran = subprocess.run(["git", *words], cwd=ROOT, text=True, capture_output=True)
    return ran.stdout.strip() if ran.returncode == 0 else None


def buildah(*words: str) -> None:
    """With a store of its own: no user's images are touched, and vfs works wherever files do."""
    store = [f"--root={BUILT}/store", f"--runroot={BUILT}/run", "--storage-driver=vfs"]
    run(["buildah", *store, *words], ROOT)


def run(command: list, folder: Path) -> None:
    ran = subprocess.run(list(map(str, command)), cwd=folder, text=True, capture_output=True)
    if ran.returncode != 0:
        print(ran.stdout, ran.stderr, sep="\n", file=sys.stderr)
        sys.exit(f"{' '.join(map(str, command))} ended with {ran.returncode}")


if __name__ == "__main__":
    main()
