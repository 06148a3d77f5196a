"""Runs a document's `sh` blocks as a reader does: one after the other in one shell, and holds what
they print against the `text` blocks behind them."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from blocks import Block, blocks
from documents import BINARY, ROOT, Run

# A first start of Airflow makes a database.
PATIENCE = 600.0
MARK = "end of block"


def faults_of_blocks(document: Path, run: Run) -> tuple[int, list[str]]:
    """How many blocks ran, and what is wrong."""
    missing = [str(path) for path in run.needs if not path.exists()]
    if missing:
        return 0, [f"NOT RUN: {missing[0]} is not there: python3 tests/airflow/setup.py"]
    unused = set(run.instead)
    ran, faults = 0, []
    with tempfile.TemporaryDirectory() as home, Shell(Path(home), run) as shell:
        for block, expected in with_output(blocks(document)):
            text = block.text
            for command, instead in run.instead.items():
                if re.search(rf"^{re.escape(command)}$", text, re.MULTILINE):
                    unused.discard(command)
                    text = re.sub(
                        rf"^{re.escape(command)}$", lambda _: instead, text, flags=re.MULTILINE
                    )
            where = f"{document.relative_to(ROOT)}:{block.line}"
            code, printed = shell.run(text)
            ran += 1
            fault = f"it ended with {code}" if code else unlike(expected, printed)
            if fault:
                faults.append(f"{where}: {fault}; printed:\n{printed}{shell.logs()}")
                break
    faults += [f"{document.relative_to(ROOT)}: nothing runs `{command}`" for command in unused
               if not faults]
    return ran, faults


def with_output(found: list[Block]) -> list[tuple[Block, str]]:
    """Each `sh` block with what a `text` block right behind it promises."""
    pairs = []
    for block, after in zip(found, [*found[1:], None]):
        if block.info == "sh":
            pairs.append((block, after.text if after and after.info == "text" else ""))
    return pairs


def unlike(expected: str, printed: str) -> str:
    """Which promised line is not there, in this order; `…` is for anything."""
    rest = printed.split("\n")
    for line in filter(None, expected.split("\n")):
        pattern = re.compile(".*".join(map(re.escape, line.split("…"))))
        at = next((at for at, one in enumerate(rest) if pattern.fullmatch(one)), None)
        if at is None:
            return f"`{line}` is not printed"
        rest = rest[at + 1:]
    return ""


class Shell:
    """A fresh shell in an empty folder, in a network of its own where the machine allows it: the
    ports in documents are free there, and nobody outside is asked for anything."""

    def __init__(self, home: Path, run: Run) -> None:
        self.home = home
        for name, content in run.files.items():
            (home / name).write_text(content)
        path = os.environ.get("PATH", os.defpath)
        if run.installed:
            path = f"{BINARY.parent}{os.pathsep}{path}"
        self.environment = {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "TMPDIR": str(home)}
        self.environment |= run.variables

    def __enter__(self) -> Shell:
        bash = ["bash", "--noprofile", "--norc"]
        self.child = subprocess.Popen(
            [*of_its_own(), *bash], cwd=self.home, env=self.environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.child.stdin.close()
        # What a block left running is in the session of this shell.
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.child.pid, number)
            except ProcessLookupError:
                break
            deadline = time.monotonic() + 20
            while alive(self.child) and time.monotonic() < deadline:
                time.sleep(0.1)
        self.child.wait()

    def run(self, text: str) -> tuple[int, str]:
        """Runs the lines; how the first that failed ended, or 0, and what was printed."""
        script = self.home / ".block"
        # A line that fails ends the block, as a reader would stop there.
        script.write_text(text)
        timer = subprocess.Popen(["sleep", str(PATIENCE)])
        lines = [
            "set -e", f"trap 'echo \"{MARK} $?\"' EXIT", ". ./.block", "set +e", "trap - EXIT",
            f'echo "{MARK} 0"', "",
        ]
        self.child.stdin.write("\n".join(lines).encode())
        self.child.stdin.flush()
        printed, code = self.read(timer)
        timer.kill()
        timer.wait()
        return code, printed

    def read(self, timer: subprocess.Popen) -> tuple[str, int]:
        lines, rest = [], b""
        while timer.poll() is None:
            # Bytes as they come: a block may print half a line and go on.
            if not select.select([self.child.stdout], [], [], 1)[0]:
                continue
            part = os.read(self.child.stdout.fileno(), 65536)
            *whole, rest = (rest + part).split(b"\n")
            for line in whole:
                before, mark, code = line.decode(errors="replace").partition(f"{MARK} ")
                if mark and code.isdigit():
                    return "\n".join([*lines, before, ""]), int(code)
                lines.append(before + mark + code)
            if not part:
                return "\n".join([*lines, rest.decode(errors="replace")]), self.child.wait() or 1
        return "\n".join([*lines, f"no end after {PATIENCE:.0f} s"]), 1

    def logs(self) -> str:
        """The ends of the logs that blocks have written."""
        tails = (f"\n{log.name}:\n{log.read_text()[-3000:]}" for log in self.home.glob("*.log"))
        return "".join(tails)


def alive(child: subprocess.Popen) -> bool:
    """Whether anybody of its group is."""
    child.poll()
    try:
        os.killpg(child.pid, 0)
    except ProcessLookupError:
        return False
    return True


def of_its_own() -> list[str]:
    """What puts a command into a network of a loopback alone; nothing where that is refused."""
    up = 'ip link set lo up && exec "$@"'
    for unshare in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
        command = [*unshare, "sh", "-c", up, "sh"]
        try:
            tried = subprocess.run([*command, "true"], capture_output=True)
        except OSError:
            continue
        if tried.returncode == 0:
            return command
    print("no network of its own: ports 8080 to 8082 and 9090 of this machine are used", flush=True)
    return []
