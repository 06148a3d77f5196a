"""A conversation with the YAML language server: the part of the protocol that editors use here."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from pathlib import Path

PATIENCE = 30  # seconds
# Nothing is asked over the network: the schema is the one that the file names.
SETTINGS = {
    "yaml": {
        "validate": True, "completion": True, "hover": True,
        "schemaStore": {"enable": False}, "kubernetesCRDStore": {"enable": False},
    },
}


class Server:
    """The running server, with the repository as its workspace."""

    def __init__(self, command: list[str], root: Path) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.messages: queue.Queue = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        self.number = 0
        folder = {"uri": root.as_uri(), "name": root.name}
        self.request("initialize", {
            "processId": None, "rootUri": root.as_uri(), "workspaceFolders": [folder],
            "capabilities": {
                "workspace": {"configuration": True, "workspaceFolders": True},
                "textDocument": {
                    "publishDiagnostics": {},
                    "completion": {"completionItem": {"snippetSupport": True}},
                    "hover": {"contentFormat": ["plaintext"]},
                },
            },
        })
        self.notify("initialized", {})
        self.notify("workspace/didChangeConfiguration", {"settings": SETTINGS})

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def open(self, path: Path, text: str) -> None:
        document = {"uri": path.as_uri(), "languageId": "yaml", "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": document})

    def diagnostics(self, path: Path) -> list[str]:
        """What is marked in a document that was opened."""
        def is_about(message: dict) -> bool:
            about = message.get("params", {})
            marked = message.get("method") == "textDocument/publishDiagnostics"
            return marked and about.get("uri") == path.as_uri()

        marks = self.wait(is_about)["params"]["diagnostics"]
        return [f"{mark['range']['start']['line'] + 1}: {mark['message']}" for mark in marks]

    def completions(self, path: Path, text: str) -> set[str]:
        """What is offered at the end of a document that was opened."""
        answer = self.request("textDocument/completion", at_end(path, text)) or {}
        items = answer.get("items", []) if isinstance(answer, dict) else answer
        return {item["label"] for item in items}

    def hover(self, path: Path, line: int, column: int) -> str:
        position = {"line": line, "character": column}
        asked = {"textDocument": {"uri": path.as_uri()}, "position": position}
        return json.dumps(self.request("textDocument/hover", asked))

    def request(self, method: str, params: dict):
        self.number += 1
        number = self.number
        self.send({"id": number, "method": method, "params": params})
        return self.wait(lambda message: message.get("id") == number and "method" not in message).get(
            "result"
        )

    def notify(self, method: str, params: dict) -> None:
        self.send({"method": method, "params": params})

    def send(self, message: dict) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self.process.stdin.flush()

    def wait(self, fits) -> dict:
        """The next message that fits; what the server asks meanwhile is answered."""
        while True:
            message = self.messages.get(timeout=PATIENCE)
            if "method" in message and "id" in message:
                self.send({"id": message["id"], "result": self.answer(message)})
            elif fits(message):
                return message

    @staticmethod
    def answer(message: dict):
        if message["method"] != "workspace/configuration":
            return None
        asked = message["params"]["items"]
        return [SETTINGS.get(item.get("section"), {}) for item in asked]

    def read(self) -> None:
        stream = self.process.stdout
        while line := stream.readline():
            length = None
            while line.strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
                line = stream.readline()
            if length is not None:
                self.messages.put(json.loads(stream.read(length)))


def at_end(path: Path, text: str) -> dict:
    lines = text.split("\n")
    position = {"line": len(lines) - 1, "character": len(lines[-1])}
    return {"textDocument": {"uri": path.as_uri()}, "position": position}
