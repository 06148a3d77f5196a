//! The table of docs/compatibility.md: for each release, auth manager and hand-off, each kind of
//! caller reads, writes by its role, is refused by Airflow where the role is too low and by us where
//! there is none, and stands in Airflow's audit log under its own name.
//!
//! A row is written below target/airflow/compatibility when all of it held; what a run wrote is
//! compared with the page (tests/airflow/compatibility.py).

use std::fs;

use serde_json::{Value, json};

use crate::flight::{Flight, post};
use crate::programs::built;
use crate::stock::Airflow;
use crate::support::claims::Claims;
use crate::support::entra::{APP, USER, v1_app, v1_user, v2_app, v2_user};
use crate::support::expect::{Verdicts, refusal};
use crate::support::http::{Request, Response};

/// What a row says of Airflow.
pub(crate) struct Subject {
    /// The release.
    pub(crate) airflow: &'static str,
    /// Its auth manager.
    pub(crate) manager: &'static str,
    /// How identities are handed over.
    pub(crate) handoff: &'static str,
}

/// A kind of caller: how its requests say who it is, for each Airflow role, and its name.
struct Caller {
    kind: &'static str,
    name: &'static str,
    sign: Box<Sign>,
    /// Whether Airflow issued the credential and so judges its roles alone.
    airflows: bool,
}

/// Puts into a request the credential of somebody with these Airflow roles.
type Sign = dyn Fn(Request, &[&str]) -> Request;

/// Proves the rows of this subject through the flight's airside; the role map is the usual one.
pub(crate) fn prove(flight: &Flight, subject: &Subject) {
    let mut rows = String::new();
    let mut verdicts = Verdicts::default();
    let api = Api::of(subject.airflow);
    for caller in callers(flight, subject) {
        let label = format!("{} {} {}", subject.airflow, subject.manager, caller.kind);
        let found = cells(flight, &api, &caller);
        let whole = found.iter().all(|(_, verdict)| verdict.is_ok());
        let cells: Vec<_> =
            found.iter().map(|(of_us, _)| if *of_us { "yes" } else { "–" }).collect();
        for (_, verdict) in found {
            verdicts.case(&label, verdict);
        }
        if whole {
            let Subject { airflow, manager, handoff } = subject;
            let line = format!(
                "| {airflow} | {manager} | {handoff} | {} | {} |\n",
                caller.kind,
                cells.join(" | ")
            );
            rows.push_str(&line);
        }
    }
    let folder = built().join("compatibility");
    fs::create_dir_all(&folder).unwrap();
    let name = format!("{} {} {}.md", subject.airflow, subject.manager, subject.handoff);
    fs::write(folder.join(name.replace('`', "")), rows).unwrap();
}

fn callers(flight: &Flight, subject: &Subject) -> Vec<Caller> {
    let entra = |kind, name, claims: fn() -> Claims| Caller {
        kind,
        name,
        sign: Box::new(move |request, roles| {
            let mapped: Vec<_> = roles.iter().map(|role| format!("Airflow.{role}")).collect();
            let mapped: Vec<_> = mapped.iter().map(String::as_str).collect();
            // FAB keeps roles per user, so each role has a user of its own.
            let claims = claims().with("oid", if roles == ["Op"] { name } else { "a-viewer" });
            request.bearer(&claims.roles(&mapped).token())
        }),
        airflows: false,
    };
    let mut callers = vec![
        entra("Entra v1, application", APP, v1_app),
        entra("Entra v2, application", APP, v2_app),
        entra("Entra v1, person", USER, v1_user),
        entra("Entra v2, person", USER, v2_user),
    ];
    if subject.airflow.starts_with("3.") {
        let bearer = |request: Request, token: &str| request.bearer(token);
        callers.push(of_airflow("Airflow's own token", flight.airflow, bearer));
    }
    // In 3.0 the browser keeps its token in a script and sends it as a bearer.
    if subject.airflow.starts_with("3.") && !subject.airflow.starts_with("3.0") {
        let cookie = |request: Request, token: &str| request.cookie(&format!("_token={token}"));
        callers.push(of_airflow("Airflow's browser session", flight.airflow, cookie));
    }
    callers
}

/// A caller with what Airflow's own login gives.
fn of_airflow(
    kind: &'static str,
    airflow: &'static Airflow,
    carry: fn(Request, &str) -> Request,
) -> Caller {
    let sign = move |request, roles: &[&str]| {
        let user = if roles == ["Viewer"] { "viewer" } else { "op" };
        carry(request, &airflow.login(user))
    };
    Caller { kind, name: "op", sign: Box::new(sign), airflows: true }
}

/// Each cell, and whether it applies.
fn cells(flight: &Flight, api: &Api, caller: &Caller) -> Vec<(bool, Result<(), String>)> {
    let ask = |request: Request, roles: &[&str]| flight.ask(&(caller.sign)(request, roles));
    let read = ask(Request::get(&api.path("/dags")), &["Viewer"]);
    let written = ask(api.variable(), &["Op"]);
    let low = ask(api.variable(), &["Viewer"]);
    let mut cells = vec![
        (true, expect(&read, 200).and_then(|()| names_the_dag(&read))),
        (true, expect(&written, api.created)),
        (true, expect(&low, 403).and_then(|()| is_of_airflow(&low))),
    ];
    cells.push(if caller.airflows {
        (false, Ok(()))
    } else {
        (true, refusal(&ask(Request::get(&api.path("/dags")), &[]), 403, &["role_missing"]))
    });
    let before = acts(flight, api, caller.name);
    let run = ask(api.run(), &["Op"]);
    let after = acts(flight, api, caller.name);
    let logged = (after > before).then_some(()).ok_or_else(|| {
        format!("the audit log names {} {before} times before and {after} after", caller.name)
    });
    cells.push((true, expect(&run, 200).and(logged)));
    cells
}

fn expect(answer: &Response, status: u16) -> Result<(), String> {
    if answer.status == status {
        return Ok(());
    }
    Err(format!("expected {status}, found {} {}", answer.status, answer.text()))
}

fn names_the_dag(answer: &Response) -> Result<(), String> {
    let dags = &answer.json()["dags"];
    if dags[0]["dag_id"] == "demo" { Ok(()) } else { Err(format!("found {dags}")) }
}

/// Our own answers have a reason.
fn is_of_airflow(answer: &Response) -> Result<(), String> {
    let ours = answer.json().get("reason").is_some();
    if ours { Err(format!("not Airflow's: {}", answer.text())) } else { Ok(()) }
}

/// How often the audit log has this owner, as an admin reads it.
fn acts(flight: &Flight, api: &Api, owner: &str) -> u64 {
    let path = format!("{}?owner={owner}", api.path("/eventLogs"));
    let token = v2_app().with("oid", "auditor").roles(&["Airflow.Admin"]).token();
    let answer = flight.ask(&Request::get(&path).bearer(&token));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["total_entries"].as_u64().expect("a count")
}

/// The REST API of an Airflow of this major version.
struct Api {
    root: &'static str,
    created: u16,
}

impl Api {
    fn of(airflow: &str) -> Self {
        if airflow.starts_with("2.") {
            Self { root: "/api/v1", created: 200 }
        } else {
            Self { root: "/api/v2", created: 201 }
        }
    }

    fn path(&self, rest: &str) -> String {
        format!("{}{rest}", self.root)
    }

    /// A request that needs Op: it makes a variable that nobody made before.
    fn variable(&self) -> Request {
        post(&self.path("/variables"), &json!({"key": unheard_of(), "value": "some value"}))
    }

    /// A request that needs User.
    fn run(&self) -> Request {
        let mut run = json!({"dag_run_id": unheard_of()});
        if self.root == "/api/v2" {
            run["logical_date"] = Value::Null;
        }
        post(&self.path("/dags/demo/dagRuns"), &run)
    }
}

fn unheard_of() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("compatibility-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}
