"""Callers of a Service while its pods come and go. Whatever is not answered as it should be is kept
with the second in which it was asked."""

from __future__ import annotations

import http.client
import select
import socket
import threading
import time
from collections import Counter

from pod import ask

READ = "/api/v2/dags?limit=1"
WRITE = "/api/v2/variables"


class Load:
    """Four kinds of callers, two of each, from the start to `stop`."""

    def __init__(self, address: tuple[str, int], token: str) -> None:
        self.address, self.token = address, token
        self.began = time.monotonic()
        self.answered: Counter = Counter()
        self.failed: list[str] = []
        self.written: list[str] = []
        self.ended = threading.Event()
        # SQLite, which stands in for a cluster's database, refuses who writes beside another.
        self.writing = threading.Lock()
        kinds = [
            ("new connection", 0.05, False, self.read),
            ("kept connection", 0.05, True, self.read),
            # Longer than it takes to drain: such a connection is closed while nobody uses it.
            ("idle connection", 11.0, True, self.read),
            ("writes", 0.5, True, self.write),
        ]
        self.callers = [
            threading.Thread(target=self.call, args=[f"{kind} {number}", *rest], daemon=True)
            for kind, *rest in kinds for number in (1, 2)
        ]
        for caller in self.callers:
            caller.start()

    def stop(self) -> None:
        self.ended.set()
        for caller in self.callers:
            caller.join(90)

    def call(self, name: str, pause: float, keeps: bool, act) -> None:
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        turn = 0
        while not self.ended.is_set():
            began = time.monotonic() - self.began
            # As every pool of connections does before it takes one.
            if not keeps or has_ended(connection):
                connection.close()
            try:
                status, said = act(connection, f"{name} {turn}")
            except (OSError, http.client.HTTPException) as error:
                status, said = None, repr(error)
                connection.close()
            if status in (200, 201):
                self.answered[name[:-2]] += 1
            else:
                self.failed.append(f"{began:.1f} s, {name}: {status} {said}")
            turn += 1
            self.ended.wait(pause)

    def read(self, connection, _name: str) -> tuple:
        return ask(connection, "GET", READ, self.token)

    def write(self, connection, name: str) -> tuple:
        """Something that must be carried out once."""
        key = name.replace(" ", "_")
        with self.writing:
            status, said = ask(connection, "POST", WRITE, self.token, {"key": key, "value": "1"})
        if status == 201:
            self.written.append(key)
        return status, said


def has_ended(connection: http.client.HTTPConnection) -> bool:
    """Whether its other side has closed it meanwhile."""
    stream: socket.socket | None = connection.sock
    return stream is not None and select.select([stream], [], [], 0)[0] != []
