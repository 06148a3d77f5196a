"""Auth managers for Apache Airflow 3.2 and later that learn from airside who is calling.

    [core] auth_manager = airside_auth_manager.AirsideFabAuthManager   users and roles of FAB
    [core] auth_manager = airside_auth_manager.AirsideAuthManager      no users, four roles, teams

airside sends a signed assertion with each request, in `X-Airside-Assertion` or as the bearer token:
who is calling, with which roles and teams, for this method and path, good for some seconds. Both
auth managers verify it and act as that user. Everything else stays Airflow's: its logins, sessions,
tokens and workers.

    AIRSIDE_ASSERTION_PUBLIC_KEY   a PEM file with one or more public keys, read again when it
                                   changes; or the address of airside's /jwks.json
    AIRSIDE_ASSERTION_AUDIENCE     `handoff.assertion.audience` of airside; default: airflow
    AIRSIDE_ASSERTION_ADOPT        for FAB: names of users, with commas between, that an assertion
                                   may act as although it did not create them; `*` for all

One plain file without a dependency of its own: put it where the API server's Python finds it
(`PYTHONPATH`, `$AIRFLOW_HOME/plugins` or `$AIRFLOW_HOME/config`).
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property

import airflow
from airflow.exceptions import AirflowConfigException

if tuple(int(part) for part in airflow.__version__.split(".")[:2]) < (3, 2):
    raise AirflowConfigException(
        f"airside_auth_manager needs Airflow 3.2 or later, and this is {airflow.__version__}. For "
        "3.0 and 3.1 use `handoff.type: airflow_token` of airside with Airflow's own auth manager."
    )

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.concurrency import run_in_threadpool

from airflow.api_fastapi import app as api_server
from airflow.api_fastapi.auth.managers.base_auth_manager import BaseAuthManager
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import (
    SimpleAuthManager,
    SimpleAuthManagerRole,
)
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.configuration import conf

log = logging.getLogger(__name__)

# Tells an assertion from every other token (RFC 8725, section 3.11).
ASSERTION = "airside-assertion+jwt"
ISSUER = "airside"
LONGEST_LIFE = 300  # seconds

CREDENTIALS = (b"x-airside-assertion", b"authorization", b"cookie")
SESSIONS = (b"_token", b"session")


class TakesAssertions:
    """What both auth managers add to one of Airflow's: a bearer token may be an assertion."""

    async def get_user_from_token(self, token: str):
        sent = _sent.get()
        if sent is None and not is_assertion(token):
            return await super().get_user_from_token(token)
        if self.verifier.keys_are_due(token):
            await run_in_threadpool(self.verifier.renew_keys, token)
        return await self.user_of(self.verifier.verify(token, sent))

    def revoke_token(self, token: str) -> None:
        # Airflow's list is of its own tokens, and an assertion is over before anybody asks for it.
        if not is_assertion(token):
            super().revoke_token(token)

    def get_fastapi_middlewares(self) -> list:
        # The last one is the outermost.
        return [*super().get_fastapi_middlewares(), (AssertionMiddleware, {})]

    def get_fastapi_app(self) -> FastAPI | None:
        # Only the API server comes here. It shall not start when it could verify nobody.
        _ = self.verifier
        join_middlewares_of_3_2()
        return super().get_fastapi_app()

    @cached_property
    def verifier(self) -> Verifier:
        return Verifier.from_environment()

    async def user_of(self, asserted: Asserted):
        raise NotImplementedError


class AirsideAuthManager(TakesAssertions, SimpleAuthManager):
    """The four roles and the teams of Airflow's SimpleAuthManager, fit for production.

    Nobody is known beforehand and nothing is stored. No password is made up, printed or written:
    a login with a password exists only where `[core] simple_auth_manager_passwords_file` names a
    file with passwords.
    """

    def init(self) -> None:
        if conf.getboolean("core", "simple_auth_manager_all_admins"):
            raise AirflowConfigException(
                "[core] simple_auth_manager_all_admins makes an Admin of everybody who comes without "
                "a token; AirsideAuthManager does not start with it."
            )
        # Not SimpleAuthManager's own, which makes passwords up.
        super(SimpleAuthManager, self).init()

    def get_fastapi_app(self) -> FastAPI | None:
        app = super().get_fastapi_app()
        return app if has_passwords() else without_login()

    async def user_of(self, asserted: Asserted) -> SimpleAuthManagerUser:
        known = [FOUR_ROLES[role] for role in asserted.roles if role in FOUR_ROLES]
        if not known:
            raise no_role(asserted)
        role = max(known, key=lambda role: role.order)
        return SimpleAuthManagerUser(
            username=asserted.sub, role=role.name, teams=list(asserted.teams)
        )


FOUR_ROLES = {role.name.capitalize(): role for role in SimpleAuthManagerRole}


def fab_auth_manager() -> type[BaseAuthManager]:
    """Makes AirsideFabAuthManager: FAB need not be installed, and is slow to import."""
    try:
        from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager
    except ImportError as error:
        raise AirflowConfigException(
            "AirsideFabAuthManager needs apache-airflow-providers-fab, which cannot be imported "
            f"({error}). Without it there is airside_auth_manager.AirsideAuthManager."
        ) from error

    class AirsideFabAuthManager(TakesAssertions, FabAuthManager):
        """FAB's users and roles: a user is found or created, and holds the asserted roles."""

        def get_fastapi_app(self) -> FastAPI | None:
            app = super().get_fastapi_app()
            self.flask_app.login_manager.request_loader(self.user_of_page)
            return app

        async def user_of(self, asserted: Asserted):
            if known := self.users.remembered(asserted):
                return known
            user = await run_in_threadpool(self.users.provide, asserted)
            # The user's own tokens follow at once. Airflow's cache belongs to this thread.
            self.cache.pop(user.id, None)
            return user

        def user_of_page(self, request):
            """The user of FAB's own pages; they are served by Flask, in a thread."""
            sent = _sent.get()
            if sent is None:
                return None
            token = request.headers["Authorization"].removeprefix("Bearer ")
            try:
                if self.verifier.keys_are_due(token):
                    self.verifier.renew_keys(token)
                asserted = self.verifier.verify(token, sent)
                return self.users.remembered(asserted) or self.users.provide(asserted)
            except (jwt.InvalidTokenError, HTTPException):
                return None

        @cached_property
        def users(self) -> FabUsers:
            return FabUsers()

    AirsideFabAuthManager.__qualname__ = AirsideFabAuthManager.__name__
    return AirsideFabAuthManager


def __getattr__(name: str):
    if name != "AirsideFabAuthManager":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, fab_auth_manager())


# --- The request --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """The request that carries an assertion, as it came over the wire."""

    method: str
    path: str


_sent: ContextVar[Sent | None] = ContextVar("airside_sent", default=None)


class AssertionMiddleware:
    """Lets an assertion be the only credential of its request, and no session come of it."""

    def __init__(self, app) -> None:
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        assertion = presented(scope["headers"]) if scope["type"] == "http" else None
        if assertion is None:
            await self.app(scope, receive, send)
            return
        headers = [header for header in scope["headers"] if header[0] not in CREDENTIALS]
        headers.append((b"authorization", b"Bearer " + assertion))
        path = scope.get("raw_path") or b""
        token = _sent.set(Sent(scope["method"], path.decode("latin-1")))
        try:
            await self.app({**scope, "headers": headers}, receive, without_sessions(send))
        finally:
            _sent.reset(token)


def presented(headers: list[tuple[bytes, bytes]]) -> bytes | None:
    """The assertion of a request, good or bad; the header counts before the bearer token. An empty one
    is none: so a proxy (Traefik) sends what airside states empty, which is that nobody is calling."""
    stated = [value for name, value in headers if name == b"x-airside-assertion" and value]
    if stated:
        # Of two, none is meant: together they verify as nothing.
        return b", ".join(stated)
    for name, value in headers:
        scheme, _, token = value.partition(b" ")
        if name == b"authorization" and scheme.lower() == b"bearer" and is_assertion(token):
            return token
    return None


def without_sessions(send):
    """Takes out cookies that would outlive the assertion: FAB's pages hand out 30 days."""

    async def cleaned(message) -> None:
        if message["type"] == "http.response.start":
            headers = [header for header in message.get("headers", ()) if not opens_session(header)]
            message = {**message, "headers": headers}
        await send(message)

    return cleaned


def opens_session(header: tuple[bytes, bytes]) -> bool:
    name, value = header
    return name.lower() == b"set-cookie" and value.split(b"=")[0].strip() in SESSIONS


def join_middlewares_of_3_2() -> None:
    """Airflow 3.2 asks auth managers for no middlewares: ours is put around those that it adds.

    It adds them after it has made the auth manager's app, where this is called, by this name.
    """
    if hasattr(BaseAuthManager, "get_fastapi_middlewares"):
        return
    stock = api_server.init_middlewares

    def init_middlewares(app: FastAPI) -> None:
        api_server.init_middlewares = stock
        stock(app)
        app.add_middleware(AssertionMiddleware)

    api_server.init_middlewares = init_middlewares


# --- The assertion ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asserted:
    """What a verified assertion says."""

    sub: str
    roles: tuple[str, ...]
    teams: tuple[str, ...]


def is_assertion(token: str | bytes) -> bool:
    """Whether a token says that it is one; nothing is verified."""
    try:
        return header_of(token).get("typ") == ASSERTION
    except jwt.InvalidTokenError:
        return False


def kid_of(token: str) -> str | None:
    try:
        return header_of(token).get("kid")
    except jwt.InvalidTokenError:
        return None


def header_of(token: str | bytes) -> dict:
    try:
        return jwt.get_unverified_header(token)
    except RecursionError as error:
        raise jwt.DecodeError("its header is too deep") from error


class Verifier:
    """Verifies assertions: airside's signature, this Airflow as the audience, this request."""

    def __init__(self, keys: KeyFile | KeyAddress, audience: str, leeway: int) -> None:
        self.keys = keys
        self.audience = audience
        self.leeway = leeway

    @classmethod
    def from_environment(cls) -> Verifier:
        place = os.environ.get("AIRSIDE_ASSERTION_PUBLIC_KEY")
        if not place:
            raise AirflowConfigException(
                "AIRSIDE_ASSERTION_PUBLIC_KEY is not set: a file with airside's public key in PEM, or "
                "the address of its /jwks.json"
            )
        keys = KeyAddress(place) if re.match("https?://", place) else KeyFile(place)
        audience = os.environ.get("AIRSIDE_ASSERTION_AUDIENCE") or "airflow"
        return cls(keys, audience, conf.getint("api_auth", "jwt_leeway"))

    def keys_are_due(self, token: str) -> bool:
        return self.keys.due(kid_of(token))

    def renew_keys(self, token: str) -> None:
        """Reads or fetches keys; a failure keeps those that there are."""
        self.keys.renew(kid_of(token))

    def verify(self, token: str, sent: Sent | None) -> Asserted:
        """What the assertion says; `InvalidTokenError` when it is not to be believed."""
        keys = self.keys.current()
        if not keys:
            raise HTTPException(503, "The keys of airside are not available.")
        try:
            claims = self.claims(token, keys)
            bound_to(claims, sent)
            return asserted(claims)
        except jwt.InvalidTokenError as error:
            # To the caller Airflow says no more than that a token is not valid.
            log.warning("An assertion of airside is refused: %s", error)
            raise

    def claims(self, token: str, keys: list[Key]) -> dict:
        header = header_of(token)
        if header.get("typ") != ASSERTION or "crit" in header:
            raise jwt.InvalidTokenError(f"no header of an assertion: {sorted(header)}")
        for key in keys:
            # The key says which algorithm, never the token.
            if header.get("alg") != key.algorithm or key.kid not in (None, header.get("kid")):
                continue
            try:
                return jwt.decode(
                    token,
                    key.public,
                    algorithms=[key.algorithm],
                    audience=self.audience,
                    issuer=ISSUER,
                    leeway=self.leeway,
                    options={"require": ["iss", "sub", "aud", "iat", "exp", "jti", "roles"]},
                )
            except jwt.InvalidSignatureError:
                continue
        raise jwt.InvalidSignatureError("no key of airside has signed it")


def asserted(claims: dict) -> Asserted:
    times = [claims["iat"], claims["exp"]]
    if any(type(time) is not int for time in times):
        raise jwt.InvalidTokenError("iat and exp are not whole numbers")
    life, teams = times[1] - times[0], claims.get("teams", [])
    for fits, what in (
        (isinstance(claims["aud"], str), "aud is not one text"),
        (is_name(claims["sub"]), "sub is not visible ASCII"),
        (isinstance(claims["jti"], str) and claims["jti"], "jti is not a text"),
        (0 < life <= LONGEST_LIFE, f"its life is not up to {LONGEST_LIFE} s"),
        (are_names(claims["roles"]) and claims["roles"], "roles are not a list of names"),
        (are_names(teams), "teams are not a list of names"),
    ):
        if not fits:
            raise jwt.InvalidTokenError(what)
    return Asserted(claims["sub"], tuple(claims["roles"]), tuple(teams))


def are_names(value: object) -> bool:
    return isinstance(value, list) and all(map(is_name, value))


def is_name(value: object) -> bool:
    """Visible ASCII, as airside makes sure of it."""
    return isinstance(value, str) and re.fullmatch("[!-~]+", value) is not None


def bound_to(claims: dict, sent: Sent | None) -> None:
    """An assertion made for one request is good for no other."""
    request = {"htm": sent and sent.method, "htu": sent and sent.path}
    for claim, here in request.items():
        if claim in claims and claims[claim] != here:
            raise jwt.InvalidTokenError(f"{claim} is {claims[claim]!r}, and the request {here!r}")


def no_role(asserted: Asserted) -> HTTPException:
    held = ", ".join(asserted.roles)
    return HTTPException(403, f"This Airflow has none of the roles of {asserted.sub}: {held}")


# --- Keys ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """A public key of airside, and what it is good for."""

    public: object
    algorithm: str
    kid: str | None

    @classmethod
    def of(cls, public: object, kid: str | None = None) -> Key:
        if isinstance(public, rsa.RSAPublicKey) and public.key_size >= 2048:
            return cls(public, "RS256", kid)
        if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name == "secp256r1":
            return cls(public, "ES256", kid)
        if isinstance(public, ed25519.Ed25519PublicKey):
            return cls(public, "EdDSA", kid)
        raise ValueError("a public key is RSA of 2048 bits or more, P-256 or Ed25519")


class KeyFile:
    """Keys in a file; `AirflowConfigException` when it cannot be read at the start."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.seen = self.state()
        try:
            self.keys = self.read()
        except (OSError, ValueError) as error:
            raise AirflowConfigException(f"AIRSIDE_ASSERTION_PUBLIC_KEY: {path}: {error}") from error

    def current(self) -> list[Key]:
        return self.keys

    def due(self, _kid: str | None) -> bool:
        return self.state() != self.seen

    def renew(self, _kid: str | None) -> None:
        # Looked at before it is read: what is written meanwhile is seen the next time.
        self.seen = self.state()
        try:
            self.keys = self.read()
            log.info("%s has changed: %d keys of airside", self.path, len(self.keys))
        except (OSError, ValueError) as error:
            log.error("%s: %s. The keys that were read before stay.", self.path, error)

    def state(self) -> tuple | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def read(self) -> list[Key]:
        with open(self.path, "rb") as file:
            text = file.read()
        blocks = [match.group() for match in re.finditer(PEM, text, re.DOTALL)]
        if not blocks or any(b" PRIVATE KEY-----" in block for block in blocks):
            raise ValueError("not one or more public keys in PEM, and nothing else")
        return [Key.of(load_pem_public_key(block)) for block in blocks]


PEM = rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----"


class KeyAddress:
    """The key set that airside publishes: fetched when it is needed, and again after a while."""

    REFRESH = 300  # seconds, after which keys that are gone there are gone here
    PAUSE = 5  # seconds between two fetches, whatever tokens claim
    STALE = 24 * 3600  # seconds for which keys serve without a further fetch
    TIMEOUT = 5  # seconds

    def __init__(self, address: str) -> None:
        self.address = address
        self.keys: list[Key] = []
        self.fetched = self.tried = float("-inf")
        self.fetching = threading.Lock()

    def current(self) -> list[Key]:
        return self.keys if time.monotonic() - self.fetched < self.STALE else []

    def due(self, kid: str | None) -> bool:
        now = time.monotonic()
        old = now - self.fetched > self.REFRESH
        return now - self.tried > self.PAUSE and (old or not self.has(kid))

    def renew(self, kid: str | None) -> None:
        # Who has a key need not wait for somebody else's fetch.
        if not self.fetching.acquire(blocking=not self.has(kid)):
            return
        try:
            if self.due(kid):
                self.fetch()
        finally:
            self.fetching.release()

    def has(self, kid: str | None) -> bool:
        return any(key.kid == kid for key in self.keys)

    def fetch(self) -> None:
        try:
            answer = httpx.get(self.address, timeout=self.TIMEOUT).raise_for_status()
            self.keys = list(published(answer.json()))
            self.fetched = time.monotonic()
        except (httpx.HTTPError, ValueError) as error:
            log.error("%s: %s. The keys that were fetched before stay.", self.address, error)
        finally:
            self.tried = time.monotonic()


def published(document: object):
    """The usable keys of a JWK Set; one that is not costs the others nothing."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a JWK Set")
    for entry in entries:
        try:
            key = Key.of(jwt.PyJWK.from_dict(entry).key, entry["kid"])
        except (jwt.PyJWTError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.info("A key in the set of airside is not used: %s", error)
            continue
        if entry.get("alg", key.algorithm) == key.algorithm:
            yield key


# --- Logins of AirsideAuthManager ---------------------------------------------------------------


def has_passwords() -> bool:
    """Whether there is a file with passwords; `AirflowConfigException` if it cannot be used."""
    path = conf.get("core", "simple_auth_manager_passwords_file", fallback=None)
    if path and not os.access(path, os.R_OK | os.W_OK):
        raise AirflowConfigException(
            f"[core] simple_auth_manager_passwords_file: {path} must exist, and Airflow opens it for "
            "reading and writing. Without this setting there is no login with a password."
        )
    return bool(path)


def without_login() -> FastAPI:
    """In the place of Airflow's login: says how to get in."""
    app = FastAPI(openapi_url=None)

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    def refuse(request: Request, path: str):
        if request.method == "GET":
            return HTMLResponse(f"<!doctype html><title>Airflow</title><p>{HOW}</p>", 403)
        return JSONResponse({"detail": HOW}, 403)

    return app


HOW = (
    "This Airflow has no login of its own. Come through airside with a token of your identity "
    "provider."
)


# --- Users of AirsideFabAuthManager -------------------------------------------------------------


class FabUsers:
    """Finds or creates FAB's user of an assertion, and gives it the asserted roles.

    A user is ours when its password is MARK, which is the hash of nothing: nobody can log in with
    it, and no form of FAB can write it. Anybody else is left alone, unless adopted: whoever may
    choose their name at the identity provider would otherwise become the local `admin`.
    """

    MARK = "!airside"
    LONGEST_NAME = 256  # what every column that holds it has room for
    ATTEMPTS = 5  # others may create or change the same user at the same moment

    def __init__(self) -> None:
        from cachetools import TTLCache

        self.known = TTLCache(maxsize=1024, ttl=conf.getint("fab", "cache_ttl", fallback=30))
        self.looking = threading.Lock()
        self.providing = threading.Lock()
        names = os.environ.get("AIRSIDE_ASSERTION_ADOPT", "").split(",")
        self.adopted = {name.strip() for name in names if name.strip()}

    def remembered(self, asserted: Asserted):
        """The user, if it was seen with these roles within `[fab] cache_ttl`."""
        with self.looking:
            roles, user = self.known.get(asserted.sub, (None, None))
        return user if roles == asserted.roles else None

    def provide(self, asserted: Asserted):
        """The user as the database has it from now on."""
        from sqlalchemy.exc import IntegrityError, OperationalError
        from sqlalchemy.orm.exc import StaleDataError

        with self.providing:
            for attempt in range(1, self.ATTEMPTS + 1):
                # Somebody may have been faster while we waited.
                if user := self.remembered(asserted):
                    return user
                try:
                    user = self.kept(asserted)
                    break
                except (IntegrityError, OperationalError, StaleDataError):
                    if attempt == self.ATTEMPTS:
                        raise
            with self.looking:
                self.known[asserted.sub] = asserted.roles, user
            return user

    def kept(self, asserted: Asserted):
        from airflow.utils.session import create_session

        with create_session(scoped=False) as session:
            roles = self.roles(session, asserted)
            user = self.found(session, asserted.sub) or self.created(session, asserted.sub)
            if {role.id for role in user.roles} != {role.id for role in roles}:
                user.roles = roles
            session.flush()
            # Everything is loaded now: the user outlives the session and is shared by threads.
            session.refresh(user)
            user._perms = {
                (permission.action.name, permission.resource.name)
                for role in user.roles
                for permission in role.permissions
            }
            return user

    def roles(self, session, asserted: Asserted) -> list:
        from airflow.providers.fab.auth_manager.models import Role
        from sqlalchemy import select

        roles = session.scalars(select(Role).where(Role.name.in_(asserted.roles))).unique().all()
        # Some databases compare without regard to case.
        roles = [role for role in roles if role.name in asserted.roles]
        unknown = set(asserted.roles) - {role.name for role in roles}
        if not roles:
            raise no_role(asserted)
        if unknown:
            log.warning("%s: FAB has no roles %s", asserted.sub, ", ".join(sorted(unknown)))
        return roles

    def found(self, session, name: str):
        from airflow.providers.fab.auth_manager.models import User
        from sqlalchemy import func, select

        # FAB's names are unique without regard to case; those of an identity provider are not.
        query = select(User).where(func.lower(User.username) == name.lower())
        user = session.scalars(query).one_or_none()
        if user is None:
            return None
        if user.username != name:
            raise HTTPException(403, f"FAB has {user.username!r}, which is not {name!r}.")
        if user.password != self.MARK and self.adopted.isdisjoint({name, "*"}):
            raise HTTPException(
                403,
                f"FAB has a user {name!r} that airside did not create. To let airside act as this "
                "user and set its roles, add the name to AIRSIDE_ASSERTION_ADOPT.",
            )
        if not user.is_active:
            raise HTTPException(403, f"FAB's user {name!r} is not active.")
        return user

    def created(self, session, name: str):
        from airflow.providers.fab.auth_manager.models import User

        if len(name) > self.LONGEST_NAME:
            raise HTTPException(403, f"A user name has up to {self.LONGEST_NAME} characters.")
        user = User()
        user.username = user.first_name = name
        user.last_name = "-"
        # FAB wants one, and no two alike; this one can never be delivered to (RFC 2606).
        user.email = f"{name}@airside.invalid"
        user.password = self.MARK
        user.active = True
        session.add(user)
        log.info("FAB has a new user: %s", name)
        return user
