//! The authorization endpoint: a person signs in with one GET, and the application gets a code.
//!
//! Who signs in is said with HTTP's own Basic scheme (a browser asks for it by itself): the name of
//! a person and the secret of this run. There are no pages, no consent, and no session.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::error::Unspecified;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{AUTHORIZATION, LOCATION, WWW_AUTHENTICATE};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::directory::Directory;
use super::form::Form;
use super::mint::{API_CLIENT_ID, MintSecret, PUBLIC_CLIENT_ID, random_id};
use super::refusal::Refusal;
use super::serve::{Answer, text};
use crate::loopback::is_loopback_authority;

/// A person who has signed in, as a code stands for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SignIn {
    /// The name.
    pub(super) person: String,
    /// The application that asked.
    pub(super) client_id: String,
    /// Where the code was sent.
    pub(super) redirect_uri: String,
    /// What was asked for.
    pub(super) scope: String,
    /// To be said in the ID token.
    pub(super) nonce: Option<String>,
    /// The hash of the verifier that the application keeps (RFC 7636).
    challenge: String,
}

impl SignIn {
    /// Whether this is the verifier that the application began with.
    pub(super) fn is_verified_by(&self, verifier: &str) -> bool {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) == self.challenge
    }
}

/// The codes that were given out and have not expired.
#[derive(Default)]
pub(super) struct Codes(Mutex<HashMap<String, Code>>);

struct Code {
    expires: u64,
    /// None once it was redeemed.
    sign_in: Option<SignIn>,
}

impl Codes {
    fn issue(&self, sign_in: SignIn, now: u64) -> Result<String, Unspecified> {
        let code = random_id(32)?;
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|_, code| now < code.expires);
        let issued = Code { expires: now.saturating_add(LIFETIME), sign_in: Some(sign_in) };
        codes.insert(code.clone(), issued);
        Ok(code)
    }

    /// What the code stands for. It is used up by the first who tries, whatever becomes of that.
    pub(super) fn redeem(&self, code: &str, now: u64) -> Result<SignIn, Refusal> {
        let refused = |number, text: &str| Err(Refusal::new("invalid_grant", number, text));
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = codes.get_mut(code) else {
            return refused(70_000, "Provided grant is invalid or malformed.");
        };
        if found.expires <= now {
            return refused(70_008, "The provided authorization code has expired.");
        }
        match found.sign_in.take() {
            Some(sign_in) => Ok(sign_in),
            None => refused(54_005, "OAuth2 Authorization code was already redeemed."),
        }
    }
}

/// Answers `GET /authorize`.
pub(super) fn authorize(
    request: &Request<Bytes>,
    directory: &Directory,
    secret: &MintSecret,
    codes: &Codes,
    now: u64,
) -> Answer {
    let form = Form::parse(request.uri().query().unwrap_or_default().as_bytes());
    // Until these two are known to be good, nothing may be sent anywhere.
    let client = match Client::of(&form) {
        Ok(client) => client,
        Err(refusal) => return refusal.answer(),
    };
    let Some((person, password)) = basic(request.headers()) else {
        return sign_in_first(directory);
    };
    if !secret.is(&password) {
        return sign_in_first(directory);
    }
    let code = directory
        .person(&person)
        .and_then(|_| client.sign_in(person, &form))
        .and_then(|sign_in| Ok(codes.issue(sign_in, now)?));
    client.answer(&form, code)
}

/// What a scope asks for beside a token for an API.
const RESERVED_SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// Entra's codes last ten minutes, the most that RFC 6749 (4.1.2) recommends. In seconds.
const LIFETIME: u64 = 600;

/// The base64url of a SHA-256.
const CHALLENGE_LENGTH: usize = 43;

/// The application that asks, at an address that may hear from us.
struct Client<'f> {
    id: &'f str,
    redirect_uri: &'f str,
}

impl<'f> Client<'f> {
    fn of(form: &'f Form) -> Result<Self, Refusal> {
        let id = form.required("client_id")?;
        if id != PUBLIC_CLIENT_ID {
            return Err(Refusal::unknown_application(id));
        }
        let redirect_uri = form.required("redirect_uri")?;
        if !is_on_this_machine(redirect_uri) {
            let text = format!(
                "The redirect URI '{redirect_uri}' specified in the request does not match the \
                 redirect URIs configured for the application '{id}': http on a loopback name."
            );
            return Err(Refusal::new("invalid_request", 50_011, text));
        }
        Ok(Self { id, redirect_uri })
    }

    fn sign_in(&self, person: String, form: &Form) -> Result<SignIn, Refusal> {
        if form.required("response_type")? != "code" {
            let text = "The response_type is not enabled for the application.";
            return Err(Refusal::new("unsupported_response_type", 700_054, text));
        }
        let scope = form.required("scope")?;
        judge_scope(self.id, scope)?;
        if form.get("code_challenge_method") != Some("S256") {
            let text = "Proof Key for Code Exchange with the method S256 is required.";
            return Err(Refusal::new("invalid_request", 9_002_325, text));
        }
        let challenge = form.required("code_challenge")?;
        if challenge.len() != CHALLENGE_LENGTH {
            let text = "Invalid size of Code_Challenge parameter.";
            return Err(Refusal::new("invalid_request", 501_491, text));
        }
        Ok(SignIn {
            person,
            client_id: self.id.to_owned(),
            redirect_uri: self.redirect_uri.to_owned(),
            scope: scope.to_owned(),
            nonce: form.get("nonce").map(str::to_owned),
            challenge: challenge.to_owned(),
        })
    }

    /// Sends the code, or the refusal, to the application by way of the browser.
    fn answer(&self, form: &Form, code: Result<String, Refusal>) -> Answer {
        let mut parameters = match code {
            Ok(code) => vec![("code", code)],
            Err(refusal) => vec![
                ("error", refusal.error().to_owned()),
                ("error_description", refusal.description()),
            ],
        };
        parameters.extend(form.get("state").map(|state| ("state", state.to_owned())));
        match form.get("response_mode") {
            None | Some("query") => redirect(self.redirect_uri, &parameters),
            Some("form_post") => form_post(self.redirect_uri, &parameters),
            Some(_) => {
                let text = "The response_mode is not supported: query or form_post.";
                Refusal::new("invalid_request", 70_007, text).answer()
            }
        }
    }
}

/// A native application listens on this machine (RFC 8252, section 7.3), on any port and path.
fn is_on_this_machine(url: &str) -> bool {
    let is_local = |url: Uri| {
        url.scheme() == Some(&Scheme::HTTP)
            && url.authority().map(Authority::as_str).is_some_and(is_loopback_authority)
    };
    // The parser drops a fragment, in which everything appended would be lost.
    !url.contains('#') && url.parse().is_ok_and(is_local)
}

/// A token for our API must be asked for, and what is asked for must exist there.
fn judge_scope(client: &str, scope: &str) -> Result<(), Refusal> {
    let mut wanted = scope.split(' ').filter(|scope| !RESERVED_SCOPES.contains(scope)).peekable();
    if wanted.peek().is_none() {
        let text = format!("The scope has none of api://{API_CLIENT_ID}; it is '{scope}'.");
        return Err(Refusal::new("invalid_scope", 70_011, text));
    }
    let exists = |scope: &&str| {
        let scope = scope.strip_prefix("api://").unwrap_or(scope);
        scope.split_once('/').is_some_and(|(api, permission)| {
            api == API_CLIENT_ID && ["access_as_user", ".default"].contains(&permission)
        })
    };
    match wanted.find(|scope| !exists(scope)) {
        None => Ok(()),
        Some(scope) => {
            let text = format!(
                "The application '{client}' asked for scope '{scope}' that doesn't exist on the \
                 resource 'api://{API_CLIENT_ID}'."
            );
            Err(Refusal::new("invalid_client", 650_053, text))
        }
    }
}

/// Name and password of HTTP's Basic scheme (RFC 7617).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| (name.to_owned(), password.to_owned()))
}

/// Has the browser ask for name and password.
fn sign_in_first(directory: &Directory) -> Answer {
    let people: Vec<_> = directory.people().collect();
    let people = people.join(", ");
    let body = format!("Sign in as one of {people}; the password is the secret of this run.\n");
    let mut answer = text(StatusCode::UNAUTHORIZED, "text/plain", body);
    let challenge = HeaderValue::from_static(r#"Basic realm="airside dev", charset="UTF-8""#);
    answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    answer
}

fn redirect(to: &str, parameters: &[(&str, String)]) -> Answer {
    let encoded = |(name, value): &(&str, String)| {
        format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
    };
    let sent: Vec<_> = parameters.iter().map(encoded).collect();
    let separator = if to.contains('?') { '&' } else { '?' };
    let location = format!("{to}{separator}{}", sent.join("&"));
    match HeaderValue::try_from(location) {
        Ok(location) => {
            let mut answer = text(StatusCode::FOUND, "text/plain", String::new());
            answer.headers_mut().insert(LOCATION, location);
            answer
        }
        Err(_) => Refusal::new("invalid_request", 50_011, "The redirect URI is no URI.").answer(),
    }
}

/// A form that sends itself, which is how MSAL for Python wants it since 2026.
fn form_post(to: &str, parameters: &[(&str, String)]) -> Answer {
    let input = |(name, value): &(&str, String)| {
        format!(r#"<input type="hidden" name="{name}" value="{}">"#, escaped(value))
    };
    let inputs: Vec<_> = parameters.iter().map(input).collect();
    let page = format!(
        r#"<!doctype html><title>airside dev</title><form method="post" action="{}">{}<button>Continue</button></form><script>document.forms[0].submit()</script>"#,
        escaped(to),
        inputs.concat(),
    );
    text(StatusCode::OK, "text/html", page)
}

/// `text` as a value of an HTML attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A person who has just signed in, and the code for it, as a test needs them.
#[cfg(test)]
pub(super) mod tests {
    use http::header::CACHE_CONTROL;
    use http_body_util::BodyExt as _;

    use super::*;

    pub(in super::super) const NOW: u64 = 1_800_000_000;
    pub(in super::super) const REDIRECT_URI: &str = "http://localhost:5000/callback?tab=1";
    pub(in super::super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    /// Of that verifier (RFC 7636, appendix B).
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    /// The query of a good request, with `changes` replacing and None removing parameters.
    fn query(changes: &[(&str, Option<&str>)]) -> String {
        let scope = format!("openid profile api://{API_CLIENT_ID}/access_as_user");
        let mut parameters = vec![
            ("client_id", PUBLIC_CLIENT_ID),
            ("response_type", "code"),
            ("redirect_uri", REDIRECT_URI),
            ("scope", &scope),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("state", "a \"<b>&"),
            ("nonce", "n"),
        ];
        for (name, value) in changes {
            parameters.retain(|(known, _)| known != name);
            parameters.extend(value.map(|value| (*name, value)));
        }
        let encoded = |(name, value): &(&str, &str)| {
            format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
        };
        parameters.iter().map(encoded).collect::<Vec<_>>().join("&")
    }

    struct Scene {
        secret: MintSecret,
        codes: Codes,
    }

    impl Scene {
        fn new() -> Self {
            Self { secret: MintSecret::generate().unwrap(), codes: Codes::default() }
        }

        fn asked(&self, who: &str, changes: &[(&str, Option<&str>)]) -> Answer {
            let credential = STANDARD.encode(format!("{who}:{}", self.secret.expose()));
            let request = Request::get(format!("/authorize?{}", query(changes)))
                .header(AUTHORIZATION, format!("Basic {credential}"))
                .body(Bytes::new())
                .unwrap();
            self.answered(&request)
        }

        fn answered(&self, request: &Request<Bytes>) -> Answer {
            authorize(request, &Directory::new(Some), &self.secret, &self.codes, NOW)
        }
    }

    /// Codes, and one of them that stands for alice, who asked for `scope`.
    pub(in super::super) fn code_of_alice(scope: Option<&str>) -> (Codes, String) {
        let scene = Scene::new();
        let changes = scope.map(|scope| ("scope", Some(scope)));
        let answer = scene.asked("alice", changes.as_slice());
        (scene.codes, parameter(&answer, "code").unwrap())
    }

    /// A parameter of the URL to which an answer redirects.
    fn parameter(answer: &Answer, name: &str) -> Option<String> {
        let location = answer.headers().get(LOCATION)?.to_str().ok()?;
        let sent = location.strip_prefix(REDIRECT_URI)?.strip_prefix('&')?;
        Form::parse(sent.as_bytes()).get(name).map(str::to_owned)
    }

    fn body(answer: Answer) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(answer.into_body().collect()).unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[test]
    fn a_person_who_signs_in_is_sent_back_with_a_code_that_works_once() {
        let scene = Scene::new();
        let answer = scene.asked("alice", &[]);
        assert_eq!(answer.status(), 302);
        assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(parameter(&answer, "state").unwrap(), "a \"<b>&");
        let code = parameter(&answer, "code").unwrap();
        let sign_in = scene.codes.redeem(&code, NOW).unwrap();
        assert_eq!(
            (sign_in.person.as_str(), sign_in.redirect_uri.as_str()),
            ("alice", REDIRECT_URI)
        );
        assert!(sign_in.is_verified_by(VERIFIER) && !sign_in.is_verified_by(CHALLENGE));
        assert_eq!(scene.codes.redeem(&code, NOW).unwrap_err().code(), 54_005);
        assert_eq!(scene.codes.redeem("another", NOW).unwrap_err().code(), 70_000);
    }

    #[test]
    fn a_code_lasts_ten_minutes() {
        for (seconds, expected) in [(599, None), (600, Some(70_008))] {
            let (codes, code) = code_of_alice(None);
            let refusal = codes.redeem(&code, NOW + seconds).err();
            assert_eq!(refusal.map(|refusal| refusal.code()), expected, "{seconds}");
        }
    }

    #[test]
    fn nobody_gets_a_code_without_the_secret() {
        let scene = Scene::new();
        for credential in
            ["", "Basic", "Basic !", "Basic YWxpY2U=", "Basic YWxpY2U6Z3Vlc3M=", "Bearer x"]
        {
            let request = Request::get(format!("/authorize?{}", query(&[])))
                .header(AUTHORIZATION, credential)
                .body(Bytes::new())
                .unwrap();
            let answer = scene.answered(&request);
            assert_eq!(answer.status(), 401, "{credential}");
            assert!(answer.headers().contains_key(WWW_AUTHENTICATE));
        }
        let unknown = scene.asked("bob", &[]);
        assert!(parameter(&unknown, "error_description").unwrap().starts_with("AADSTS50034"));
        assert!(scene.codes.0.lock().unwrap().is_empty());
    }

    #[test]
    fn nothing_is_sent_to_a_client_that_is_unknown_or_elsewhere() {
        let scene = Scene::new();
        for change in [
            ("client_id", None),
            ("client_id", Some("00001111-aaaa-2222-bbbb-333344440001")),
            ("redirect_uri", None),
            ("redirect_uri", Some("http://evil.example/")),
            ("redirect_uri", Some("http://localhost@evil.example/")),
            ("redirect_uri", Some("http://localhost.evil.example/")),
            ("redirect_uri", Some("https://localhost:5000/")),
            ("redirect_uri", Some("http://localhost:5000/#fragment")),
            ("redirect_uri", Some("javascript:alert(1)")),
            ("redirect_uri", Some("//localhost/")),
            ("redirect_uri", Some("http://localhost/\r\nSet-Cookie: a=b")),
        ] {
            let answer = scene.asked("alice", &[change]);
            assert_eq!(answer.status(), 400, "{change:?}");
            assert!(!answer.headers().contains_key(LOCATION));
        }
        assert!(scene.codes.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_request_that_is_wrong_is_told_so_at_the_redirect_uri() {
        let scene = Scene::new();
        for (change, error, number) in [
            (("response_type", Some("token")), "unsupported_response_type", "700054"),
            (("response_type", None), "invalid_request", "900144"),
            (("code_challenge", None), "invalid_request", "900144"),
            (("code_challenge", Some("short")), "invalid_request", "501491"),
            (("code_challenge_method", None), "invalid_request", "9002325"),
            (("code_challenge_method", Some("plain")), "invalid_request", "9002325"),
            (("scope", Some("openid profile")), "invalid_scope", "70011"),
            (("scope", Some("User.Read")), "invalid_client", "650053"),
            (("scope", Some("api://another/access_as_user")), "invalid_client", "650053"),
        ] {
            let answer = scene.asked("alice", &[change]);
            assert_eq!(parameter(&answer, "error").as_deref(), Some(error), "{change:?}");
            let description = parameter(&answer, "error_description").unwrap();
            assert!(description.starts_with(&format!("AADSTS{number}:")), "{description}");
            assert!(parameter(&answer, "state").is_some() && parameter(&answer, "code").is_none());
        }
        assert!(scene.codes.0.lock().unwrap().is_empty());
        assert_eq!(scene.asked("alice", &[("response_mode", Some("fragment"))]).status(), 400);
    }

    #[test]
    fn a_form_carries_the_code_where_that_is_asked_for_and_nothing_breaks_out_of_it() {
        let scene = Scene::new();
        let page = body(scene.asked("alice", &[("response_mode", Some("form_post"))]));
        assert!(
            page.contains(&format!(r#"<form method="post" action="{REDIRECT_URI}">"#)),
            "{page}"
        );
        assert!(page.contains(r#"name="code""#), "{page}");
        assert!(page.contains(r#"name="state" value="a &quot;&lt;b&gt;&amp;""#), "{page}");
    }
}
