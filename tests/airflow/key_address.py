"""How the keys of an address live when nobody answers there: key_address.py ADDRESS PEM.

Prints JSON: what an assertion is answered before any key has come, whether keys that came earlier
stay after a failed fetch, and whether they still count a day later.
"""

import json
import sys
import time

from airside_auth_manager import Key, KeyAddress, Verifier
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from fastapi import HTTPException


def main() -> None:
    address, pem = sys.argv[1:]
    keys = KeyAddress(address)
    verifier = Verifier(keys, "airflow", 10)
    verifier.renew_keys("any token")
    try:
        verifier.verify("any token", None)
    except HTTPException as answer:
        status = answer.status_code
    keys.keys, keys.fetched = [Key.of(load_pem_public_key(pem.encode()), "a")], time.monotonic()
    keys.tried -= keys.PAUSE + 1
    keys.renew("an unknown key")
    stay = len(keys.current())
    keys.fetched -= keys.STALE
    print(json.dumps({"without keys": status, "kept": stay, "a day later": len(keys.current())}))


if __name__ == "__main__":
    main()
