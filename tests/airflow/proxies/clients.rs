//! What clients write that no proxy may pass on, and what they must not get to see.

use serde_json::json;

use super::front::{ALL, Front, Kind, Proxy};
use super::{me, whoami};
use crate::stock::Recipe;
use crate::support::entra::{APP, v2_app};
use crate::support::expect::Verdicts;
use crate::support::http::Request;
use crate::support::upstream::{Answer, Upstream};

/// Headers that only airside may write, in every spelling; none reaches what is behind the proxy.
#[test]
fn what_a_client_writes_in_the_name_of_airside_reaches_nobody() {
    let mut verdicts = Verdicts::default();
    for kind in ALL {
        let front = Front::start(kind);
        let echo = Upstream::start();
        let proxy = Proxy::start(kind, front.asked, echo.address());
        let token = v2_app().token();
        for name in [
            "X-Airside-User",
            "X-Airside-Roles",
            "X-Airside-Issuer",
            "X-Airside-Assertion",
            "X-Remote-User",
            "x-AIRSIDE-user",
            "X_Airside_User",
            "X-Airside_User",
            "X.Airside.User",
            "X_Remote_User",
        ] {
            let requests = [
                ("open", Request::get("/api/v2/version"), None),
                ("shell", Request::get("/"), None),
                ("session", me().cookie("_token=x"), None),
                ("granted", me().bearer(&token).cookie("_token=x"), Some(APP)),
            ];
            for (label, request, user) in requests {
                let forged = request.header(name, "mallory");
                let nominated = forged.clone().header("Connection", name);
                for (how, forged) in [("as it is", forged), ("nominated", nominated)] {
                    echo.take();
                    let answer = forged.send(proxy.address);
                    let label = format!("{kind:?}, {label}, {how}: {name}");
                    let seen = echo.take();
                    let reached = seen.iter().any(|seen| seen.text().contains("mallory"));
                    // Dots are no letters of a name to WSGI, nor to Airflow; Envoy lets them be.
                    let harmless = name.contains('.') && kind == Kind::EnvoyHttp;
                    verdicts.check(&label, !reached || harmless, (answer.status, &seen));
                    for seen in seen {
                        let told = seen.all("x-airside-user");
                        let expected: Vec<&str> = user.into_iter().collect();
                        verdicts.check(&label, told == expected, &seen);
                        // One identity, not two.
                        let alone = user.is_none() || seen.header("cookie").is_none();
                        verdicts.check(&label, alone, &seen);
                    }
                }
            }
        }
        // And to Airflow itself a forged header is nothing.
        let forged = me().header("X-Airside-User", "admin").header("X-Remote-User", "admin");
        assert_eq!(front.ask(&forged).status, 401, "{kind:?}");
        let forged = forged.bearer(&token);
        if kind == Kind::EnvoyGrpc {
            assert_eq!(whoami(&front, &forged), APP);
        } else {
            let answer = front.ask(&forged);
            assert_eq!(answer.status, kind.status(400), "{kind:?}: {}", answer.text());
        }
    }
}

/// The file that ships names the usual headers, and somebody has given airside another one.
#[test]
fn a_header_that_the_file_does_not_copy_is_nobodys() {
    let mut verdicts = Verdicts::default();
    for kind in ALL {
        let front = Front::with(kind, &Recipe::usual(), |config| {
            config.set("/handoff/headers", json!({"user": "X-Auth-User"}))
        });
        let echo = Upstream::start();
        let proxy = Proxy::start(kind, front.asked, echo.address());
        let forged = |request: Request| request.header("X-Auth-User", "mallory");
        let requests = [
            ("open", Request::get("/api/v2/version")),
            ("session", me().cookie("_token=x")),
            ("granted", me().bearer(&v2_app().token())),
        ];
        for (label, request) in requests {
            let answer = forged(request).send(proxy.address);
            let seen = echo.take();
            let reached = seen.iter().any(|seen| seen.text().contains("mallory"));
            // Envoy over HTTP tells of headers that its file lists, and cannot both set and remove one.
            let known = kind == Kind::EnvoyHttp && label == "granted";
            let label = format!("{kind:?}, {label}");
            verdicts.check(&label, reached == known, (answer.status, &seen));
        }
    }
}

#[test]
fn what_speaks_for_a_proxy_reaches_nobody() {
    let mut verdicts = Verdicts::default();
    for kind in ALL {
        let front = Front::start(kind);
        let echo = Upstream::start();
        let proxy = Proxy::start(kind, front.asked, echo.address());
        for name in [
            "Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Port",
            "X-Forwarded-Prefix",
            "X-Forwarded-Proto",
            "X-Forwarded-Scheme",
            "X-Forwarded-Server",
            "X-Forwarded-Ssl",
            "X-Forwarded-User",
            "X-Real-IP",
            "X-Scheme",
            "X-Original-Host",
            "X-Original-Method",
            "X-Original-URI",
            "X-Original-URL",
            "X-Rewrite-URL",
            "X-HTTP-Method-Override",
            "Proxy-Authorization",
            "X-Request-Id",
        ] {
            let requests = [
                ("open", Request::get("/api/v2/version")),
                ("session", me().cookie("_token=x")),
                ("granted", me().bearer(&v2_app().token())),
            ];
            for (label, request) in requests {
                let answer = request.header(name, "mallory").send(proxy.address);
                let label = format!("{kind:?}, {label}: {name}");
                let seen = echo.take();
                let clean = seen.iter().all(|seen| !seen.text().contains("mallory"));
                verdicts.check(&label, !seen.is_empty() && clean, (answer.status, &seen));
            }
        }
        // Where the file has no name for it, airside does.
        if kind != Kind::Nginx {
            let request = me().bearer(&v2_app().token()).header("X-Original-Other", "mallory");
            request.send(proxy.address);
            let seen = echo.take();
            let clean = seen.iter().all(|seen| !seen.text().contains("mallory"));
            verdicts.check(&format!("{kind:?}"), seen.len() == 1 && clean, &seen);
        }
    }
}

#[test]
fn nobody_leaves_http_whom_airside_does_not_know() {
    let mut verdicts = Verdicts::default();
    for kind in ALL {
        let front = Front::start(kind);
        let echo = Upstream::start();
        let proxy = Proxy::start(kind, front.asked, echo.address());
        echo.take();
        let upgrade = |request: Request, to: &str| {
            request.header("Connection", "Upgrade").header("Upgrade", to)
        };
        for (label, request) in [
            ("open", upgrade(Request::get("/api/v2/version"), "websocket")),
            ("session", upgrade(me().cookie("_token=x"), "websocket")),
            ("h2c", upgrade(me().bearer(&v2_app().token()), "h2c")),
        ] {
            let answer = request.send(proxy.address);
            let label = format!("{kind:?}, {label}");
            let seen = echo.take();
            // Envoy refuses an upgrade that its file has no word of, and leaves one to h2c out.
            let refused = answer.status == 403 && seen.is_empty();
            let left_out =
                kind != Kind::Nginx && seen.iter().all(|seen| seen.all("upgrade").is_empty());
            verdicts.check(&label, refused || left_out, (answer.status, &seen));
        }
    }
}

/// An answer of Airflow's cannot have nginx hand out what airside told it alone.
#[test]
fn no_answer_of_airflow_leads_to_airsides() {
    let front = Front::start(Kind::Nginx);
    let echo = Upstream::answering(|_| {
        Answer::ok(&[
            "X-Accel-Redirect: /airside/auth",
            "X-Accel-Limit-Rate: 1",
            "X-Accel-Expires: 60",
        ])
    });
    let proxy = Proxy::start(Kind::Nginx, front.asked, echo.address());
    echo.take();
    let answer = me().bearer(&v2_app().token()).send(proxy.address);
    assert_eq!(echo.take().len(), 1);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["answered"], "upstream", "{}", answer.text());
    for name in ["authorization", "cookie", "x-airside-user", "x-airside-roles"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    // Nor where somebody has led a client there all the same.
    let proxy = Proxy::bent(Kind::Nginx, front.asked, echo.address(), |file| {
        file.replace("proxy_ignore_headers X-Accel-Redirect", "proxy_ignore_headers")
    });
    let answer = me().bearer(&v2_app().token()).send(proxy.address);
    assert_ne!(answer.text(), r#"{"answered":"upstream"}"#, "the file is bent");
    for name in ["authorization", "cookie", "x-airside-user", "x-airside-roles"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
}
