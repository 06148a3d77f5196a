//! The status page and `/status`: for whom they are, and that they say what is.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::airflow;
use crate::support::entra::{v2_app, v2_user};
use crate::support::expect::Verdicts;
use crate::support::http::{Connection, Request, Response};
use crate::support::keys::{SigningKey, parts};
use crate::support::scene::Scene;
use crate::support::wait::eventually;

fn status(scene: &Scene) -> Value {
    let answer = scene.airside.ask_admin("/status");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

fn page(scene: &Scene) -> Response {
    let answer = scene.airside.ask_admin("/");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

/// The latest refusal.
fn latest(scene: &Scene) -> Value {
    status(scene)["refusals"]["latest"][0].clone()
}

#[test]
fn under_a_strangers_name_nothing_is_shown_that_probes_do_not_need() {
    let scene = Scene::start();
    let asked = |path: &str, host: &str| Request::get(path).host(host).send(scene.airside.admin);
    let mut verdicts = Verdicts::default();
    for path in ["/", "/status"] {
        for host in ["localhost:9090", "127.0.0.1", "airside.localhost", "[::1]:9090"] {
            verdicts.check(path, asked(path, host).status == 200, host);
        }
        for host in ["rebound.example", "localhost.rebound.example", "10.0.0.1:9090", "localhost@x"]
        {
            let answer = asked(path, host);
            verdicts.check(path, answer.status == 403, (host, answer.status));
            let detail = answer.json()["detail"].to_string();
            verdicts.check(path, detail.contains("admin.status: open"), detail);
        }
    }
    for path in ["/livez", "/readyz", "/metrics", "/jwks.json"] {
        verdicts.check(path, asked(path, "10.0.0.1:9090").status == 200, path);
    }
}

#[test]
fn an_open_page_is_for_everybody_from_the_moment_it_is_configured() {
    let scene = Scene::start();
    let asked = || Request::get("/status").host("airside.airflow.svc").send(scene.airside.admin);
    assert_eq!(asked().status, 403);
    scene.airside.changes(|config| config.set("/admin/status", "open"));
    assert_eq!(asked().status, 200);
    scene.airside.changes(|config| config.set("/admin/status", "local"));
    assert_eq!(asked().status, 403);
}

#[test]
fn the_page_is_sealed_off() {
    let scene = Scene::start();
    let answer = page(&scene);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    let policy = answer.header("content-security-policy").unwrap();
    for part in ["default-src 'none'", "script-src 'sha256-", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let text = answer.text();
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        let places = text.match_indices(outside).map(|(at, _)| &text[at..text.len().min(at + 60)]);
        // Where keys are fetched is said, and a namespace is no address.
        let said = |place: &&str| {
            !place.starts_with(&scene.issuer.url())
                && !place.starts_with("http://www.w3.org/2000/svg")
        };
        assert_eq!(places.filter(said).collect::<Vec<_>>(), Vec::<&str>::new());
    }
    for method in ["POST", "PUT", "DELETE"] {
        let answer = Request::new(method, "/").send(scene.airside.admin);
        assert_eq!(answer.status, 405, "{method}");
    }
    let head = Request::new("HEAD", "/").send(scene.airside.admin);
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn a_refusal_is_shown_with_what_to_do_about_it() {
    let scene = Scene::start();
    let refused = scene.ask(
        &Request::get("/api/v2/dags/x?secret=in-the-query").bearer(&v2_app().roles(&[]).token()),
    );
    assert_eq!(refused.status, 403);
    let shown = latest(&scene);
    let config = scene.airside.config();
    let file = config.folder().join("airside.yaml").display().to_string();
    let explain = format!("airside explain -c {file} - --request 'GET /api/v2/dags/x'");
    for (member, expected) in [
        ("reason", json!("role_missing")),
        ("status", json!(403)),
        ("class", json!("protected")),
        ("method", json!("GET")),
        ("path", json!("/api/v2/dags/x")),
        ("client", json!("127.0.0.1")),
        ("request_id", json!(refused.header("x-request-id").unwrap())),
        ("explain", json!(explain)),
    ] {
        assert_eq!(shown[member], expected, "{member} of {shown}");
    }
    assert!(shown["found"].is_string(), "{shown}");
    let text = page(&scene).text();
    for word in ["role_missing", "airside explain -c ", "docs/troubleshooting.md#role_missing"] {
        assert!(text.contains(word), "{word}");
    }
    assert!(!text.contains("in-the-query"));
}

#[test]
fn a_refusal_names_the_issuer_that_its_token_names() {
    let scene = Scene::start();
    for (token, reason, issuer) in [
        (v2_app().with("exp", 1).token(), "token_expired", json!("entra")),
        (v2_app().roles(&[]).token(), "role_missing", json!("entra")),
        (SigningKey::stranger().token(v2_app().value()), "signature_invalid", json!("entra")),
        (airflow::sign(&airflow::claims().with("aud", "x")), "audience_mismatch", json!("airflow")),
        (v2_app().with("iss", "https://other.example").token(), "issuer_unknown", json!(null)),
    ] {
        assert!(scene.present(&token).status >= 401);
        let shown = latest(&scene);
        assert_eq!((&shown["reason"], &shown["issuer"]), (&json!(reason), &issuer), "{shown}");
    }
}

#[test]
fn a_stranger_writes_no_markup_into_the_page() {
    let scene = Scene::start();
    let attack = "\"><script>alert(1)</script><img src=x onerror='alert(1)'>";
    let mut header = SigningKey::shared().header();
    header["kid"] = attack.into();
    let unknown = SigningKey::shared().sign(&header, v2_app().value());
    for token in [
        v2_app().with("aud", attack).token(),
        v2_app().with("iss", attack).token(),
        v2_user().with("oid", format!("{attack}\u{202e}")).token(),
        v2_app().roles(&[attack]).token(),
        unknown,
    ] {
        assert!(scene.present(&token).status >= 401);
    }
    scene.ask(&Request::get("/api/v2/%3Cscript%3Ealert(1)%3C/script%3E\"'&"));
    scene.ask(&Request::get("/api/v2/dags").header("X-Forwarded-For", attack));
    scene.ask(&Request::new("<script>", "/"));
    let text = page(&scene).text();
    assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "it is shown as text");
    for markup in ["<script>alert", "<img", "onerror='", "\u{202e}"] {
        assert!(!text.contains(markup), "{markup}");
    }
    assert_eq!(text.matches("<script>").count(), 1, "our own");
}

#[test]
fn tokens_in_paths_and_methods_are_not_kept() {
    let scene = Scene::start();
    let token = v2_app().token();
    let [_, payload, signature] = parts(&token);
    for request in [
        Request::get(&format!("/api/v2/dags/{token}/dagRuns")),
        Request::get(&format!("/api/v2/dags/{payload}/dagRuns")),
        Request::new(&token, "/api/v2/dags"),
    ] {
        assert!(scene.ask(&request).status >= 400);
    }
    let shown = status(&scene)["refusals"]["latest"].clone();
    assert_eq!(shown[0]["method"], "_OTHER", "{shown}");
    assert_eq!(shown[2]["path"], "/api/v2/dags/[token]/dagRuns", "{shown}");
    let told = format!("{shown}{}", page(&scene).text());
    for part in [payload, signature] {
        assert!(!told.contains(&part[..20]) && !told.contains(&part[part.len() - 20..]), "{told}");
    }
}

#[test]
fn a_flood_of_one_reason_leaves_the_others_in_sight() {
    let scene = Scene::start();
    assert_eq!(scene.present(&v2_app().roles(&[]).token()).status, 403);
    let mut kept = Connection::open(scene.airside.proxy);
    for _ in 0..2_000 {
        assert_eq!(kept.ask(&Request::get("/api/v2/dags")).status, 401);
    }
    let status = status(&scene);
    let latest = status["refusals"]["latest"].as_array().unwrap();
    let of = |reason: &str| latest.iter().filter(|one| one["reason"] == reason).count();
    assert_eq!(of("role_missing"), 1);
    assert!((20..=100).contains(&of("credential_missing")), "{}", of("credential_missing"));
    let counted = &status["refusals"]["by_reason"][0];
    assert_eq!(
        (&counted["reason"], &counted["since_start"]),
        (&json!("credential_missing"), &json!(2_000))
    );
}

#[test]
fn traffic_is_counted_and_plotted_from_the_start() {
    let scene = Scene::start();
    for _ in 0..3 {
        assert_eq!(scene.present(&v2_app().token()).status, 200);
    }
    assert_eq!(scene.ask(&Request::get("/api/v2/dags")).status, 401);
    let mut broken = Connection::open(scene.airside.proxy);
    broken.send(b"GET / HTTP/1.1\r\nHost: a\r\nx y: z\r\n\r\n").unwrap();
    let _bare = broken.response_to("GET");
    let status = eventually("the broken head is counted", || {
        let status = status(&scene);
        (status["traffic"]["since_start"]["unparsed"] == 1).then_some(status)
    });
    let counts = &status["traffic"]["since_start"];
    for (member, count) in
        [("requests", 4), ("forwarded_2xx", 3), ("refused", 1), ("forwarded_5xx", 0)]
    {
        assert_eq!(counts[member], count, "{member} of {counts}");
        assert_eq!(status["traffic"]["last_five_minutes"][member], count, "{member}");
    }
    for pace in ["hour", "day"] {
        let history = &status["history"][pace];
        let sum = |column: &Value| -> u64 {
            column.as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum()
        };
        assert_eq!(sum(&history["forwarded_2xx"]), 3, "{history}");
        assert_eq!(sum(&history["refused"]["credential_missing"]), 1, "{history}");
    }
    let shown = &status["refusals"]["latest"][0];
    assert_eq!((&shown["reason"], &shown["method"]), (&json!("request_malformed"), &json!("")));
    let text = page(&scene).text();
    assert!(text.contains(r#"<path class="c-served" d="M"#), "{text}");
    assert!(text.contains(r#"<path class="c-refused" d="M"#), "{text}");
}

#[test]
fn keys_are_shown_with_what_is_wrong_with_them() {
    let scene = Scene::start();
    let entra = |status: &Value| status["issuers"][0].clone();
    let good = entra(&status(&scene));
    assert_eq!((&good["name"], &good["keys"]), (&json!("entra"), &json!("fresh")));
    let set = &good["key_sets"][0];
    assert!(set["from"].as_str().unwrap().starts_with(&scene.issuer.url()), "{set}");
    assert_eq!(set["usable"][0]["kid"], SigningKey::shared().kid());
    assert_eq!(set["usable"][0]["algorithms"][0], "RS256");
    assert!((2_800..=3_600).contains(&set["next_fetch_seconds"].as_u64().unwrap()), "{set}");
    assert!(set["last_failure"].is_null(), "{set}");

    scene.issuer.fail();
    assert_eq!(scene.present(&SigningKey::next().token(v2_app().value())).status, 401);
    let failing = entra(&status(&scene));
    assert_eq!((&failing["keys"], &failing["fetches_failed"]), (&json!("fresh"), &json!(1)));
    let set = &failing["key_sets"][0];
    let why = set["last_failure"]["why"].as_str().unwrap();
    assert!(why.contains("500") || why.contains("503"), "{set}");
    assert!(set["autonomy_seconds"].as_u64().unwrap() > 23 * 3600, "{set}");
    assert!(set["next_fetch_seconds"].as_u64().unwrap() <= 1, "it tries again soon: {set}");
    let airflow = &status(&scene)["issuers"][1];
    assert_eq!(airflow["source"], "given");
    assert_eq!(airflow["key_sets"][0]["usable"], json!([{"kid": null, "algorithms": ["HS512"]}]));
    let text = page(&scene).text();
    assert!(text.contains("Last failure") && text.contains(SigningKey::shared().kid()), "{text}");
}

#[test]
fn a_refused_configuration_is_told_of_until_a_good_one_is_in_force() {
    let scene = Scene::start();
    let successful = "airside_config_last_reload_successful";
    let configuration = || status(&scene)["configuration"].clone();
    assert!(configuration()["last_reload"].is_null());
    assert_eq!(scene.airside.count(successful), 1);
    scene.airside.refuses(|config| config.set("/leeway", "2h").set("/nonsense", 1));
    let refused = configuration();
    assert_eq!((&refused["generation"], &refused["rejected"]), (&json!(1), &json!(1)));
    assert_eq!(refused["last_reload"]["outcome"], "rejected");
    let problems = refused["last_reload"]["problems"].as_array().unwrap();
    assert!(problems.iter().any(|problem| problem["key"] == "nonsense"), "{refused}");
    assert_eq!(scene.airside.count(successful), 0);
    let text = page(&scene).text();
    assert!(text.contains("Ready, with trouble") && text.contains("nonsense"), "{text}");
    assert_eq!(status(&scene)["ready"], true, "the one before serves on");

    scene.airside.changes(|config| config.set("/leeway", "10s"));
    let good = configuration();
    assert_eq!(
        (&good["generation"], &good["last_reload"]["outcome"]),
        (&json!(2), &json!("applied"))
    );
    assert_eq!(scene.airside.count(successful), 1);
    assert!(!page(&scene).text().contains("nonsense"));
}

#[test]
fn what_is_not_ready_says_why() {
    let scene = Scene::start();
    let airside = &scene.airside;
    assert_eq!(status(&scene)["not_ready_because"], Value::Null);
    airside.changes(|config| {
        config
            .set("/issuers/0/authority", "http://127.0.0.1:1")
            .set("/admin/ready_needs_keys", true)
    });
    let status = status(&scene);
    assert_eq!(status["ready"], false, "{status}");
    assert_eq!(status["not_ready_because"], "entra has no keys");
    assert_eq!(airside.ask_admin("/readyz").status, 503);
    let text = page(&scene).text();
    assert!(text.contains("Not ready") && text.contains("entra has no keys"), "{text}");
}

/// `docs/reference/status.md` names every member of `/status`, and no other.
#[test]
fn the_members_of_the_status_are_those_documented() {
    let scene = Scene::with(|config| {
        let file = config.file("revoked.yaml", "[]");
        config.set("/revocation/file", file.display().to_string())
    });
    scene.issuer.publish(&[SigningKey::shared().jwk(), json!({"kty": "oct"})]);
    assert_eq!(scene.present(&SigningKey::next().token(v2_app().value())).status, 401);
    scene.issuer.fail();
    scene.airside.changes(|config| config.set("/keys/unknown_kid_cooldown", "10ms"));
    eventually("a fetch fails", || {
        scene.present(&SigningKey::next().token(v2_app().value()));
        status(&scene)["issuers"][0]["key_sets"][0]["last_failure"].is_object().then_some(())
    });
    scene.airside.refuses(|config| config.set("/nonsense", 1));
    let mut served = BTreeSet::new();
    members(&status(&scene), "", &mut served);
    // What is null for one issuer and not for another.
    let whole = served.clone();
    served.retain(|one| !whole.iter().any(|other| other.starts_with(&format!("{one}."))));
    let served: BTreeSet<_> = served
        .into_iter()
        .map(|member| member.replace("history.day.", "history.hour."))
        .map(|member| match member.strip_prefix("history.hour.refused.") {
            Some(_) => "history.hour.refused.REASON[]".to_owned(),
            None => member,
        })
        .collect();
    let documented: BTreeSet<_> = include_str!("../../docs/reference/status.md")
        .lines()
        .skip_while(|line| *line != "## `/status`")
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(member, _)| member.to_owned())
        .collect();
    let difference: Vec<_> = served.symmetric_difference(&documented).collect();
    assert_eq!(difference, Vec::<&String>::new(), "served and documented differ");
}

/// The paths of everything that is no object or array.
fn members(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(all) => {
            let dot = if path.is_empty() { "" } else { "." };
            all.iter().for_each(|(name, one)| members(one, &format!("{path}{dot}{name}"), found));
        }
        Value::Array(all) => all.iter().for_each(|one| members(one, &format!("{path}[]"), found)),
        _ => drop(found.insert(path.to_owned())),
    }
}
