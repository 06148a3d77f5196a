"""A Service: one address for the pods that are ready. It picks a pod for each connection and never for
a request, repeats nothing, and hears of a pod's end with a delay, as the nodes of a cluster do."""

from __future__ import annotations

import itertools
import socket
import threading
import time

from pod import TRAFFIC

# From a pod's deletion until the last node sends nothing new there.
PROPAGATION = 1.5


class Service:
    def __init__(self, address: tuple[str, int]) -> None:
        self.pods: list = []
        self.turn = itertools.count()
        self.listener = socket.create_server(address, backlog=256)
        threading.Thread(target=self.serve, daemon=True).start()

    def add(self, pod) -> None:
        self.pods.append(pod)

    def remove(self, pod) -> None:
        """The pod is deleted: from now on its end is on its way to the nodes."""
        def forget() -> None:
            time.sleep(PROPAGATION)
            self.pods.remove(pod)
        threading.Thread(target=forget, daemon=True).start()

    def serve(self) -> None:
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.relay, args=[client], daemon=True).start()

    def relay(self, client: socket.socket) -> None:
        ready = [pod for pod in self.pods if pod.healthy]
        with client:
            if not ready:
                return
            pod = ready[next(self.turn) % len(ready)]
            try:
                server = socket.create_connection((pod.address, TRAFFIC), timeout=5)
            except OSError:
                return
            with server:
                server.settimeout(None)
                back = threading.Thread(target=pump, args=[server, client], daemon=True)
                back.start()
                pump(client, server)
                back.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Until the source's end, which is passed on; a reset ends both."""
    try:
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
