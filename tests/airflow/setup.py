"""Builds what the Airflow tests stand on, below target/airflow; a second call finds it done.

    setup.py            what `make test` needs
    setup.py all        every release that is tested
    setup.py NAME...    these servers of the table below alone
    setup.py browser    what drives a browser

Each step is stamped with what it was made from, so that a change redoes only what it touches: the
installer, the clients, the instrumentation, and for each server Airflow itself and a home with a migrated database in
which one DAG is registered. Needs nothing but Python (3.10 to 3.12, with venv) and a package
index as pip or uv are configured on this machine; no index is named here.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import node

INSTALLER = ["uv==0.13.9"]
CLIENTS = [
    "--exclude-newer=2026-09-22T00:00:00Z",
    "apache-airflow-client==3.3.2", "apache-airflow-ctl==0.1.5",
    "azure-identity==1.25.3", "msal==1.39.0",
]

# OpenTelemetry's instrumentation for the API that 3.3.2 comes with, put beside it: an Airflow
# continues traces once it is told to.
TRACING = [
    "--no-deps",
    *(f"opentelemetry-{name}==0.65b0" for name in (
        "distro", "instrumentation", "instrumentation-asgi", "instrumentation-fastapi", "util-http",
    )),
]

FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"


@dataclass(frozen=True)
class Server:
    """A release of Airflow with the dependencies of its day: the same set on every machine."""

    packages: list[str]
    newest: str  # the day after it came out
    usual: bool = False  # whether `make test` needs it
    auth_manager: str | None = None  # where it is not the release's own default
    pythons: tuple = ((3, 10), (3, 13))  # what the release says of itself
    of_the_machine: bool = False  # whether it takes packages of `make test-packages`, so is not of `all`

    def settings(self) -> dict[str, str]:
        chosen = {"AIRFLOW__CORE__AUTH_MANAGER": self.auth_manager} if self.auth_manager else {}
        return settings() | chosen

    def arguments(self) -> list[str]:
        return [f"--exclude-newer={self.newest}T00:00:00Z", *self.packages]


# By the name that the tests ask for.
SERVERS = {
    "3.0.6": Server(["apache-airflow==3.0.6"], "2025-08-30"),
    "3.1.8": Server(["apache-airflow==3.1.8"], "2026-03-12"),
    "3.2.2": Server(["apache-airflow==3.2.2"], "2026-05-30"),
    "3.3.2": Server(["apache-airflow==3.3.2"], "2026-09-18", usual=True, pythons=((3, 10), (3, 14))),
    "3.3.2-fab": Server(
        ["apache-airflow==3.3.2", "apache-airflow-providers-fab==3.10.2"], "2026-10-25",
        usual=True, auth_manager=FAB, pythons=((3, 11), (3, 13)),
    ),
    "3.3.2-edge": Server(
        ["apache-airflow==3.3.2", "apache-airflow-providers-edge3==4.3.2"], "2026-09-18",
    ),
    "3.2.2-fab": Server(
        ["apache-airflow==3.2.2", "apache-airflow-providers-fab==3.6.4"], "2026-05-30",
        auth_manager=FAB,
    ),
    "2.10.5": Server(
        ["apache-airflow==2.10.5", "apache-airflow-providers-fab==1.5.2"], "2025-02-11", usual=True,
        pythons=((3, 8), (3, 12)),
    ),
    "2.10.5-kerberos": Server(
        ["apache-airflow[kerberos]==2.10.5", "apache-airflow-providers-fab==1.5.2"], "2025-02-11",
        pythons=((3, 8), (3, 12)), of_the_machine=True,
    ),
}

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent / "target" / "airflow"


def main() -> None:
    wanted = chosen(sys.argv[1:])
    suits(wanted)
    ROOT.mkdir(parents=True, exist_ok=True)
    with open(ROOT / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made_from = [sys.executable, sys.version, str(ROOT)]
        installer = step("installer", made_from + INSTALLER, install_installer)
        if "browser" in sys.argv[1:]:
            made_from = [installer, *node.WHEEL, *node.PLAYWRIGHT, str(node.of_this_machine())]
            step("browser", made_from, install_browser)
            return
        step("clients", [installer, *CLIENTS], lambda place: install(place, CLIENTS))
        step("tracing", [installer, *TRACING], install_tracing)
        for name in wanted:
            build(name, SERVERS[name], installer)


def chosen(words: list[str]) -> list[str]:
    words = [word for word in words if word != "browser"]
    unknown = [word for word in words if word not in SERVERS and word != "all"]
    if unknown:
        sys.exit(f"no server is called {unknown[0]}; there are: all, {', '.join(SERVERS)}")
    if "all" in words:
        return [name for name, server in SERVERS.items() if not server.of_the_machine]
    return words or [name for name, server in SERVERS.items() if server.usual]


def build(name: str, server: Server, installer: str) -> None:
    """The program below servers/NAME, its home below homes/NAME."""
    arguments = server.arguments()
    program = step(f"servers/{name}", [installer, *arguments], lambda place: install(place, arguments))
    sources = [Path(__file__), *sorted((HERE / "dags").glob("*.py"))]
    made_from = [program, *(source.read_text() for source in sources)]
    step(f"homes/{name}", made_from, lambda place: make_home(place, name, server))


def suits(wanted: list[str]) -> None:
    """Starts again under a Python that all of them support; ends here when there is none."""
    oldest = max(SERVERS[name].pythons[0] for name in wanted)
    newest = min(SERVERS[name].pythons[1] for name in wanted)
    if oldest <= sys.version_info[:2] <= newest:
        return
    for minor in range(newest[1], oldest[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        # A version manager puts names on PATH that only say they are not installed.
        if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
            os.execv(found, [found, *sys.argv])
    low, high = (".".join(map(str, version)) for version in (oldest, newest))
    sys.exit(f"{', '.join(wanted)}: Airflow needs Python {low} to {high}; none is on PATH")


def step(name: str, made_from: list[str], make: Callable[[Path], None]) -> str:
    """Makes target/airflow/NAME unless its stamp says that it stands; the stamp comes last."""
    digest = hashlib.sha256("\0".join([name, *made_from]).encode()).hexdigest()
    stamp, place = ROOT / f"{name}.stamp", ROOT / name
    stamp.parent.mkdir(parents=True, exist_ok=True)
    if stamp.is_file() and stamp.read_text() == digest and place.is_dir():
        return digest
    stamp.unlink(missing_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    started = time.monotonic()
    say(f"{name} ...")
    make(place)
    stamp.write_text(digest)
    say(f"{name}: {time.monotonic() - started:.0f} s")
    return digest


def install_installer(place: Path) -> None:
    run([sys.executable, "-m", "venv", place], plain())
    run([place / "bin" / "python", "-m", "pip", "install", "--quiet", *INSTALLER], online())


def install_browser(place: Path) -> None:
    """Playwright in PLACE/npm, Node.js as PLACE/node."""
    if not node.of_this_machine():
        install(place / "venv", node.WHEEL)
    (program,), npm = node.commands(place / "venv")
    node.install(place / "npm", npm, node.PLAYWRIGHT)
    (place / "node").symlink_to(shutil.which(program))


def install(place: Path, packages: list[str]) -> None:
    uv = ROOT / "installer" / "bin" / "uv"
    # What comes as source is compiled quickly: it need not run quickly.
    environment = online() | translated() | {"UV_CACHE_DIR": str(ROOT / "cache"), "CFLAGS": "-O0"}
    run([uv, "venv", "--quiet", "--python", sys.executable, place], environment)
    python = ["--python", place / "bin" / "python"]
    run([uv, "pip", "install", "--quiet", *python, *packages], environment)


def install_tracing(place: Path) -> None:
    """In a folder of its own, to be named in PYTHONPATH."""
    pip = [ROOT / "installer" / "bin" / "python", "-m", "pip"]
    run([*pip, "install", "--quiet", "--target", place, *TRACING], online())


def make_home(place: Path, name: str, server: Server) -> None:
    """A home whose database is migrated and knows the DAG, sealed so that copying it is safe."""
    draft = ROOT / "home.draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    environment = plain() | server.settings() | {
        "HOME": str(draft),
        "AIRFLOW_HOME": str(draft),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{draft}/airflow.db",
    }
    airflow = ROOT / "servers" / name / "bin" / "airflow"
    run([airflow, "db", "migrate"], environment)
    # Reading the DAG must leave nothing beside it.
    run([airflow, "dags", "reserialize"], environment | {"PYTHONDONTWRITEBYTECODE": "1"})
    place.mkdir(parents=True)
    seal(draft / "airflow.db", place / "airflow.db")
    shutil.rmtree(draft)


def seal(draft: Path, place: Path) -> None:
    """Copies a database with its write-ahead log into one file, and looks for the DAG in it.

    Nobody opens that file again: a plain copy of it is a whole database.
    """
    source, target = sqlite3.connect(draft), sqlite3.connect(place)
    source.backup(target)
    target.execute("PRAGMA journal_mode=DELETE")
    dags = target.execute("SELECT dag_id FROM serialized_dag").fetchall()
    source.close()
    target.close()
    if dags != [("demo",)]:
        sys.exit(f"the database should know the DAG demo and no other; it knows {dags}")


def settings() -> dict[str, str]:
    """Airflow's own settings while its home is made."""
    return {
        "AIRFLOW__CORE__DAGS_FOLDER": str(HERE / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    }


def plain() -> dict[str, str]:
    """The environment of every child, built rather than inherited: what is set beats a test."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", str(ROOT)),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }


# How the machine says where its package index is and how to get there.
INDEX_VARIABLES = (
    [f"PIP_{name}" for name in (
        "CERT", "CLIENT_CERT", "CONFIG_FILE", "DEFAULT_TIMEOUT", "DISABLE_PIP_VERSION_CHECK",
        "EXTRA_INDEX_URL", "FIND_LINKS", "INDEX_URL", "KEYRING_PROVIDER", "NO_INDEX", "PROXY",
        "RETRIES", "TRUSTED_HOST",
    )]
    + [f"UV_{name}" for name in (
        "CONFIG_FILE", "DEFAULT_INDEX", "EXTRA_INDEX_URL", "FIND_LINKS", "HTTP_TIMEOUT",
        "INDEX", "INDEX_STRATEGY", "INDEX_URL", "INSECURE_HOST", "KEYRING_PROVIDER",
        "NATIVE_TLS", "OFFLINE", "SYSTEM_CERTS",
    )]
    + ["CURL_CA_BUNDLE", "NETRC", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE",
       "SSL_CLIENT_CERT", "XDG_CONFIG_DIRS", "XDG_CONFIG_HOME"]
    + [case(name) for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
       for case in (str.lower, str.upper)]
)


def online() -> dict[str, str]:
    """The environment of pip and uv: ours, and how this machine reaches its package index."""
    # Credentials of a named index come as UV_INDEX_<NAME>_USERNAME and _PASSWORD.
    return plain() | {
        name: value for name, value in os.environ.items()
        if name in INDEX_VARIABLES or name.startswith("UV_INDEX_")
    }


# pip's settings and what uv calls them. uv reads no pip.conf, and of pip's environment nothing.
TRANSLATIONS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
}


def translated() -> dict[str, str]:
    """What pip is configured to, said to uv; nothing where uv has been told something itself."""
    pip_of_ours = [ROOT / "installer" / "bin" / "python", "-m", "pip"]
    listed = run([*pip_of_ours, "config", "list"], online())
    pip: dict[str, str] = {}
    # Sections in the order in which pip lets the later one win.
    for section in ("global.", "install.", ":env:."):
        for line in listed.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(section):
                pip[key.removeprefix(section)] = str(ast.literal_eval(value))
    spoken = {TRANSLATIONS[key]: value for key, value in pip.items() if key in TRANSLATIONS}
    known = set(os.environ)
    if known & {"UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_CONFIG_FILE"} or uv_configured():
        known |= {"UV_DEFAULT_INDEX", "UV_INDEX"}
    return {
        # pip separates several by any white space, uv by one comma (links) or space.
        name: (",".join(value.split()) if name == "UV_FIND_LINKS" else " ".join(value.split()))
        for name, value in spoken.items() if name not in known
    }


def uv_configured() -> bool:
    folders = [os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")]
    folders += (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":") + ["/etc"]
    return any((Path(folder) / "uv" / "uv.toml").is_file() for folder in folders)


def run(command: list, environment: dict[str, str]) -> str:
    """Runs a child with exactly this environment; when it fails, shows what it said and ends."""
    words = list(map(str, command))
    done = subprocess.run(
        words, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    if done.returncode != 0:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        sys.exit(f"tests/airflow: {' '.join(words)} ended with {done.returncode}")
    return done.stdout


def say(words: str) -> None:
    print(f"tests/airflow: {words}", flush=True)


if __name__ == "__main__":
    main()
