"""Tokens that are valid, and tokens bent in one or two ways (mutations.py); all from one seed."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from drafts import AUDIENCES, ISSUER, SLACK, Draft, Keys, encode, write
from mutations import MUTATORS

VALID_SHARE = 0.15
TWICE_SHARE = 0.15


@dataclass
class Token:
    """What is judged, and how it came to be."""

    text: str
    classes: tuple[str, ...]
    how: str


class Generator:
    """Makes tokens; the same seed makes the same drafts, keys and times being those of the run."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.keys = Keys()
        self.now = int(time.time())

    def batch(self, count: int) -> list[Token]:
        self.now = int(time.time())
        return [self.token() for _ in range(count)]

    def token(self) -> Token:
        draft, how = self.valid()
        if self.random.random() < VALID_SHARE:
            return Token(self.finish(draft), ("valid",), how)
        wanted = 2 if self.random.random() < TWICE_SHARE else 1
        applied = []
        for _ in range(wanted):
            name = self.random.choice(list(MUTATORS))
            mutator = self.random.choice(MUTATORS[name])
            applied.append((name, mutator(self, draft)))
        classes = tuple(sorted({name for name, _ in applied}))
        return Token(self.finish(draft), classes, "; ".join(said for _, said in applied))

    def valid(self) -> tuple[Draft, str]:
        """A draft that every verifier should accept, in one of the forms issuers write."""
        some = self.random
        key = some.choice(Keys.USABLE)
        header = {"alg": "RS256", "kid": key}
        if (typ := some.choice(["JWT", "JWT", "at+jwt", "jwt", None])) is not None:
            header["typ"] = typ
        if some.random() < 0.3:
            header["x5t"] = encode(hashlib.sha1(key.encode()).digest())
        ours = some.choice(AUDIENCES)
        claims = {
            "iss": ISSUER,
            "aud": some.choice([ours, [ours], [ours, "account"], ["other", ours], AUDIENCES]),
            "sub": some.choice(["alice", "f:1:deploy", "repo:org/name@ref", "x" * 200]),
            "exp": self.now + some.choice([SLACK, 300, 3600, 86_400, 10**9]),
            "roles": some.choice(["ops", ["ops"], ["none", "ops"]]),
            "jti": f"{some.getrandbits(64):x}",
        }
        if some.random() < 0.7:
            claims["iat"] = self.now - some.choice([0, 5, 3600, 10**6])
        if some.random() < 0.7:
            claims["nbf"] = self.now - some.choice([0, 5, 3600, 10**6])
        for name, value in some.sample(EXTRAS, some.randrange(4)):
            claims[name] = value
        texts = [[[name, json.dumps(value)] for name, value in part.items()]
                 for part in (header, claims)]
        how = "valid"
        if some.random() < 0.3:
            for text in texts:
                some.shuffle(text)
            how = "valid, members in another order"
        draft = Draft(*texts, key)
        if some.random() < 0.1:
            draft.claims_bytes.append(lambda text: b" \n\t" + text.replace(b",", b" ,\r\n") + b"\n")
            how = "valid, with white space"
        return draft, how

    def finish(self, draft: Draft) -> str:
        header, claims = write(draft.header), write(draft.claims)
        header = changed(header, draft.header_bytes)
        claims = changed(claims, draft.claims_bytes)
        message = changed(f"{encode(header)}.{encode(claims)}", draft.signed)
        sign = draft.sign or (lambda message: self.keys.rs(draft.key, message))
        token = f"{message}.{encode(sign(message.encode()))}"
        return changed(token, draft.encoded)


def changed(text, changes: list[Callable]):
    """What the changes make of it; the second of two may find a text that it cannot change."""
    for change in changes:
        try:
            text = change(text)
        except (ValueError, IndexError):
            pass
    return text


EXTRAS = [
    ("name", "Zoë Ångström"), ("email", "a@b.example"), ("groups", ["a", "b"]), ("scope", "x y"),
    ("realm_access", {"roles": ["x"], "more": {"deep": [1, 2.5, None, True]}}), ("ver", "2.0"),
    ("emoji", "\U0001f680"), ("empty", ""), ("number", -1.5e-7), ("none", None), ("Aud", "other"),
    ("EXP", 1), ("a.b", {"c": []}), ("large", "y" * 2000), ("__proto__", {"x": 1}),
]
