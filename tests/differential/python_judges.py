"""Judges tokens with PyJWT and joserfc: a JSON string per line in, the verdicts per line out."""

from __future__ import annotations

import json
import sys
import warnings

import jwt
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

ACCEPTED = "accepted"


def main() -> None:
    # Both warn of the small key that is among the keys on purpose.
    warnings.simplefilter("ignore")
    with open(sys.argv[1]) as file:
        policy = json.load(file)
    judges = {"PyJWT": pyjwt(policy), "joserfc": joserfc(policy)}
    for line in sys.stdin:
        token = json.loads(line)
        verdicts = {name: verdict(judge, token) for name, judge in judges.items()}
        print(json.dumps(verdicts), flush=True)


def verdict(judge, token: str) -> str:
    try:
        judge(token)
    except Exception as error:  # a library may raise whatever it likes: that is a refusal
        return type(error).__name__
    return ACCEPTED


def pyjwt(policy: dict):
    keys = jwt.PyJWKSet.from_dict(policy["jwks"])

    def judge(token: str) -> None:
        kid = jwt.get_unverified_header(token)["kid"]
        jwt.decode(
            token, keys[kid], algorithms=["RS256"], issuer=policy["issuer"],
            audience=policy["audiences"], leeway=policy["leeway"],
            options={"require": ["exp", "aud", "iss"]},
        )

    return judge


def joserfc(policy: dict):
    keys = KeySet.import_key_set(policy["jwks"])
    # By default it knows no other header members than the registered ones.
    headers = JWSRegistry(algorithms=["RS256"], strict_check_header=False)
    # It would take 512 bytes of header; the others take more.
    headers.max_header_length = headers.max_signature_length = 65536
    registry = joserfc_jwt.JWTClaimsRegistry(
        leeway=policy["leeway"],
        iss={"essential": True, "value": policy["issuer"]},
        aud={"essential": True, "values": policy["audiences"]},
        exp={"essential": True},
    )

    def judge(token: str) -> None:
        decoded = joserfc_jwt.decode(token, keys, registry=headers)
        registry.validate(decoded.claims)

    return judge


if __name__ == "__main__":
    main()
