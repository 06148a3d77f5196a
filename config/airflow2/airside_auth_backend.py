"""Airflow 2 takes callers from airside: a backend for `[api] auth_backends`, with Flask-AppBuilder.

Put this file where Airflow finds it (PYTHONPATH) and name it:

    [api]
    auth_backends = airside_auth_backend,airflow.api.auth.backend.session

For each request airside signs who is calling and with which roles (`handoff.type: headers` with
`handoff.assertion`). This verifies it and acts as that user, who is made at the first request and
whose roles follow the assertion. A header without a signature is never believed.

    AIRSIDE_ASSERTION_PUBLIC_KEY   the public key: a file in PEM with one or more, read again when
                                   it changes, or the http(s) address of airside's /jwks.json
    AIRSIDE_ASSERTION_AUDIENCE     `handoff.assertion.audience`; by default airflow

Needs nothing that Airflow 2.10.5 does not bring.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import re
import threading
import time
import urllib.request
from typing import Any, Callable, NamedTuple

import jwt
from airflow.exceptions import AirflowConfigException
from airflow.www.extensions.init_auth_manager import get_auth_manager
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from flask import Flask, Response, current_app, g, request

log = logging.getLogger(__name__)

# Airflow's own command line asks every backend for a way to log in; here there is none.
CLIENT_AUTH = None


def init_app(app: Flask) -> None:
    """Airflow calls this once in each of its processes, before it serves."""
    place = os.environ.get("AIRSIDE_ASSERTION_PUBLIC_KEY")
    if not place:
        raise AirflowConfigException(
            "airside_auth_backend needs AIRSIDE_ASSERTION_PUBLIC_KEY: a file with the public key "
            "of airside's assertions in PEM, or the address of airside's /jwks.json"
        )
    audience = os.environ.get("AIRSIDE_ASSERTION_AUDIENCE") or "airflow"
    app.extensions[__name__] = Verifier(Keys.at(place), audience)


def requires_authentication(function: Callable) -> Callable:
    """Airflow calls what this returns for each request to its API: 200 lets it in."""

    @functools.wraps(function)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        assertion = request.headers.get("X-Airside-Assertion")
        if assertion is None:
            return unauthorized()
        verifier: Verifier = current_app.extensions[__name__]
        try:
            caller = verifier.caller(assertion, request.method, path_as_it_came(), time.time())
            user = user_of(caller)
        except Refused as why:
            log.info("X-Airside-Assertion is refused: %s", why)
            return unauthorized()
        act_as(user)
        return function(*args, **kwargs)

    return decorated


def unauthorized() -> Response:
    """Airflow asks its next backend, and gives this answer after the last."""
    return Response("Unauthorized", 401, {"WWW-Authenticate": 'Bearer realm="airflow"'})


class Refused(Exception):
    """Why an assertion lets nobody in; for the log."""


# --- The assertion ---------------------------------------------------------------------------

TYPE = "airside-assertion+jwt"
LONGEST_LIFE = 300
# What a clock may be behind airside's. One that is ahead has the assertion's own life.
LEEWAY = 10


class Caller(NamedTuple):
    """Who is calling, in the words of an assertion that verified."""

    name: str
    roles: frozenset


class Verifier:
    """Judges assertions."""

    def __init__(self, keys: Keys, audience: str) -> None:
        self.keys = keys
        self.audience = audience

    def caller(self, assertion: str, method: str, path: str, now: float) -> Caller:
        """Who is calling; `Refused` unless everything holds for this request at this time."""
        claims = self.signed_claims(assertion)
        require(claims.get("iss") == "airside", "it is not airside's")
        require(claims.get("aud") == self.audience, "it is for another audience")
        require_times(claims, now)
        require(is_name(claims.get("jti")), "it has no jti")
        require(claims.get("htm", method) == method, "it was made for another method")
        require(claims.get("htu", path) == path, "it was made for another path")
        name, roles = claims.get("sub"), claims.get("roles")
        require(is_name(name), "it names nobody")
        require(isinstance(roles, list) and all(map(is_name, roles)), "it has no list of roles")
        return Caller(name, frozenset(roles))

    def signed_claims(self, assertion: str) -> dict:
        """What one of our keys has signed, by the algorithm of that key and no other."""
        try:
            header = jwt.get_unverified_header(assertion)
        except (jwt.PyJWTError, RecursionError):
            raise Refused("it is no JWT") from None
        # A further member could ask for something that is not done here (`crit`).
        known = header.keys() <= {"alg", "kid", "typ"}
        require(known and header.get("typ") == TYPE, "it is no assertion")
        for key in self.keys.fitting(header.get("alg"), header.get("kid")):
            try:
                claims = json.loads(jwt.PyJWS().decode(assertion, key.public, [key.algorithm]))
            except (jwt.PyJWTError, ValueError):
                continue
            require(isinstance(claims, dict), "its claims are no object")
            return claims
        raise Refused("no key of airside has signed it")


def require_times(claims: dict, now: float) -> None:
    issued, expires = claims.get("iat"), claims.get("exp")
    whole = isinstance(issued, int) and isinstance(expires, int)
    require(whole, "it has no times")
    require(issued < expires <= issued + LONGEST_LIFE, "its life is too long")
    require(issued <= now + LEEWAY, "it comes from the future: compare the clocks")
    require(now < expires, "it has expired")


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Refused(otherwise)


def is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def path_as_it_came() -> str:
    """The path with its percent-encoding, as airside sent and asserted it.

    WSGI's own variables hold it decoded and cut in two. gunicorn and Werkzeug keep the whole in
    RAW_URI; where that is missing, no path fits.
    """
    return request.environ.get("RAW_URI", "").partition("?")[0]


# --- Users -----------------------------------------------------------------------------------

# Requests of one caller at the same time get into each other's way; not this often.
ATTEMPTS = 5


def user_of(caller: Caller) -> Any:
    """The user of this name, made if there is none, with the roles of the assertion alone."""
    sm = get_auth_manager().security_manager
    for _ in range(ATTEMPTS):
        user = sm.find_user(username=caller.name) or make_user(sm, caller.name)
        # Nothing was made where another process has just done it, and it is found the next time.
        if not user:
            continue
        require(user.is_active, "its user is not active in Airflow")
        if has_roles(sm, user, caller.roles):
            return user
    raise Refused("its user cannot be made or changed; the log has the database's reason")


def make_user(sm: Any, name: str) -> Any:
    return sm.add_user(
        username=name,
        first_name=name[:256],
        last_name="(airside)",
        # Nobody's, and no two users': names are unique (RFC 2606, section 2).
        email=f"{name}@airside.invalid",
        role=[],
        # The hash of no password.
        hashed_password="!",
    )


def has_roles(sm: Any, user: Any, names: frozenset) -> bool:
    """Gives the user these roles; false where another process was faster."""
    if {role.name for role in user.roles} == names:
        return True
    # A database may find a name in another case; Airflow's own names differ then.
    found = {role.name: role for role in map(sm.find_role, names) if role}
    for name in names - found.keys():
        log.warning("Airflow has no role %r, which %s was to have", name, user.username)
    roles = [found[name] for name in sorted(names & found.keys())]
    if set(user.roles) == set(roles):
        return True
    user.roles = roles
    return sm.update_user(user)


def act_as(user: Any) -> None:
    """Makes the user the current one, for this request and no longer."""
    # A request of the same user with other roles may write them at any moment: what this one may
    # do is said now.
    user._perms = {
        (permission.action.name, permission.resource.name)
        for role in user.roles
        for permission in role.permissions
    }
    # What `login_user` does, but for the session, which would outlive the assertion by 30 days.
    current_app.login_manager._update_request_context_with_user(user)
    g.user = user


# --- Keys ------------------------------------------------------------------------------------

# An address is asked this often, in seconds, and this often for a key that is not known yet.
REFRESH = 300
COOLDOWN = 10
TIMEOUT = 5
# How long keys of an address serve when it does not answer.
STALE = 24 * 3600
LARGEST = 1024 * 1024


class Unusable(Exception):
    """Why there are no keys at a place."""


class Key(NamedTuple):
    """A public key and the one algorithm that it is used with."""

    algorithm: str
    public: Any
    kid: str | None


class Keys:
    """The keys of a file or an address. What cannot be read leaves the last good ones in place."""

    def __init__(self, place: File | Address) -> None:
        self.place = place
        self.keys: list = []
        self.good_at = -math.inf
        self.lock = threading.Lock()

    @classmethod
    def at(cls, place: str) -> Keys:
        if re.match("https?://", place):
            return cls(Address(place))
        keys = cls(File(place))
        # A wrong file is found at the start. An address may have nobody there yet.
        keys.fitting(None, None)
        return keys

    def fitting(self, algorithm: str | None, kid: str | None) -> list:
        """The keys for this algorithm and, where both have one, of this name."""
        with self.lock:
            for unknown in (False, True):
                if self.place.has_news(unknown):
                    self.read()
                fitting = [
                    key for key in self.keys
                    if key.algorithm == algorithm and (None in (key.kid, kid) or key.kid == kid)
                ]
                if fitting:
                    break
            return fitting

    def read(self) -> None:
        try:
            self.keys = self.place.read()
            self.good_at = time.monotonic()
        except Exception as why:  # whatever libraries say to bytes that are no keys
            log.error("the keys at %s stay as they were: %r", self.place.name, why)
            if time.monotonic() - self.good_at > self.place.stale:
                self.keys = []


PEM = re.compile(rb"-----BEGIN (?:RSA )?PUBLIC KEY-----.+?-----END (?:RSA )?PUBLIC KEY-----", re.S)


class File:
    """Public keys in PEM."""

    stale = math.inf

    def __init__(self, name: str) -> None:
        self.name = name
        self.mark: tuple | None = ()

    def has_news(self, unknown: bool) -> bool:
        before, self.mark = self.mark, self.look()
        return self.mark != before

    def look(self) -> tuple | None:
        try:
            found = os.stat(self.name)
        except OSError:
            return None
        return (found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns)

    def read(self) -> list:
        with open(self.name, "rb") as file:
            text = file.read(LARGEST)
        if b"PRIVATE KEY" in text:
            raise Unusable("it holds a private key, which nobody but airside should have")
        blocks = PEM.findall(text)
        if not blocks:
            raise Unusable("it holds no public key in PEM")
        return [usable(load_pem_public_key(block), None) for block in blocks]


class Address:
    """A JWK Set, such as airside's /jwks.json."""

    stale = STALE

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked_at = -math.inf
        self.opener = urllib.request.build_opener(NoRedirect)

    def has_news(self, unknown: bool) -> bool:
        age = time.monotonic() - self.asked_at
        return age >= (COOLDOWN if unknown else REFRESH)

    def read(self) -> list:
        self.asked_at = time.monotonic()
        with self.opener.open(self.name, timeout=TIMEOUT) as answer:
            entries = json.loads(answer.read(LARGEST))["keys"]
        keys = [key for key in map(key_of_entry, entries) if key]
        if not keys:
            raise Unusable("it holds no key for assertions")
        return keys


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Keys come from where they are asked for."""

    def redirect_request(self, *args: Any) -> None:
        return None


def key_of_entry(entry: dict) -> Key | None:
    """One bad entry does not cost the others: a set may have keys for other purposes."""
    try:
        key = usable(jwt.PyJWK.from_dict(entry).key, entry.get("kid"))
    except Exception:  # not a key, or of a kind that PyJWT does not know
        return None
    signs = entry.get("use", "sig") == "sig" and entry.get("alg", key.algorithm) == key.algorithm
    return key if signs else None


def usable(public: Any, kid: str | None) -> Key:
    """The algorithm follows from the key, never from the assertion."""
    if isinstance(public, rsa.RSAPublicKey) and public.key_size >= 2048:
        return Key("RS256", public, kid)
    if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
        return Key("ES256", public, kid)
    if isinstance(public, ed25519.Ed25519PublicKey):
        return Key("EdDSA", public, kid)
    raise Unusable("a key is neither RSA of 2048 bits or more, nor P-256, nor Ed25519")
