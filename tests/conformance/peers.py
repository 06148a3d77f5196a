"""Clients that forgive nothing: h11 for HTTP/1.1, h2 for HTTP/2. Whatever they do not take is raised."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

import h11
import h2.config
import h2.connection
import h2.events

from exchanges import Exchange

PATIENCE = 30.0
HOST = "airflow.example"


@dataclass
class Answer:
    version: str
    status: int = 0
    reason: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


def http1(address: tuple[str, int], exchange: Exchange) -> Answer:
    """What h11 makes of the answer, on a connection of its own."""
    client = h11.Connection(our_role=h11.CLIENT)
    headers = [("host", HOST), *exchange.headers]
    if exchange.body is not None:
        headers.append(("content-length", str(len(exchange.body))))
    answer = Answer("1.1")
    with socket.create_connection(address, PATIENCE) as stream:
        # At once: a refusal may close the connection before the rest of a body.
        request = h11.Request(method=exchange.method, target=exchange.path, headers=headers)
        body = [h11.Data(data=exchange.body)] if exchange.body is not None else []
        stream.sendall(b"".join(map(client.send, [request, *body, h11.EndOfMessage()])))
        while True:
            event = client.next_event()
            if event is h11.NEED_DATA:
                client.receive_data(stream.recv(65536))
            elif isinstance(event, h11.Response):
                answer.status, answer.reason = event.status_code, event.reason
                answer.headers = list(event.headers)
            elif isinstance(event, h11.Data):
                answer.body += event.data
            elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                return answer


class Http2:
    """One connection for all requests, as a client would keep it."""

    def __init__(self, address: tuple[str, int]) -> None:
        # By default, h2 also refuses what is no field of HTTP/2 in answers.
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self.client = h2.connection.H2Connection(config=config)
        self.stream = socket.create_connection(address, PATIENCE)
        self.client.initiate_connection()
        self.flush()

    def close(self) -> None:
        """Tells airside that it ends, and reads whatever still comes."""
        self.client.close_connection()
        self.flush()
        while received := self.stream.recv(65536):
            self.client.receive_data(received)
        self.stream.close()

    def flush(self) -> None:
        self.stream.sendall(self.client.data_to_send())

    def ask(self, exchange: Exchange) -> Answer:
        number = self.client.get_next_available_stream_id()
        pseudo = [(":method", exchange.method), (":scheme", "http"), (":authority", HOST),
                  (":path", exchange.path)]
        ends = exchange.body is None
        self.client.send_headers(number, pseudo + exchange.headers, end_stream=ends)
        if not ends:
            self.client.send_data(number, exchange.body, end_stream=True)
        self.flush()
        answer, ended = Answer("2"), False
        while not ended:
            received = self.stream.recv(65536)
            if not received:
                raise ConnectionError("the connection ended before the answer")
            for event in self.client.receive_data(received):
                ended |= self.take(event, answer)
            self.flush()
        return answer

    def take(self, event: h2.events.Event, answer: Answer) -> bool:
        """Whether that was the end of the answer."""
        if isinstance(event, h2.events.ResponseReceived):
            fields = dict(event.headers)
            answer.status = int(fields[b":status"])
            answer.headers = [pair for pair in event.headers if not pair[0].startswith(b":")]
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            length = event.flow_controlled_length
            self.client.acknowledge_received_data(length, event.stream_id)
        elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
            # Section 8.1: after a whole answer, the rest of a request may be refused kindly.
            if event.error_code != 0:
                raise ConnectionError(f"{event}")
        return isinstance(event, h2.events.StreamEnded)
