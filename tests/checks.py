"""Runs every check of the project and ends with a table of what ran and what did not.

Exits non-zero when a check failed, and with AIRSIDE_REQUIRE_ALL=1 also when one did not run that is not
named below as one that may be left out.
A check whose preparation failed does not run; nothing is skipped without a line saying so.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLIPPY = ["cargo", "clippy", "--profile", "ci"]
# One build for the unit, wire and Airflow tests.
TESTS = ["cargo", "test", "--profile", "ci", "--no-fail-fast"]


@dataclass
class Line:
    """One line of the table."""

    check: str
    outcome: str  # ok, FAILED or NOT RUN
    note: str = ""
    seconds: float | None = None


def main() -> None:
    lines = [
        run("format", ["cargo", "fmt", "--check"], needs="rustfmt"),
        run("format of the fuzzer",
            ["cargo", "fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"], needs="rustfmt"),
        run("lints", [*CLIPPY, "--all-targets", "--all-features", "--", "-D", "warnings"],
            needs="clippy"),
        run("lints without dev", [*CLIPPY, "--no-default-features", "--", "-D", "warnings"],
            needs="clippy"),
    ]
    lines += airflow_and_all_others()
    lines += [*differential(), *conformance(), *editor(), *page(), *observability()]
    lines += [guides(), *charts(), *image(), soak(), fuzz()]
    show(lines)
    failed = [line for line in lines if line.outcome == "FAILED"]
    not_run = {line.check for line in lines if line.outcome == "NOT RUN"} - MAY_BE_LEFT_OUT
    everything = os.environ.get("AIRSIDE_REQUIRE_ALL") == "1"
    sys.exit(bool(failed) or (everything and bool(not_run)))


# By name and one by one: what needs something that this project does not install, and is told as NOT
# RUN all the same.
MAY_BE_LEFT_OUT = {"values in the official Airflow chart"}


def airflow_and_all_others() -> list[Line]:
    """The tests, and whether docs/compatibility.md tells what those with Airflow proved."""
    set_up = run("set up Airflow", [sys.executable, "tests/airflow/setup.py"])
    if set_up.outcome != "ok":
        without = [Line(check, "NOT RUN", "Airflow could not be set up") for check in WITH_AIRFLOW]
        return [set_up, *tests([]), *without]
    further = [prepared(needed) for needed in FURTHER]
    features = ["airflow-tests", *(feature for feature, line in further if line.outcome == "ok")]
    table = [sys.executable, "tests/airflow/compatibility.py"]
    quiet([*table, "begin"])
    lines = [set_up, *(line for _, line in further), *tests(features)]
    if not any(line.check.startswith("tests/airflow/") for line in lines):
        lines.append(Line("tests/airflow/main.rs", "NOT RUN", "the run ended before it"))
    return [*lines, run("docs/compatibility.md", [*table, "check"])]


WITH_AIRFLOW = ["tests/airflow/main.rs", "docs/compatibility.md"]


@dataclass
class Further:
    """Tests with Airflow that need programs of the machine as well."""

    feature: str
    programs: list[str]
    setup: list[str]  # what makes the rest


KERBEROS = ["krb5kdc", "kdb5_util", "kadmin.local", "kinit", "krb5-config"]
BROWSER = ["/usr/bin/chromium"]
FURTHER = [
    Further("browser-tests", BROWSER, ["tests/airflow/setup.py", "browser"]),
    Further("kerberos-tests", KERBEROS, ["tests/airflow/setup.py", "2.10.5-kerberos"]),
    Further("proxy-tests", ["apt-get", "dpkg-deb"], ["tests/airflow/proxies.py"]),
]


def prepared(needed: Further) -> tuple[str, Line]:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
    missing = [name for name in needed.programs if not shutil.which(name, path=path)]
    if missing:
        why = f"{missing[0]} is missing: make test-packages installs it"
        return needed.feature, Line(needed.feature, "NOT RUN", why)
    return needed.feature, run(f"set up {needed.feature}", [sys.executable, *needed.setup])


def run(check: str, command: list[str], needs: str | None = None) -> Line:
    """One check that is one command; `needs` is a part of the Rust toolchain it may lack."""
    if needs and quiet(["cargo", needs.replace("rustfmt", "fmt"), "--version"]) != 0:
        return Line(check, "NOT RUN", f"{needs} is not installed")
    announce(command)
    started = time.monotonic()
    code = subprocess.run(command, cwd=ROOT).returncode
    outcome, note = ("ok", "") if code == 0 else ("FAILED", f"ended with {code}")
    return Line(check, outcome, note, time.monotonic() - started)


def quiet(command: list[str]) -> int:
    return subprocess.run(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ).returncode


# What cargo and the test harness say: which binary runs, how it ended, how long that took.
BINARY = re.compile(r"^\s*(?:Running (?:unittests )?(\S+) \(|(Doc-tests) )")
RESULT = re.compile(
    r"^test result: (ok|FAILED)\. (\d+) passed; (\d+) failed; (\d+) ignored; .*"
    r" (\d+) filtered out; finished in ([\d.]+)s"
)


def tests(features: list[str]) -> list[Line]:
    """All test binaries in one run; a line for each, read from what it printed."""
    command = TESTS + ([f"--features={','.join(features)}"] if features else [])
    announce(command)
    started = time.monotonic()
    child = subprocess.Popen(
        command, cwd=ROOT, text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    lines, binary, tested = [], None, 0.0
    for text in child.stdout:
        sys.stdout.write(text)
        sys.stdout.flush()
        if found := BINARY.match(text):
            # A binary that was announced and never told a result has crashed.
            lines += [Line(binary, "FAILED", "ended without a result")] if binary else []
            binary = found[1] or "examples in the documentation"
        elif (found := RESULT.match(text)) and binary:
            word, passed, failed, ignored, _, seconds = found.groups()
            outcome = "ok" if word == "ok" else "FAILED"
            note = f"{passed} passed" + (f", {failed} failed" if failed != "0" else "")
            lines.append(Line(binary, outcome, note, float(seconds)))
            if ignored != "0":
                lines.append(Line(binary, "NOT RUN", f"{ignored} ignored"))
            binary, tested = None, tested + float(seconds)
    code = child.wait()
    lines += [Line(binary, "FAILED", "ended without a result")] if binary else []
    built = any(line.outcome != "NOT RUN" for line in lines)
    if code != 0 and not any(line.outcome == "FAILED" for line in lines):
        lines.append(Line("tests", "FAILED", f"cargo test ended with {code}"))
    if built:
        lines.insert(0, Line("build of the tests", "ok", "", time.monotonic() - started - tested))
    return lines


def differential() -> list[Line]:
    """Verdicts compared with three libraries'; the program is the one that the tests built."""
    lines = [run("set up differential", [sys.executable, "tests/differential/setup.py"])]
    if lines[0].outcome == "ok":
        # The same tokens each time: new ones are for `make differential`.
        command = [sys.executable, "tests/differential/main.py", "--count=3000", "--seed=1"]
        return [*lines, run("differential", command)]
    return [*lines, Line("differential", "NOT RUN", "the libraries could not be installed")]


def conformance() -> list[Line]:
    """Answers read by peers that forgive nothing, libraries and programs."""
    main = [sys.executable, "tests/conformance/main.py"]
    lines = [run("set up conformance", [sys.executable, "tests/conformance/setup.py"])]
    if lines[0].outcome == "ok":
        lines.append(run("conformance", main))
    else:
        lines.append(Line("conformance", "NOT RUN", "the libraries could not be installed"))
    missing = [name for name in ["curl", "nghttp", "h2load"] if shutil.which(name) is None]
    if missing or lines[0].outcome != "ok":
        why = f"{missing[0]} is missing: make test-packages installs it" if missing else ""
        return [*lines, Line("conformance of programs", "NOT RUN", why or lines[1].note)]
    return [*lines, run("conformance of programs", [*main, "--programs"])]


def editor() -> list[Line]:
    """The schema of configurations, as the YAML language server and a validator read it."""
    lines = [run("set up editor", [sys.executable, "tests/editor/setup.py"])]
    if lines[0].outcome == "ok":
        return [*lines, run("editor", [sys.executable, "tests/editor/main.py"])]
    return [*lines, Line("editor", "NOT RUN", "the libraries could not be installed")]


def page() -> list[Line]:
    """The status page, looked at in a browser; the program is the one that the tests built."""
    [browser] = BROWSER
    if not shutil.which(browser):
        why = f"{browser} is missing: make test-packages installs it"
        return [Line("status page in a browser", "NOT RUN", why)]
    lines = [run("set up page", [sys.executable, "tests/page/setup.py"])]
    if lines[0].outcome == "ok":
        return [*lines, run("status page in a browser", [sys.executable, "tests/page/main.py"])]
    return [*lines, Line("status page in a browser", "NOT RUN", "Playwright could not be installed")]


def observability() -> list[Line]:
    """Metrics, alerts and traces, read by a Prometheus and a collector."""
    lines = [run("set up observability", [sys.executable, "tests/observability/setup.py"])]
    if lines[0].outcome == "ok":
        main = [sys.executable, "tests/observability/main.py"]
        return [*lines, run("observability", main)]
    why = "Prometheus and the collector could not be had: apt-get update, as make test-packages does"
    return [*lines, Line("observability", "NOT RUN", why)]


def guides() -> Line:
    """The documents, followed to the letter; the programs are those that the other tests built."""
    missing = [name for name in ["bash", "curl", "openssl"] if shutil.which(name) is None]
    if missing:
        return Line("guides", "NOT RUN", f"{missing[0]} is missing: make test-packages installs it")
    return run("guides", [sys.executable, "tests/guides/main.py"])


def image() -> list[Line]:
    """The image for this machine's processor, and a pod that it is in; `make image-test` has both."""
    missing = [name for name in ["buildah", "rustup"] if shutil.which(name) is None]
    if missing:
        why = f"{missing[0]} is missing: make test-packages installs buildah, Rust's installer rustup"
        return [Line(check, "NOT RUN", why) for check in ("image", "pod")]
    arch = {"aarch64": "arm64"}.get(platform.machine(), "amd64")
    lines = [run("build of the image", [sys.executable, "image/build.py", arch])]
    if lines[0].outcome != "ok":
        return [*lines, *(Line(check, "NOT RUN", "there is no image") for check in ("image", "pod"))]
    return [*lines, run("image", [sys.executable, "tests/image/main.py", arch]), pod()]


def pod() -> Line:
    """Airside as a sidecar, in namespaces that only root may make."""
    programs = ["podman", "crun", "ip", "unshare"]
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
    missing = [name for name in programs if shutil.which(name, path=path) is None]
    if missing:
        return Line("pod", "NOT RUN", f"{missing[0]} is missing: make test-packages installs it")
    if quiet(["unshare", "--mount", "--net", "--pid", "--fork", "true"]) != 0:
        return Line("pod", "NOT RUN", "only root may make namespaces, and not in every container")
    if not (ROOT / "target/airflow/homes/3.3.2.stamp").is_file():
        return Line("pod", "NOT RUN", "Airflow could not be set up")
    return run("pod", [sys.executable, "tests/pod/main.py"])


PODS = "pods of the charts, with Airflow"


def pods(command: list[str]) -> Line:
    """The pods that the values for Airflow's chart make, as processes in a network of their own."""
    missing = [name for name in ["unshare", "ip", "openssl"] if shutil.which(name) is None]
    if missing:
        return Line(PODS, "NOT RUN", f"{missing[0]} is missing: make test-packages installs it")
    if quiet(["unshare", "--net", "true"]) != 0 and quiet(["unshare", "-r", "--net", "true"]) != 0:
        return Line(PODS, "NOT RUN", "this machine allows no network namespace")
    if quiet([sys.executable, "tests/airflow/setup.py"]) != 0:
        return Line(PODS, "NOT RUN", "Airflow could not be set up")
    return run(PODS, command)


def charts() -> list[Line]:
    """The chart, the values for Airflow's and the objects for kustomize, by Helm and kubectl."""
    official = "values in the official Airflow chart"
    main = [sys.executable, "tests/charts/main.py"]
    lines = [run("set up charts", [sys.executable, "tests/charts/setup.py"])]
    if lines[0].outcome != "ok":
        why = "Helm and kubectl could not be installed"
        return [*lines, *(Line(check, "NOT RUN", why) for check in ("charts", PODS, official))]
    lines += [run("charts", main), pods([*main, "--pods"])]
    if not os.environ.get("AIRFLOW_CHART"):
        why = "AIRFLOW_CHART names no chart, a folder or package: helm pull apache-airflow/airflow"
        return [*lines, Line(official, "NOT RUN", why)]
    return [*lines, run(official, [*main, "--official"])]


def soak() -> Line:
    """What is lost or left open shows within seconds; growth takes the ten minutes of `make soak`."""
    return run("soak", ["cargo", "bench", "--profile", "ci", "--bench", "soak", "--", "24"])


def fuzz() -> Line:
    """Some seconds for each target; `make fuzz` takes ten minutes."""
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        return Line("fuzz", "NOT RUN", "libFuzzer needs a C++ compiler: install g++")
    return run("fuzz", [sys.executable, "fuzz/run.py", "--seconds=8"])


def announce(command: list[str]) -> None:
    print("\n$", *command, flush=True)


def show(lines: list[Line]) -> None:
    width = max(len(line.check) for line in lines)
    print()
    for line in lines:
        seconds = "" if line.seconds is None else f"{line.seconds:.0f} s"
        print(f"{line.check:<{width}}  {line.outcome:<7}  {seconds:>6}  {line.note}".rstrip())


if __name__ == "__main__":
    main()
