"""Reads the archives that buildah writes, Docker's and OCI's, without a program of either."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Archive:
    """One image."""

    config: dict  # what a container of it starts with
    architecture: str
    files: dict[str, tuple]  # by path: mode, user, group, date
    size: int  # of all layers, unpacked
    packed: int  # as they are in the archive

    @classmethod
    def docker(cls, file: Path) -> Archive:
        with tarfile.open(file) as archive:
            [manifest] = json.load(archive.extractfile("manifest.json"))
            config = json.load(archive.extractfile(manifest["Config"]))
            return cls.of(config, [archive.extractfile(name).read() for name in manifest["Layers"]])

    @classmethod
    def oci(cls, file: Path) -> Archive:
        with tarfile.open(file) as archive:
            def blob(descriptor: dict) -> bytes:
                return archive.extractfile(f"blobs/{descriptor['digest'].replace(':', '/')}").read()
            [described] = json.load(archive.extractfile("index.json"))["manifests"]
            manifest = json.loads(blob(described))
            config = json.loads(blob(manifest["config"]))
            return cls.of(config, [blob(layer) for layer in manifest["layers"]])

    @classmethod
    def of(cls, config: dict, layers: list[bytes]) -> Archive:
        files, size = {}, 0
        for layer in layers:
            plain = gzip.decompress(layer) if layer[:2] == b"\x1f\x8b" else layer
            size += len(plain)
            with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
                for member in archive:
                    found = (member.mode & 0o7777, member.uid, member.gid, int(member.mtime))
                    files[member.name] = found if member.isreg() else (member.type, *found)
        packed = sum(map(len, layers))
        return cls(config["config"], config["architecture"], files, size, packed)
