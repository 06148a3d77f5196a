"""Microsoft's side, at its own names: a DNS server that knows them, key sets over TLS, and tokens."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import socket
import ssl
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

TENANT = "aaaabbbb-0000-cccc-1111-dddd2222eeee"
CLIENT_ID = "11112222-bbbb-3333-cccc-4444dddd5555"
CALLER = "00001111-aaaa-2222-bbbb-3333cccc4444"
ISSUER = f"https://login.microsoftonline.com/{TENANT}/v2.0"
HOST = "login.entra.test"
A, IN = 1, 1
NO_SUCH_NAME = 3


class Entra:
    """Answers at ADDRESS, port 443, and is the name server there."""

    def __init__(self, address: str, home: Path) -> None:
        self.address = address
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.authority = home / "authority.pem"
        self.asked: list[str] = []
        self.server = ThreadingHTTPServer((address, 443), self.handler())
        self.server.socket = self.tls(home).wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.names.bind((address, 53))
        threading.Thread(target=self.name, daemon=True).start()

    def token(self, oid: str, role: str) -> str:
        """An app-only token, version 2."""
        now = int(time.time())
        claims = {
            "iss": ISSUER, "aud": CLIENT_ID,
            "tid": TENANT, "ver": "2.0", "oid": oid, "sub": oid, "azp": CALLER, "azpacr": "1",
            "idtyp": "app", "roles": [role], "iat": now, "nbf": now, "exp": now + 3600,
        }
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "one"})

    def handler(self) -> type[BaseHTTPRequestHandler]:
        numbers = self.key.public_key().public_numbers()
        key = {"kty": "RSA", "use": "sig", "kid": "one", "n": number(numbers.n), "e": number(numbers.e)}
        keys = json.dumps({"keys": [key]}).encode()
        discovery = json.dumps({"issuer": ISSUER}).encode()
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                document = discovery if self.path.endswith("openid-configuration") else keys
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(document)))
                self.end_headers()
                self.wfile.write(document)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def tls(self, home: Path) -> ssl.SSLContext:
        """A certificate for its name by an authority of its own, whose certificate is in a file."""
        signer, root = certificate("an authority", None)
        key, leaf = certificate(HOST, (signer, root), self.address)
        self.authority.write_bytes(root.public_bytes(serialization.Encoding.PEM))
        file = home / "entra.pem"
        file.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def name(self) -> None:
        """Knows the one name; the search domains of a cluster have none like it."""
        while True:
            query, peer = self.names.recvfrom(512)
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1:at + 1 + query[at]].decode())
                at += 1 + query[at]
            question = query[12:at + 5]
            kind, _ = struct.unpack("!HH", query[at + 1:at + 5])
            known = ".".join(labels).lower() == HOST
            answer = b""
            if known and kind == A:
                address = ipaddress.IPv4Address(self.address).packed
                answer = struct.pack("!HHHIH", 0xC00C, A, IN, 5, 4) + address
            flags = 0x8580 | (0 if known else NO_SUCH_NAME)
            head = query[:2] + struct.pack("!HHHHH", flags, 1, int(answer != b""), 0, 0)
            self.names.sendto(head + question + answer, peer)


def certificate(name: str, issuer: tuple | None, address: str | None = None) -> tuple:
    """A key and its certificate, by this issuer or by itself as an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, root = issuer or (key, None)
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder().subject_name(subject)
        .issuer_name(root.subject if root else subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=root is None, path_length=None), critical=True)
    )
    if address:
        names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address(address))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return key, builder.sign(signer, hashes.SHA256())


def number(value: int) -> str:
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
