"""ConfigMaps and Secrets as the kubelet puts them into a pod: files are links by way of `..data`, and
a change is one rename of that link."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


class Volume:
    """A folder that a container mounts; `mode` is the `defaultMode` of its files."""

    def __init__(self, place: Path, files: dict[str, str], mode: int = 0o644) -> None:
        self.place, self.mode, self.turn = place, mode, 0
        place.mkdir(mode=0o755)
        self.write(files)
        for name in files:
            (place / name).symlink_to(f"..data/{name}")

    def write(self, files: dict[str, str]) -> None:
        """Puts these files in the place of those that are there, all at once."""
        former, self.turn = f"..{self.turn}", self.turn + 1
        now = self.place / f"..{self.turn}"
        now.mkdir(mode=0o755)
        for name, content in files.items():
            (now / name).write_text(content)
            (now / name).chmod(self.mode)
        draft = self.place / "..data_tmp"
        draft.symlink_to(now.name)
        os.replace(draft, self.place / "..data")
        shutil.rmtree(self.place / former, ignore_errors=True)
