"""Looks at the status page of `airside dev` in a real browser: what it shows, in both colour schemes
and on a phone, and that it asks nobody else for anything.

    python3 tests/page/main.py [--binary target/ci/airside]

Pictures are left in target/page/pictures.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

# Nothing is left beside the sources.
sys.dont_write_bytecode = True

import setup  # noqa: E402

HERE = Path(__file__).resolve().parent
# Debian's, which `make test-packages` installs.
CHROMIUM = "/usr/bin/chromium"
PATIENCE = 30.0
ATTACK = '"><script>document.title="attacked"</script><img src=x onerror=alert(1)>'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=HERE.parent.parent / "target/ci/airside")
    binary = parser.parse_args().binary.resolve()
    if not binary.is_file():
        sys.exit(f"{binary} is not there: cargo build --profile ci")
    node, playwright = setup.ready()
    pictures = setup.ROOT / "pictures"
    pictures.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=setup.ROOT) as home, Dev(binary, Path(home)) as dev:
        dev.meet_all_sorts()
        script = [*node, HERE / "page.mjs", playwright, CHROMIUM, dev.status, dev.proxy, pictures]
        done = subprocess.run([str(word) for word in script], capture_output=True, text=True)
    sys.stderr.write(done.stderr)
    faults = json.loads(done.stdout.splitlines()[-1]) if done.stdout else ["the browser said nothing"]
    if dev.status not in dev.banner:
        faults.append(f"dev does not say where the page is: {dev.banner}")
    for fault in faults:
        print(f"FAULT: {fault}")
    print(f"{len(faults)} faults; pictures are in {pictures}")
    sys.exit(bool(faults) or done.returncode)


class Dev:
    """A running `airside dev`."""

    def __init__(self, binary: Path, home: Path) -> None:
        self.binary, self.state, self.log = binary, home / "state.json", home / "log"

    def __enter__(self) -> Dev:
        anywhere = [f"--{name}-listen=127.0.0.1:0" for name in ("issuer", "child")]
        command = [self.binary, "dev", "--listen=127.0.0.1:0", *anywhere, "--state", self.state]
        with open(self.log, "w") as log:
            self.child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self.wait_for("# nobody")
        self.banner = self.log.read_text()
        self.proxy, self.status = self.address("proxy"), self.address("admin")
        return self

    def __exit__(self, *_: object) -> None:
        self.child.terminate()
        self.child.wait()

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in self.log.read_text():
            if self.child.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"airside dev did not start:\n{self.log.read_text()}")
            time.sleep(0.05)

    def address(self, listener: str) -> str:
        found = re.search(f"listener={listener} address=(\\S+)", self.banner)
        return f"http://{found[1]}"

    def token(self, *options: str) -> str:
        command = [self.binary, "token", "--state", self.state, *options]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def ask(self, path: str, token: str | None = None) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(self.proxy + path, headers=headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def meet_all_sorts(self) -> None:
        """Answers and refusals of several kinds, hostile ones among them."""
        admin = self.token("--role", "Admin", "--user", "alice")
        for path, token, status in [
            ("/api/v2/dags", admin, 200),
            ("/api/v2/version", None, 200),
            ("/api/v2/dags", None, 401),
            ("/api/v2/dags", self.token("--user", "mallory"), 403),
            ("/api/v2/dags", bent(admin), 401),
            ("/api/v2/dags", self.token("--set", f"aud={json.dumps(ATTACK)}"), 401),
            (f"/api/v2/dags/{admin}/dagRuns", None, 401),
            ("/api/v2/dags/" + "a_long_name_of_a_dag_without_any_space_in_it_" * 9, None, 401),
        ]:
            found = self.ask(path, token)
            if found != status:
                sys.exit(f"{path} answered {found} instead of {status}")


def bent(token: str) -> str:
    """The same with another signature."""
    return token[:-9] + ("A" if token[-9] != "A" else "B") + token[-8:]


if __name__ == "__main__":
    main()
