"""Looks at the image that image/build.py has made: what is in it, what it says of itself, whether it
runs, and whether building it again gives the same.

    tests/image/main.py [--again] [amd64] [arm64]

Programs for another processor are run by qemu-aarch64-static. `--again` compiles the program once
more, from a copy of the source elsewhere, and takes as long as that.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# Nothing is left beside the sources.
sys.dont_write_bytecode = True

import setup  # noqa: E402

sys.path.insert(0, str(setup.packages.TARGET.parent / "image"))
import build  # noqa: E402
from archive import Archive  # noqa: E402
from program import faults_of_program, faults_of_serving  # noqa: E402

# Bytes of an image, as docs/image.md promises them: on a disk, and to be pulled.
MOST, MOST_PULLED = 12_000_000, 6_000_000
FILES = {"LICENSE": (0o444, 0, 0, 0), "airside": (0o555, 0, 0, 0)}
PACKAGE = re.compile(r'^([\w-]+) = "(.*)"$', re.MULTILINE)
LABELS = ["title", "description", "licenses", "version", "source", "revision"]


def main() -> None:
    words = sys.argv[1:]
    again = "--again" in words
    passed = failed = 0
    for name, faults in checks([word for word in words if word != "--again"] or ["amd64"], again):
        print(f"{name}: {'; '.join(faults) or 'ok'}", flush=True)
        passed, failed = passed + (not faults), failed + bool(faults)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


def checks(archs: list[str], again: bool):
    """Each with what is wrong."""
    yield "Dockerfile, by hadolint", linted(setup.ready())
    yield "Dockerfile has the versions of Cargo.toml", versions()
    for arch in archs:
        image = build.Image(arch)
        if not image.docker.is_file():
            sys.exit(f"{image.docker} is not there: python3 image/build.py {arch}")
        docker, oci = Archive.docker(image.docker), Archive.oci(image.oci)
        size = image.program.stat().st_size
        yield f"{arch}: program of {size:,} bytes", faults_of_program(image.program, arch, build.ROOT)
        yield f"{arch}: serves a request", faults_of_serving(image.program, arch)
        yield f"{arch}: image of {docker.size:,} bytes, {oci.packed:,} compressed", [
            *differs("its size, at most", min(docker.size, MOST), docker.size),
            *differs("what is pulled, at most", min(oci.packed, MOST_PULLED), oci.packed),
            *differs("its files", FILES, docker.files),
            *differs("its files in OCI's format", FILES, oci.files),
        ]
        yield f"{arch}: what the image says of itself", said(docker, oci, arch)
        yield f"{arch}: the same image again", same_image(image)
        if again:
            yield f"{arch}: the same program again", same_program(image)


def linted(hadolint: Path) -> list[str]:
    ran = subprocess.run([hadolint, build.DOCKERFILE], text=True, capture_output=True)
    return [] if ran.returncode == 0 else [ran.stdout + ran.stderr]


def versions() -> list[str]:
    package = dict(PACKAGE.findall((build.ROOT / "Cargo.toml").read_text().split("\n[", 2)[0]))
    dockerfile = build.DOCKERFILE.read_text()
    return [
        *differs("ARG VERSION", package["version"], build.wanted("VERSION")),
        *differs("the description", True, f'description="{package["description"]}"' in dockerfile),
        *differs("the Rust", True, f"rust:{package['rust-version']}-slim" in dockerfile),
    ]


def said(docker: Archive, oci: Archive, arch: str) -> list[str]:
    config, labels = docker.config, docker.config["Labels"]
    names = [f"org.opencontainers.image.{name}" for name in LABELS]
    # buildah adds one of its own.
    ours = {name: value for name, value in labels.items() if not name.startswith("io.buildah")}
    check = config.get("Healthcheck", {})
    return [
        *differs("architecture", (arch, arch), (docker.architecture, oci.architecture)),
        *differs("user", "65532:65532", config["User"]),
        *differs("entrypoint", ["/airside"], config["Entrypoint"]),
        *differs("command", ["serve"], config["Cmd"]),
        *differs("ports", {"8080/tcp": {}, "9090/tcp": {}}, config["ExposedPorts"]),
        *differs("signal", "SIGTERM", config["StopSignal"]),
        *differs("admin listener", True, "AIRSIDE_ADMIN_LISTEN=0.0.0.0:9090" in config["Env"]),
        *differs("health check", ["CMD", "/airside", "healthcheck"], check.get("Test")),
        *differs("labels", sorted(names), sorted(ours)),
        *differs("labels in OCI's format", labels, oci.config["Labels"]),
        *differs("revision", build.revision(), labels["org.opencontainers.image.revision"]),
    ]


def same_image(image: build.Image) -> list[str]:
    """Though the file is another, with another date."""
    former = image.digest.read_text().strip()
    draft = image.program.with_name("draft")
    shutil.copyfile(image.program, draft)
    os.replace(draft, image.program)
    image.program.chmod(0o755)
    return differs("digest", former, build.assemble(image))


def same_program(image: build.Image) -> list[str]:
    """Though the source is in another folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=build.ROOT, check=True, capture_output=True).stdout
    with tempfile.TemporaryDirectory(dir=build.BUILT, prefix="elsewhere-") as place:
        for name in filter(None, listed.decode().split("\0")):
            copy = Path(place) / "source" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(build.ROOT / name, copy)
        file = Path(place) / "airside"
        build.compile_program(image, "release", Path(place) / "source", file)
        return differs("the program", True, file.read_bytes() == image.program.read_bytes())


def differs(what: str, expected: object, found: object) -> list[str]:
    return [] if expected == found else [f"{what}: expected {expected!r}, found {found!r}"]


if __name__ == "__main__":
    main()
