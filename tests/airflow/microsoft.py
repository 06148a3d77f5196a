"""Signs in at `airside dev` with Microsoft's own clients and calls Airflow with what they got:
microsoft.py STATE CLIENT_ID FLOW... Prints by flow what it saw, as JSON."""

from __future__ import annotations

import hashlib
import html.parser
import json
import ssl
import sys
import threading
import urllib.parse
import urllib.request
import uuid
import warnings
from pathlib import Path

import azure.identity as azure
import jwt
import msal
import requests
from azure.core.exceptions import ClientAuthenticationError

TENANT = "aaaabbbb-0000-cccc-1111-dddd2222eeee"
API = "api://11112222-bbbb-3333-cccc-4444dddd5555"
PUBLIC_CLIENT = "22223333-cccc-4444-dddd-5555eeee6666"
SCOPE = f"{API}/.default"


class Refused(Exception):
    """A client was refused; the argument is what it says of that."""


class Dev:
    """The running `airside dev`, and the application that is played here."""

    def __init__(self, state: str, client_id: str) -> None:
        self.state = json.loads(Path(state).read_text())
        self.client_id = client_id
        self.secret = self.state["mint_secret"]
        self.authority = f"{self.state['issuer_tls']}/{TENANT}"
        # An authority that Microsoft does not know, and its certificate.
        self.msal = {"instance_discovery": False, "verify": self.state["ca_file"]}
        self.azure = {
            "authority": self.state["issuer_tls"],
            "disable_instance_discovery": True,
            "connection_verify": self.state["ca_file"],
        }

    def file(self, name: str) -> str:
        return Path(self.state[name]).read_text()


def main() -> None:
    state, client_id, *flows = sys.argv[1:]
    # MSAL warns of what is asked of it on purpose here.
    warnings.simplefilter("ignore")
    dev = Dev(state, client_id)
    print(json.dumps({flow: seen(dev, FLOWS[flow]) for flow in flows}))


def seen(dev: Dev, flow) -> dict:
    try:
        token = flow(dev)
    except Refused as refused:
        return {"refused": refused.args[0]}
    except ClientAuthenticationError as refused:
        return {"refused": {"error": type(refused).__name__, "error_description": str(refused)}}
    return token if isinstance(token, dict) else called(dev, token)


def called(dev: Dev, token: str) -> dict:
    """What Airflow makes of the token: who that is, and whether they may write a variable."""
    airflow = requests.Session()
    airflow.headers["Authorization"] = f"Bearer {token}"
    me = airflow.get(f"{dev.state['proxy']}/ui/auth/me")
    if not me.ok:
        return {"status": me.status_code, "reason": me.json()["reason"]}
    variable = {"key": f"of Microsoft's client {uuid.uuid4()}", "value": "some value"}
    written = airflow.post(f"{dev.state['proxy']}/api/v2/variables", json=variable)
    claims = jwt.decode(token, options={"verify_signature": False})
    return {
        "client": claims.get("azp", claims.get("appid")),
        "proof": claims.get("azpacr", claims.get("appidacr")),
        "airflow_knows_them_by_oid": me.json()["id"] == claims["oid"],
        "roles": claims.get("roles"),
        "writing": written.status_code,
    } | {name: claims[name] for name in ("scp", "xms_mirid", "preferred_username") if name in claims}


def by_msal(result: dict) -> str:
    if "error" in result:
        raise Refused({name: result[name] for name in ("error", "error_description")})
    return result["access_token"]


def application(dev: Dev, credential, scope: str = SCOPE) -> str:
    """An application with MSAL; the second time the token comes from its cache."""
    app = msal.ConfidentialClientApplication(
        dev.client_id, client_credential=credential, authority=dev.authority, **dev.msal
    )
    token = by_msal(app.acquire_token_for_client([scope]))
    assert app.acquire_token_for_client([scope])["access_token"] == token
    return token


def msal_secret(dev: Dev) -> str:
    return application(dev, dev.secret)


def msal_thumbprint(dev: Dev) -> str:
    pem = dev.file("client_certificate_file")
    certificate = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE"):])
    thumbprint = hashlib.sha1(certificate).hexdigest()
    return application(dev, {"private_key": pem, "thumbprint": thumbprint})


def msal_certificate(dev: Dev) -> str:
    pem = dev.file("client_certificate_file")
    return application(dev, {"private_key": pem, "public_certificate": pem})


def msal_assertion(dev: Dev) -> str:
    return application(dev, {"client_assertion": lambda: dev.file("federated_token_file")})


def msal_wrong_secret(dev: Dev) -> str:
    return application(dev, "a guess")


def msal_wrong_scope(dev: Dev) -> str:
    return application(dev, dev.secret, f"{API}/access_as_user")


def msal_wrong_resource(dev: Dev) -> str:
    return application(dev, dev.secret, "api://another/.default")


def msal_wrong_assertion(dev: Dev) -> str:
    token = jwt.encode({"iss": "a", "sub": "b", "aud": "c", "exp": 1}, "k" * 32, "HS256")
    return application(dev, {"client_assertion": lambda: token})


def msal_machine(_: Dev) -> str:
    identity = msal.ManagedIdentityClient(
        msal.SystemAssignedManagedIdentity(), http_client=requests.Session()
    )
    return by_msal(identity.acquire_token_for_client(resource=API))


def azure_secret(dev: Dev) -> str:
    credential = azure.ClientSecretCredential(TENANT, dev.client_id, dev.secret, **dev.azure)
    return credential.get_token(SCOPE).token


def azure_wrong_secret(dev: Dev) -> str:
    credential = azure.ClientSecretCredential(TENANT, dev.client_id, "a guess", **dev.azure)
    return credential.get_token(SCOPE).token


def azure_certificate(dev: Dev) -> str:
    file = dev.state["client_certificate_file"]
    credential = azure.CertificateCredential(TENANT, dev.client_id, file, **dev.azure)
    return credential.get_token(SCOPE).token


def azure_workload(dev: Dev) -> str:
    credential = azure.WorkloadIdentityCredential(
        tenant_id=TENANT, client_id=dev.client_id,
        token_file_path=dev.state["federated_token_file"], **dev.azure,
    )
    return credential.get_token(SCOPE).token


def azure_machine(_: Dev) -> str:
    return azure.ManagedIdentityCredential().get_token(SCOPE).token


def azure_assigned(dev: Dev) -> str:
    return azure.ManagedIdentityCredential(client_id=dev.client_id).get_token(SCOPE).token


def azure_environment(_: Dev) -> str:
    return azure.EnvironmentCredential().get_token(SCOPE).token


def azure_from_file(_: Dev) -> str:
    """WorkloadIdentityCredential as Azure's webhook sets a pod up for it."""
    return azure.WorkloadIdentityCredential().get_token(SCOPE).token


def azure_default(_: Dev) -> str:
    return azure.DefaultAzureCredential().get_token(SCOPE).token


def person(dev: Dev, name: str, **changes) -> dict:
    """What a program gets for a person who signs in in a browser; one GET stands for that."""
    app = msal.PublicClientApplication(PUBLIC_CLIENT, authority=dev.authority, **dev.msal)
    flow = app.initiate_auth_code_flow(
        [f"{API}/access_as_user"], redirect_uri="http://localhost:5000/callback"
    )
    answer = browser(dev, flow["auth_uri"], name)
    location = urllib.parse.urlsplit(answer.headers["Location"])
    assert location._replace(query="").geturl() == flow["redirect_uri"]
    sent = dict(urllib.parse.parse_qsl(location.query))
    result = app.acquire_token_by_auth_code_flow(flow | changes, sent)
    by_msal(result)
    (account,) = app.get_accounts()
    again = app.acquire_token_silent([f"{API}/access_as_user"], account=account)
    assert again["access_token"] == result["access_token"]
    assert account["username"] == f"{name}@contoso.example"
    identified(dev, result)
    return result


def browser(dev: Dev, url: str, name: str) -> requests.Response:
    credentials = (name, dev.secret)
    ca = dev.state["ca_file"]
    return requests.get(url, auth=credentials, verify=ca, allow_redirects=False)


def identified(dev: Dev, result: dict) -> None:
    """Verifies the ID token as the application should, which MSAL leaves to it."""
    tls = ssl.create_default_context(cafile=dev.state["ca_file"])
    metadata = f"{dev.authority}/v2.0/.well-known/openid-configuration"
    with urllib.request.urlopen(metadata, context=tls) as answer:
        metadata = json.load(answer)
    token = result["id_token"]
    key = jwt.PyJWKClient(metadata["jwks_uri"], ssl_context=tls).get_signing_key_from_jwt(token)
    claims = jwt.decode(
        token, key, ["RS256"], audience=PUBLIC_CLIENT, issuer=metadata["issuer"],
        options={"require": ["exp", "iat", "nbf", "sub", "oid", "tid", "nonce"]},
    )
    assert claims == result["id_token_claims"]


def msal_person(dev: Dev) -> str:
    return person(dev, "alice")["access_token"]


def msal_another_person(dev: Dev) -> str:
    return person(dev, "victor")["access_token"]


def msal_stranger(dev: Dev) -> str:
    return person(dev, "mallory")["access_token"]


def msal_id_token(dev: Dev) -> str:
    """The token that says who signed in, sent where the other one belongs."""
    return person(dev, "alice")["id_token"]


def msal_wrong_verifier(dev: Dev) -> dict:
    return person(dev, "alice", code_verifier="a" * 43)


def msal_interactive(dev: Dev) -> str:
    """MSAL's own listener waits for the code; the page that a browser would load posts it."""
    app = msal.PublicClientApplication(PUBLIC_CLIENT, authority=dev.authority, **dev.msal)

    def browse(url: str) -> None:
        page = Page()
        page.feed(browser(dev, url, "alice").text)
        requests.post(page.action, data=page.inputs)

    result = app.acquire_token_interactive(
        [f"{API}/access_as_user"], timeout=60,
        # As a browser does, beside MSAL, which begins to listen afterwards.
        auth_uri_callback=lambda url: threading.Thread(target=browse, args=[url]).start(),
    )
    return by_msal(result)


class Page(html.parser.HTMLParser):
    """The one form of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.action, self.inputs = "", {}

    def handle_starttag(self, tag: str, attrs: list) -> None:
        attributes = dict(attrs)
        if tag == "form":
            self.action = attributes["action"]
        elif tag == "input":
            self.inputs[attributes["name"]] = attributes["value"]


def strict(dev: Dev) -> dict:
    """What a client sees that takes certificates as strictly as Python does from 3.13 on."""
    tls = ssl.create_default_context(cafile=dev.state["ca_file"])
    tls.verify_flags |= ssl.VERIFY_X509_STRICT
    endpoints = {}
    for name in ("127.0.0.1", "localhost"):
        origin = dev.state["issuer_tls"].replace("127.0.0.1", name)
        metadata = f"{origin}/{TENANT}/v2.0/.well-known/openid-configuration"
        with urllib.request.urlopen(metadata, context=tls) as answer:
            endpoint = json.load(answer)["token_endpoint"]
        endpoints[name] = endpoint.startswith(f"{origin}/")
    return endpoints


FLOWS = {name: flow for name, flow in globals().items()
         if name.startswith(("msal_", "azure_")) or name == "strict"}


if __name__ == "__main__":
    main()
