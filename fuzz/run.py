"""Builds the fuzzer and runs its targets, one after the other, until one finds something.

Usage: run.py [--seconds=600] [TARGET ...]

Ends with a table of executions; with 1 when something was found or could not be built. A finding is
kept in fuzz/findings, where `cargo test --test fuzz` replays it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

FUZZ = Path(__file__).resolve().parent
ROOT = FUZZ.parent
BUILT = ROOT / "target" / "fuzz"
TARGETS = ["authorization", "token", "jwks", "config", "path", "headers"]
# Further inputs to start from: what ships is a good configuration.
ALSO = {"config": [ROOT / "config"]}
# An input that takes 10 s, or 1 GiB, is a finding too.
LIMITS = ["-timeout=10", "-rss_limit_mb=1024"]
# Lines of a log that say what was found.
MOST_TOLD = 40


@dataclass
class Line:
    """One line of the table."""

    target: str
    executions: int
    seconds: float
    covered: int
    inputs: int
    outcome: str = "ok"  # otherwise FOUND, or how it ended


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=int, default=600)
    arguments.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    arguments = arguments.parse_args()
    if unknown := set(arguments.targets) - set(TARGETS):
        sys.exit(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    binaries = build()
    lines = []
    for target in arguments.targets or TARGETS:
        lines.append(run(binaries / target, arguments.seconds))
        if lines[-1].outcome != "ok":
            break
    show(lines)
    sys.exit(any(line.outcome != "ok" for line in lines))


def build() -> Path:
    """The folder of the binaries."""
    started = time.monotonic()
    compile()
    # What is fuzzed is what ships: the same version of every package.
    ours, here = (packages(folder / "Cargo.lock") for folder in (ROOT, FUZZ))
    names = {name for name, _ in ours}
    if any(name in names for name, _ in here - ours):
        shutil.copy(ROOT / "Cargo.lock", FUZZ / "Cargo.lock")
        print("fuzz/Cargo.lock follows Cargo.lock again; commit it", flush=True)
        compile()
    print(f"built in {time.monotonic() - started:.0f} s", flush=True)
    version = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    return BUILT / re.search(r"^host: (\S+)", version, re.M)[1] / "release"


def compile() -> None:
    """With the flags, target and folder of .cargo/config.toml, whatever the environment says."""
    ours = {name: value for name, value in os.environ.items() if not is_about_builds(name)}
    if subprocess.run(["cargo", "build", "--release"], cwd=FUZZ, env=ours).returncode != 0:
        sys.exit("the fuzzer could not be built")


def is_about_builds(variable: str) -> bool:
    return variable.startswith(("CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_")) or (
        variable in {"RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"}
    )


def packages(lock: Path) -> set[tuple[str, str]]:
    return set(re.findall(r'^name = "(.+)"\nversion = "(.+)"$', lock.read_text(), re.M))


def run(binary: Path, seconds: int) -> Line:
    target = binary.name
    # What has been discovered stays there, for the next run to go on from.
    discovered = BUILT / "corpus" / target
    findings = FUZZ / "findings" / target
    for folder in (discovered, findings):
        folder.mkdir(parents=True, exist_ok=True)
    folders = [discovered, FUZZ / "corpus" / target, *ALSO.get(target, [])]
    command = [
        binary, *folders, *LIMITS,
        f"-dict={FUZZ / 'dictionaries' / target}.dict", f"-artifact_prefix={findings}/",
        f"-max_total_time={seconds}", "-print_final_stats=1",
    ]
    log = BUILT / f"{target}.log"
    print(f"{target}: {seconds} s, log in {log.relative_to(ROOT)}", flush=True)
    before, started = set(findings.iterdir()), time.monotonic()
    with log.open("wb") as output:
        code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode
    line = read(target, log.read_text(errors="replace"), time.monotonic() - started)
    found = set(findings.iterdir()) - before
    if code != 0:
        # Without an input to blame something else may have ended it: that is no finding, but no
        # success either.
        line.outcome = "FOUND" if found else f"ended with {code}"
        tell(log, [[binary, path] for path in found])
    if not any(findings.iterdir()):
        findings.rmdir()
    return line


def read(target: str, log: str, seconds: float) -> Line:
    """The numbers that libFuzzer gave last."""
    executions = re.findall(r"^#(\d+)\s|number_of_executed_units: (\d+)", log, re.M)
    states = re.findall(r"cov: (\d+) .*corp: (\d+)/", log)
    covered, inputs = map(int, states[-1]) if states else (0, 0)
    count = max((int(a or b) for a, b in executions), default=0)
    return Line(target, count, seconds, covered, inputs)


def tell(log: Path, again: list[list[Path]]) -> None:
    """What broke comes first, and then by which way."""
    said = log.read_text(errors="replace").splitlines()
    broke = [at for at, text in enumerate(said) if "panicked at" in text or "ERROR:" in text]
    begin = broke[0] if broke else -MOST_TOLD
    print("\n".join(said[begin:][:MOST_TOLD]))
    for command in again:
        print("\nagain with\n   ", *command)


def show(lines: list[Line]) -> None:
    print(f"\n{'target':<14}{'executions':>12}{'a second':>10}{'edges':>8}{'inputs':>8}{'s':>6}")
    for line in lines:
        rate = line.executions / max(line.seconds, 1)
        print(
            f"{line.target:<14}{line.executions:>12,}{rate:>10,.0f}{line.covered:>8,}"
            f"{line.inputs:>8,}{line.seconds:>6.0f}  {line.outcome}"
        )


if __name__ == "__main__":
    main()
