"""A token in the making, and the keys that sign it.

A draft holds header and claims as lists of a name and the JSON text of its value, so that
duplicates, odd numbers and broken texts can be written.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

ISSUER = "https://sso.example/realms/data"
AUDIENCES = ["airflow", "api://airflow"]
LEEWAY = 60
# Time passes between the making of a token and its last verdict: no token is made that changes
# its validity meanwhile. A batch that takes longer than this is an error of the run.
SLACK = 90


@dataclass
class Draft:
    """A token in the making."""

    header: list[list[str]]
    claims: list[list[str]]
    key: str
    # Applied to the text of the part before it is encoded.
    header_bytes: list[Callable[[bytes], bytes]] = field(default_factory=list)
    claims_bytes: list[Callable[[bytes], bytes]] = field(default_factory=list)
    # Applied to the two encoded parts before they are signed.
    signed: list[Callable[[str], str]] = field(default_factory=list)
    # Applied to the finished token.
    encoded: list[Callable[[str], str]] = field(default_factory=list)
    # Signs in place of `key` with RS256.
    sign: Callable[[bytes], bytes] | None = None

    def set(self, part: list[list[str]], name: str, text: str) -> None:
        for member in part:
            if member[0] == name:
                member[1] = text
                return
        part.append([name, text])

    def remove(self, part: list[list[str]], name: str) -> None:
        part[:] = [member for member in part if member[0] != name]


class Keys:
    """The published keys, those that no verifier should use, and one that is not published."""

    USABLE = ("first", "second", "large")

    def __init__(self) -> None:
        sizes = {"large": 3072, "small": 1024}
        names = [*self.USABLE, "for-encryption", "for-rs512", "small", "rogue"]
        self.private = {
            name: rsa.generate_private_key(public_exponent=65537, key_size=sizes.get(name, 2048))
            for name in names
        }
        self.curve = ec.generate_private_key(ec.SECP256R1())
        special = {
            "first": {"alg": "RS256", "use": "sig"}, "second": {"use": "sig"},
            "large": {"key_ops": ["verify"]}, "for-encryption": {"use": "enc"},
            "for-rs512": {"alg": "RS512", "use": "sig"}, "small": {"use": "sig"},
        }
        self.jwks = {"keys": [self.jwk(name) | more for name, more in special.items()]}

    def jwk(self, name: str) -> dict:
        numbers = self.private[name].public_key().public_numbers()
        n = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
        return {"kty": "RSA", "kid": name, "n": encode(n), "e": "AQAB"}

    def rs(self, name: str, message: bytes, digest=hashes.SHA256) -> bytes:
        return self.private[name].sign(message, padding.PKCS1v15(), digest())

    def pss(self, name: str, message: bytes) -> bytes:
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        return self.private[name].sign(message, pss, hashes.SHA256())

    def public_forms(self, name: str) -> list[bytes]:
        """The ways in which a public key has been taken for an HMAC secret."""
        public = self.private[name].public_key()
        pem = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        der = public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        pkcs1 = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.PKCS1)
        jwk = self.jwk(name)
        return [pem, pem.strip(), der, pkcs1, json.dumps(jwk).encode(), jwk["n"].encode(), b""]


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def write(members: list[list[str]]) -> bytes:
    return ("{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in members) + "}").encode()
