"""An issuer of tokens that look like Entra's, for configurations that read its keys from a file."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from pathlib import Path

from programs import IDS, run

TENANT, CLIENT = IDS["YOUR-TENANT-ID"], IDS["YOUR-CLIENT-ID"]
CALLER = "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Its key, made for the run, and the set of keys that has it."""

    def __init__(self, home: Path):
        self.key = home / "issuer.pem"
        self.keys_file = home / "issuer.json"
        run("openssl", "genrsa", "-out", self.key, "2048")
        modulus = run("openssl", "rsa", "-in", self.key, "-noout", "-modulus").strip().split("=")[1]
        key = {"kty": "RSA", "use": "sig", "kid": "a", "n": encoded(bytes.fromhex(modulus)), "e": "AQAB"}
        self.keys_file.write_text(json.dumps({"keys": [key]}))

    def token(self, role: str) -> str:
        """An application's, as a registration of version 2 gets it."""
        now = int(time.time())
        claims = {
            "iss": f"https://login.microsoftonline.com/{TENANT}/v2.0", "tid": TENANT, "aud": CLIENT,
            "azp": "00001111-aaaa-2222-bbbb-3333cccc4444", "azpacr": "1", "idtyp": "app", "ver": "2.0",
            "oid": CALLER, "sub": CALLER, "roles": [role], "iat": now, "nbf": now, "exp": now + 3600,
        }
        header = {"typ": "JWT", "alg": "RS256", "kid": "a"}
        signed = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
        sign = ["openssl", "dgst", "-sha256", "-sign", str(self.key)]
        signature = subprocess.run(sign, input=signed.encode(), capture_output=True, check=True).stdout
        return f"{signed}.{encoded(signature)}"
