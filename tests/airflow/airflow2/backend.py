"""config/airflow2/airside_auth_backend.py inside a real Airflow 2 with Flask-AppBuilder.

tests/airflow/airflow2/backend.rs runs this with Airflow's own Python, a migrated database and the
module on PYTHONPATH, as it is deployed; only the sockets are missing.
"""

import http.server
import json
import os
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import airside_auth_backend as backend
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding, NoEncryption, PrivateFormat, PublicFormat,
)

TYPE = "airside-assertion+jwt"
HOME = Path(os.environ["AIRFLOW_HOME"])
KEY_FILE = Path(os.environ["AIRSIDE_ASSERTION_PUBLIC_KEY"])
ED25519 = ed25519.Ed25519PrivateKey.generate()
P256 = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
STRANGER = ed25519.Ed25519PrivateKey.generate()
GONE = object()


def pem(*keys):
    form = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return b"".join(key.public_key().public_bytes(*form) for key in keys)


def write_keys(content):
    """As Kubernetes does: a new file in the place of the old one."""
    draft = KEY_FILE.with_suffix(".draft")
    draft.write_bytes(content)
    draft.rename(KEY_FILE)


write_keys(pem(ED25519, P256, RSA))

from airflow import settings  # noqa: E402  (the keys stand before Airflow is there)
from airflow.www.app import create_app  # noqa: E402
from sqlalchemy.orm import Session  # noqa: E402

app = create_app()
sm = app.appbuilder.sm


def claims(**changes):
    """Good claims for GET /api/v1/dags of a viewer, bent by name; GONE removes one."""
    now = int(time.time())
    good = {
        "iss": "airside", "sub": "alice", "roles": ["Viewer"], "aud": "airflow", "iat": now,
        "exp": now + 30, "jti": "0123456789abcdef", "htm": "GET", "htu": "/api/v1/dags",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not GONE}


def assertion(key=ED25519, algorithm="EdDSA", header=None, **changes):
    return jwt.encode(claims(**changes), key, algorithm, {"typ": TYPE, **(header or {})})


def ask(text, path="/api/v1/dags", method="GET", **more):
    # A client of its own for each request: nothing is kept between two.
    headers = more.pop("headers", {})
    if text is not None:
        headers = {**headers, "X-Airside-Assertion": text}
    return app.test_client().open(path, method=method, headers=headers, **more)


def ask_as(name, roles, path="/api/v1/dags", method="GET", **more):
    htu = path.partition("?")[0]
    return ask(assertion(sub=name, roles=roles, htm=method, htu=htu), path, method, **more)


@contextmanager
def database():
    """The database as another process sees and changes it."""
    with Session(settings.engine) as session, session.begin():
        yield session


def user_in(session, name):
    return session.query(sm.user_model).filter_by(username=name).one()


def roles_in_database(name):
    with database() as session:
        return sorted(role.name for role in user_in(session, name).roles)


def private(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def resigned(text, **header):
    """The same text under another header: the signature stays what it was."""
    _, payload, signature = text.split(".")
    encoded = jwt.utils.base64url_encode(json.dumps(header).encode()).decode()
    return f"{encoded}.{payload}.{signature}"


class Strictness(unittest.TestCase):
    def test_a_good_assertion_is_let_in_whatever_its_key(self):
        for key, algorithm in [(ED25519, "EdDSA"), (P256, "ES256"), (RSA, "RS256")]:
            with self.subTest(algorithm):
                self.assertEqual(ask(assertion(key, algorithm)).status_code, 200)
        self.assertEqual(ask(assertion(header={"kid": "any: a PEM has no names"})).status_code, 200)
        self.assertEqual(ask(assertion(htm=GONE, htu=GONE)).status_code, 200)

    def test_nothing_else_is(self):
        now = int(time.time())
        secret = pem(ED25519)
        good = assertion()
        head, payload, signature = good.split(".")
        hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        forged_head = jwt.utils.base64url_encode(json.dumps({"alg": "HS256", "typ": TYPE}).encode())
        forged = forged_head + b"." + payload.encode()
        by_the_public_key = forged + b"." + jwt.utils.base64url_encode(hmac.sign(forged, secret))
        cases = {
            "none": None,
            "empty": "",
            "garbage": "x.y.z",
            "two of them": f"{good},{good}",
            "no ASCII": "\u00fc.\u00fc.\u00fc",
            "a header without an end": jwt.utils.base64url_encode(b"[" * 4000).decode() + "..",
            "alg none": jwt.encode(claims(), None, "none", {"typ": TYPE}),
            "alg none over a good signature": resigned(good, alg="none", typ=TYPE),
            "HMAC by the public key": by_the_public_key.decode(),
            "HMAC by Airflow's secret": jwt.encode(claims(), app.secret_key, "HS256", {"typ": TYPE}),
            "a stranger's key": assertion(STRANGER),
            "another algorithm of the key": assertion(RSA, "RS512"),
            "PSS": assertion(RSA, "PS256"),
            "an algorithm of another key": resigned(good, alg="ES256", typ=TYPE),
            "no signature": f"{head}.{payload}.",
            "changed claims": f"{head}.{assertion(roles=['Admin']).split('.')[1]}.{signature}",
            "typ JWT": assertion(header={"typ": "JWT"}),
            "no typ": resigned(good, alg="EdDSA"),
            "crit": assertion(header={"crit": ["b64"], "b64": True}),
            "a key in the header": assertion(STRANGER, header={"jwk": {"kty": "OKP"}}),
            "claims that are a list": jwt.PyJWS().encode(b"[]", ED25519, "EdDSA", {"typ": TYPE}),
            "claims that are no JSON": jwt.PyJWS().encode(b"{", ED25519, "EdDSA", {"typ": TYPE}),
        }
        for name, wrong in {
            "iss": [GONE, "somebody", ["airside"]],
            "aud": [GONE, "another", ["airflow"], "", "airflow "],
            "sub": [GONE, "", 1, None, ["alice"]],
            "roles": [GONE, "Admin", {"Admin": 1}, [1], [""], None],
            "jti": [GONE, "", 1],
            "iat": [GONE, str(now), True, now + 25, float(now)],
            "exp": [GONE, now, now - 1, now + 301, str(now + 30), float(now + 30), now - 400],
            "htm": ["POST", "get", None],
            "htu": ["/api/v1/dags/", "/api/v1/%64ags", "/api/v1/roles", "", None],
        }.items():
            cases.update({f"{name} {value!r}": assertion(**{name: value}) for value in wrong})
        cases["an old one"] = assertion(iat=now - 40, exp=now - 10)
        for name, text in cases.items():
            with self.subTest(name):
                answer = ask(text)
                self.assertEqual(answer.status_code, 401, answer.text)

    def test_the_longest_life_and_the_widest_clock_still_count(self):
        now = int(time.time())
        self.assertEqual(ask(assertion(exp=now + 300)).status_code, 200)
        self.assertEqual(ask(assertion(iat=now + 8)).status_code, 200)

    def test_a_header_without_a_signature_is_worth_nothing(self):
        names = {"X-Airside-User": "admin", "X-Airside-Roles": "Admin", "X-Remote-User": "admin"}
        self.assertEqual(ask(None, headers=names).status_code, 401)

    def test_it_is_good_for_its_method_and_path_alone(self):
        text = assertion(roles=["Admin"], htu="/api/v1/variables")
        self.assertEqual(ask(text, "/api/v1/variables").status_code, 200)
        self.assertEqual(ask(text, "/api/v1/variables?limit=1").status_code, 200)
        self.assertEqual(ask(text, "/api/v1/connections").status_code, 401)
        body = {"key": "k", "value": "v"}
        self.assertEqual(ask(text, "/api/v1/variables", "POST", json=body).status_code, 401)
        self.assertEqual(ask(text, "/api/v1/variables", "HEAD").status_code, 401)

    def test_the_path_is_the_one_on_the_wire(self):
        encoded = "/api/v1/variables/folder%2Fleaf"
        self.assertEqual(ask_as("alice", ["Admin"], encoded).status_code, 404)
        decoded = assertion(roles=["Admin"], htu="/api/v1/variables/folder/leaf")
        self.assertEqual(ask(decoded, encoded).status_code, 401)
        # Airflow below a path: WSGI cuts it in two, the wire does not.
        below = {"SCRIPT_NAME": "/af", "RAW_URI": "/af/api/v1/dags?limit=1"}
        text = assertion(htu="/af/api/v1/dags")
        self.assertEqual(ask(text, environ_overrides=below).status_code, 200)
        self.assertEqual(ask(assertion(), environ_overrides=below).status_code, 401)
        self.assertEqual(ask(assertion(), environ_overrides={"RAW_URI": ""}).status_code, 401)


class Users(unittest.TestCase):
    def test_the_first_request_makes_the_user_and_each_one_sets_its_roles(self):
        variable = {"key": "of-bob", "value": "x"}
        for roles, status in [
            (["Viewer"], 403), (["Op"], 200), (["Viewer"], 403), (["Viewer", "Op"], 200), ([], 403),
        ]:
            answer = ask_as("bob", roles, "/api/v1/variables", "POST", json=variable)
            self.assertEqual(answer.status_code, status, answer.text)
            self.assertEqual(roles_in_database("bob"), sorted(roles))

    def test_unknown_roles_are_ignored_and_said(self):
        with self.assertLogs("airside_auth_backend", "WARNING") as said:
            answer = ask_as("carol", ["Viewer", "Captain", "admin"])
        self.assertEqual(answer.status_code, 200)
        self.assertEqual(roles_in_database("carol"), ["Viewer"])
        self.assertEqual(len(said.output), 2, said.output)
        self.assertIn("'Captain'", "".join(said.output))
        answer = ask_as("carol", ["Captain"])
        self.assertEqual((answer.status_code, answer.json["title"]), (403, "Forbidden"))
        self.assertEqual(roles_in_database("carol"), [])

    def test_a_role_of_ones_own_counts(self):
        with app.app_context():
            read = sm.get_permission("can_read", "DAGs")
            sm.bulk_sync_roles([{"role": "Reader", "perms": [("can_read", "DAGs")]}])
            self.assertIn(read, sm.find_role("Reader").permissions)
        self.assertEqual(ask_as("dora", ["Reader"]).status_code, 200)
        self.assertEqual(ask_as("dora", ["Reader"], "/api/v1/pools").status_code, 403)

    def test_a_user_made_here_has_no_password_and_nobodys_address(self):
        self.assertEqual(ask_as("erin", ["Viewer"]).status_code, 200)
        with app.test_request_context():
            for password in ["", "!", "erin", "password"]:
                self.assertIsNone(sm.auth_user_db("erin", password), password)
            self.assertEqual(sm.find_user("erin").email, "erin@airside.invalid")
        # Airflow's own API can show such a user.
        shown = ask_as("root", ["Admin"], "/auth/fab/v1/users/erin")
        self.assertEqual((shown.status_code, shown.json["last_name"]), (200, "(airside)"))

    def test_a_user_that_was_switched_off_stays_off(self):
        self.assertEqual(ask_as("frank", ["Viewer"]).status_code, 200)
        with database() as session:
            user_in(session, "frank").active = False
        self.assertEqual(ask_as("frank", ["Admin"]).status_code, 401)
        self.assertEqual(roles_in_database("frank"), ["Viewer"])

    def test_many_first_requests_at_once_make_one_user(self):
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: ask_as("grace", ["Op"]).status_code, range(12)))
        self.assertEqual(answers, [200] * 12)
        with database() as session:
            self.assertEqual(session.query(sm.user_model).filter_by(username="grace").count(), 1)
        self.assertEqual(roles_in_database("grace"), ["Op"])

    def test_what_another_process_made_a_moment_ago_is_found(self):
        """The race itself: nobody there when looked, somebody there when made."""
        self.assertEqual(ask_as("heidi", ["Viewer"]).status_code, 200)
        find, late = sm.find_user, [None]
        look = lambda **who: late.pop() if late else find(**who)  # noqa: E731
        with mock.patch.object(sm, "find_user", look):
            self.assertEqual(ask_as("heidi", ["Op"]).status_code, 200)
        self.assertEqual((late, roles_in_database("heidi")), ([], ["Op"]))

    def test_a_database_that_refuses_is_no_entry(self):
        with mock.patch.object(sm, "update_user", lambda _: sm.get_session.rollback()):
            self.assertEqual(ask_as("ivan", ["Admin"]).status_code, 401)
        self.assertEqual(roles_in_database("ivan"), [])

    def test_the_roles_of_another_request_do_not_reach_into_this_one(self):
        text = assertion(sub="judy", roles=["Viewer"])
        with app.test_request_context("/api/v1/dags", headers={"X-Airside-Assertion": text}):
            let_in = backend.requires_authentication(backend.Response)()
            self.assertEqual(let_in.status_code, 200)
            with database() as session:
                admin = session.query(sm.role_model).filter_by(name="Admin").one()
                user_in(session, "judy").roles = [admin]
            manager = backend.get_auth_manager()
            self.assertEqual(manager.get_user_name(), "judy")
            self.assertTrue(manager.is_authorized_dag(method="GET"))
            self.assertFalse(manager.is_authorized_variable(method="POST"))

    def test_no_session_says_who_called(self):
        roles = "/auth/fab/v1/roles"
        client = app.test_client()
        text = assertion(sub="root", roles=["Admin"], htu=roles)
        self.assertEqual(client.get(roles, headers={"X-Airside-Assertion": text}).status_code, 200)
        # Whatever cookie that set, it opens nothing.
        self.assertEqual(client.get(roles).status_code, 401)

    def test_the_assertion_counts_and_not_a_session_beside_it(self):
        self.assertEqual(ask_as("root", ["Admin"]).status_code, 200)
        with app.app_context():
            admin = sm.find_user("root").id
        client = app.test_client()
        with client.session_transaction() as session:
            session.update({"_user_id": admin, "_fresh": True})
        self.assertEqual(client.get("/auth/fab/v1/roles").status_code, 200)
        text = assertion(htu="/auth/fab/v1/roles")
        answer = client.get("/auth/fab/v1/roles", headers={"X-Airside-Assertion": text})
        self.assertEqual(answer.status_code, 403)


class KeysAtAPlace(unittest.TestCase):
    def tearDown(self):
        write_keys(pem(ED25519, P256, RSA))

    def test_a_file_is_read_again_when_it_changes(self):
        new = ed25519.Ed25519PrivateKey.generate()
        self.assertEqual(ask(assertion(new)).status_code, 401)
        write_keys(pem(ED25519, new))
        self.assertEqual(ask(assertion(new)).status_code, 200)
        self.assertEqual(ask(assertion()).status_code, 200)
        write_keys(pem(new))
        self.assertEqual(ask(assertion()).status_code, 401)

    def test_a_bad_file_leaves_the_keys_that_were_there_and_is_said(self):
        small = rsa.generate_private_key(65537, 1024)
        p384 = ec.generate_private_key(ec.SECP384R1())
        for what, content in {
            "empty": b"",
            "half": pem(ED25519)[:60],
            "no key in it": pem(ED25519).replace(b"MCow", b"MAAA"),
            "a private key": pem(ED25519) + private(ED25519),
            "RSA of 1024 bits": pem(small),
            "another curve": pem(p384),
        }.items():
            with self.subTest(what):
                with self.assertLogs("airside_auth_backend", "ERROR") as said:
                    write_keys(content)
                    self.assertEqual(ask(assertion()).status_code, 200)
                self.assertIn(str(KEY_FILE), said.output[0])
        KEY_FILE.unlink()
        self.assertEqual(ask(assertion()).status_code, 200)

    def test_no_key_lets_nobody_in(self):
        keys = backend.Keys.at(str(HOME / "missing.pem"))
        self.assertEqual(keys.fitting("EdDSA", None), [])

    def test_airflow_does_not_start_without_a_place(self):
        with mock.patch.dict(os.environ, {"AIRSIDE_ASSERTION_PUBLIC_KEY": ""}):
            with self.assertRaisesRegex(Exception, "AIRSIDE_ASSERTION_PUBLIC_KEY"):
                backend.init_app(app)

    def test_a_key_set_is_fetched_when_it_is_due_or_a_name_is_unknown(self):
        first, second = (ed25519.Ed25519PrivateKey.generate() for _ in range(2))
        published = {"keys": [entry(first, "one")]}
        with serving(lambda: (200, published)) as (url, asked), trusting(url):
            self.assertEqual(ask(assertion(first, header={"kid": "one"})).status_code, 200)
            self.assertEqual(ask(assertion(first, header={"kid": "one"})).status_code, 200)
            self.assertEqual(len(asked), 1)
            published["keys"].append(entry(second, "two"))
            # A stranger cannot make it ask at will.
            for _ in range(3):
                self.assertEqual(ask(assertion(second, header={"kid": "two"})).status_code, 401)
            self.assertEqual(len(asked), 1)
            with mock.patch.object(backend, "COOLDOWN", 0):
                self.assertEqual(ask(assertion(second, header={"kid": "two"})).status_code, 200)
            # The name belongs to the key.
            self.assertEqual(ask(assertion(first, header={"kid": "two"})).status_code, 401)
            published["keys"] = [entry(second, "two")]
            with mock.patch.object(backend, "REFRESH", 0):
                self.assertEqual(ask(assertion(first, header={"kid": "one"})).status_code, 401)

    def test_one_bad_entry_does_not_cost_the_others(self):
        secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "secret", "alg": "HS256"}
        others = [
            secret, {}, "text", {"kty": "OKP", "crv": "X25519", "x": "AAAA"},
            {**entry(RSA, "rsa"), "alg": "RS512"}, {**entry(STRANGER, "enc"), "use": "enc"},
        ]
        published = {"keys": [*others, entry(ED25519, "one")]}
        with serving(lambda: (200, published)) as (url, _), trusting(url):
            self.assertEqual(ask(assertion(header={"kid": "one"})).status_code, 200)
            self.assertEqual(ask(assertion(STRANGER, header={"kid": "enc"})).status_code, 401)
            self.assertEqual(ask(assertion(RSA, "RS256", {"kid": "rsa"})).status_code, 401)
            by_secret = jwt.encode(claims(), "secret", "HS256", {"typ": TYPE, "kid": "secret"})
            self.assertEqual(ask(by_secret).status_code, 401)

    def test_an_address_that_fails_leaves_the_keys_for_a_day(self):
        answer = [(200, {"keys": [entry(ED25519, "one")]})]
        with serving(lambda: answer[0]) as (url, asked), trusting(url):
            self.assertEqual(ask(assertion()).status_code, 200)
            with mock.patch.object(backend, "REFRESH", 0):
                for bad in [(500, {}), (302, {}), (200, {"keys": []}), (200, []), (200, {"no": 1})]:
                    answer[0] = bad
                    with self.assertLogs("airside_auth_backend", "ERROR"):
                        self.assertEqual(ask(assertion()).status_code, 200, bad)
                self.assertEqual(len(asked), 6)
                with mock.patch.object(backend.Address, "stale", -1):
                    self.assertEqual(ask(assertion()).status_code, 401)

    def test_an_address_where_nobody_is_lets_nobody_in(self):
        # Port 1 of this machine: nothing listens there, and connecting is refused at once.
        with trusting("http://127.0.0.1:1/jwks.json"):
            self.assertEqual(ask(assertion()).status_code, 401)


def entry(key, kid):
    algorithm = {
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
    }
    found = next(made for kind, made in algorithm.items() if isinstance(key, kind))
    return {**json.loads(found.to_jwk(key.public_key())), "kid": kid, "use": "sig"}


@contextmanager
def serving(answer):
    """A key set on loopback: its address and the list of what was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            status, document = answer()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/jwks.json", asked
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def trusting(url):
    """Airflow as it is when its variable names this address."""
    before = app.extensions[backend.__name__]
    with mock.patch.dict(os.environ, {"AIRSIDE_ASSERTION_PUBLIC_KEY": url}):
        backend.init_app(app)
    try:
        yield
    finally:
        app.extensions[backend.__name__] = before


if __name__ == "__main__":
    unittest.main()
