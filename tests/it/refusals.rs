//! Credentials that are refused, each with its reason, and none of them ever reaching Airflow.

mod caller;
mod claims;
mod credential;
mod format;
mod signature;

use serde_json::{Value, json};

use crate::support::claims::Claims;
use crate::support::entra::{OTHER_TENANT, id_token, now, v1_app, v1_user, v2_app, v2_user};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::keys::SigningKey;
use crate::support::listener::Listener;
use crate::support::scene::Scene;

#[test]
fn the_first_failing_check_is_the_reason() {
    let key = SigningKey::shared();
    let stranger = SigningKey::stranger();
    let header = |member: &str, value: Value| {
        let mut header = key.header();
        header[member] = value;
        header
    };
    let foreign = v2_app().with("iss", "https://issuer.example");
    let expired = v2_app().with("exp", now() - 3600);
    let mut table = Table::start();
    for (label, token, reason) in [
        (
            "header, issuer",
            key.sign(&header("crit", json!(["x"])), foreign.value()),
            "header_unsupported",
        ),
        (
            "issuer, algorithm",
            key.sign(&header("alg", json!("none")), foreign.value()),
            "issuer_unknown",
        ),
        (
            "issuer, kid",
            key.sign(&header("kid", json!("unknown")), foreign.value()),
            "issuer_unknown",
        ),
        ("issuer, signature", stranger.token(foreign.value()), "issuer_unknown"),
        ("signature, time", stranger.token(expired.value()), "signature_invalid"),
        ("signature, kind", stranger.token(id_token().value()), "signature_invalid"),
        ("signature, roles", stranger.token(v2_app().roles(&[]).value()), "signature_invalid"),
        ("kind, tenant", id_token().with("tid", OTHER_TENANT).token(), "token_kind"),
        ("kind, audience", id_token().with("aud", "other").token(), "token_kind"),
        (
            "bound, audience",
            v2_app().with("cnf", json!({"jkt": "x"})).with("aud", "other").token(),
            "token_bound",
        ),
        (
            "tenant, audience",
            v2_app().with("tid", OTHER_TENANT).with("aud", "other").token(),
            "tenant_mismatch",
        ),
        ("audience, time", expired.clone().with("aud", "other").token(), "audience_mismatch"),
        ("audience, roles", v2_app().with("aud", "other").roles(&[]).token(), "audience_mismatch"),
        ("time, roles", expired.roles(&[]).token(), "token_expired"),
    ] {
        table.refused(label, &token, &[reason]);
    }
    let mut both = header("alg", json!("HS256"));
    both["kid"] = "unknown".into();
    table.refused("algorithm, kid", &key.sign(&both, v2_app().value()), &["algorithm_not_allowed"]);
    let scene = Scene::with(|config| config.set("/issuers/0/clients", json!(["another-client"])));
    let late = v2_app().with("exp", now() - 3600).token();
    assert_refused(&scene.present(&late), 401, "token_expired");
    assert_refused(&scene.present(&v2_app().roles(&[]).token()), 403, "client_not_allowed");
}

#[test]
fn no_token_makes_the_proxy_call_anybody() {
    let sink = Listener::start(drop);
    let address = format!("http://{}/keys", sink.address());
    let scene = Scene::start();
    let mut header = SigningKey::shared().header();
    for member in ["jku", "x5u", "kid"] {
        header[member] = address.clone().into();
    }
    let claims = v2_app()
        .with("iss", address.clone())
        .with("_claim_sources", json!({"a": {"endpoint": address}}));
    let answer = scene.present(&SigningKey::shared().sign(&header, claims.value()));
    assert_refused(&answer, 401, "issuer_unknown");
    assert_eq!(sink.accepted(), 0);
}

#[test]
fn the_canonical_tokens_are_accepted() {
    let mut table = Table::start();
    let all: [(&str, Make); 4] =
        [("v1 app", v1_app), ("v2 app", v2_app), ("v1 user", v1_user), ("v2 user", v2_user)];
    for (label, claims) in all {
        table.accepted(label, &claims().token());
    }
}

type Make = fn() -> Claims;

/// One running proxy for a table of tokens.
struct Table {
    scene: Scene,
    verdicts: Verdicts,
}

impl Table {
    fn start() -> Self {
        Self::of(Scene::start())
    }

    fn of(scene: Scene) -> Self {
        Self { scene, verdicts: Verdicts::default() }
    }

    /// 401 with one of these reasons, and nothing forwarded.
    fn refused(&mut self, label: &str, token: &str, reasons: &[&str]) {
        self.answered(label, token, 401, reasons);
    }

    /// 403 with one of these reasons, and nothing forwarded.
    fn forbidden(&mut self, label: &str, token: &str, reasons: &[&str]) {
        self.answered(label, token, 403, reasons);
    }

    fn answered(&mut self, label: &str, token: &str, status: u16, reasons: &[&str]) {
        let answer = self.scene.present(token);
        self.verdicts.refused(label, &answer, status, reasons);
        let forwarded = self.scene.upstream.take();
        self.verdicts.check(label, forwarded.is_empty(), "a request upstream");
    }

    fn accepted(&mut self, label: &str, token: &str) {
        let answer = self.scene.present(token);
        self.verdicts.check(label, answer.status == 200, answer.text());
        self.scene.upstream.take();
    }
}

/// A good token but for one member of its header.
fn signed_with(member: &str, value: Value) -> String {
    let mut header = SigningKey::shared().header();
    header[member] = value;
    SigningKey::shared().sign(&header, v2_app().value())
}
