"""A node of a cluster: a network that nobody else is on, and podman where the kubelet has its runtime."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

from entra import Entra
from pod import Pod

ADDRESS = "10.244.0.1"
TAG = "airside"


class Node:
    """In the namespaces of this process, which tests/pod/main.py has made; `with` it."""

    def __init__(self, image: Path, home: Path) -> None:
        self.image, self.home = image, home
        self.pods: list[Pod] = []
        self.made = 0

    def __enter__(self) -> Node:
        run("mount", "--make-rprivate", "/")
        # crun takes no mixture of both versions; this one is of this namespace alone.
        subprocess.run(["umount", "--recursive", "/sys/fs/cgroup"], capture_output=True)
        run("mount", "-t", "cgroup2", "none", "/sys/fs/cgroup")
        run("mount", "-t", "tmpfs", "none", "/run")
        Path("/run/netns").mkdir()
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "bridge", "type", "bridge")
        run("ip", "address", "add", f"{ADDRESS}/24", "dev", "bridge")
        run("ip", "link", "set", "bridge", "up")
        said = self.podman("load", "--quiet", "--input", str(self.image))
        name = re.search(r"^Loaded image: (\S+)$", said, re.MULTILINE)[1]
        self.podman("tag", name, TAG)
        self.entra = Entra(ADDRESS, self.home)
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def pod(self, **settings: object) -> Pod:
        """A new pod with an address of its own, nothing in it running yet."""
        self.made += 1
        pod = Pod(self, f"pod{self.made}", f"10.244.0.{self.made + 10}", **settings)
        self.pods.append(pod)
        return pod

    def clear(self) -> None:
        """Ends all pods, whatever they are at."""
        for pod in self.pods:
            pod.kill()
        self.pods.clear()

    def connect(self, name: str, address: str) -> None:
        """A network namespace of this name, with this address on the node's network."""
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"{name}-node", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", f"{name}-node", "master", "bridge", "up")
        for command in (
            ["link", "set", "lo", "up"],
            ["address", "add", f"{address}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
            ["route", "add", "default", "via", ADDRESS],
        ):
            run("ip", "-n", name, *command)

    def podman(self, *words: str, fails: bool = False) -> str:
        """With a store and a state of its own, which are gone with the namespace: podman tidies up after
        containers later than it says. What it printed; a failure is one of the test unless it is
        expected."""
        store = ["--root=/run/store", "--runroot=/run/podman", "--storage-driver=vfs"]
        own = ["--cgroup-manager=cgroupfs", "--events-backend=none", "--runtime=crun"]
        return run("podman", *store, *own, *words, fails=fails)


def limits() -> list[str]:
    """podman would ask for more than a machine may grant."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [f"--ulimit=nofile={files}:{files}", "--ulimit=nproc=1000:1000"]


def run(*command: str, fails: bool = False) -> str:
    ran = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if ran.returncode != 0 and not fails:
        print(ran.stdout, file=sys.stderr)
        raise RuntimeError(f"{' '.join(command)} ended with {ran.returncode}")
    return ran.stdout
