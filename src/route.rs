//! Which rule a path falls under. What is not listed is protected.
//!
//! Paths are judged twice: by their raw bytes where something is opened, by their decoded bytes
//! where something is closed, each as they are and without `base_path`. So an encoded letter can
//! take a path out of an open list, never into one.

mod action;
mod execution;
mod path;
mod table;

use http::Method;

use crate::downstream::acceptor::Entrance;
use crate::rejection::{Reason, Rejection};
pub use action::Action;
pub use execution::{EdgeRoute, TaskRoute};
use path::Path;
pub use table::{AIRFLOW_2, AIRFLOW_3, Table};

/// What a path is for, as a label of logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// Health, version, and what the configuration adds.
    Open,
    /// Airflow's task API, with credentials of its own.
    Execution,
    /// Where a password is exchanged for a token or session.
    Password,
    /// API documentation.
    Docs,
    /// The browser's shell: pages and scripts without data.
    Shell,
    /// A CORS preflight.
    Preflight,
    /// Where airside gives a token for a token.
    Exchange,
    /// Everything else.
    Protected,
    /// Refused before it was any of these.
    None,
}

impl Class {
    /// Every class, in the order of its discriminant.
    pub const ALL: [Self; 9] = [
        Self::Open,
        Self::Execution,
        Self::Password,
        Self::Docs,
        Self::Shell,
        Self::Preflight,
        Self::Exchange,
        Self::Protected,
        Self::None,
    ];

    /// The label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Execution => "execution",
            Self::Password => "password",
            Self::Docs => "docs",
            Self::Shell => "shell",
            Self::Preflight => "preflight",
            Self::Exchange => "exchange",
            Self::Protected => "protected",
            Self::None => "none",
        }
    }
}

/// Where a request goes.
#[derive(Debug)]
pub enum Route {
    /// Forwarded without an identity of ours.
    Open(OpenRoute),
    /// Forwarded untouched: the credential is for Airflow's own judgement.
    Untouched(UntouchedRoute),
    /// Needs a verified token of a task.
    Task(TaskRoute),
    /// Needs a verified token of an Edge worker.
    Edge(EdgeRoute),
    /// Answered here, with a token for a token.
    Exchange(ExchangeRoute),
    /// Needs a verified identity.
    Protected(ProtectedRoute),
}

/// Proof that the path is on an open list.
#[derive(Debug)]
pub struct OpenRoute(Class);

/// Proof that the path is one whose credentials are Airflow's to judge.
#[derive(Debug)]
pub struct UntouchedRoute(());

/// Proof that tokens are given out, and that one is asked for.
#[derive(Debug)]
pub struct ExchangeRoute(());

/// A path that needs an identity.
#[derive(Debug)]
pub struct ProtectedRoute {
    class: Class,
    by_token_alone: bool,
}

impl OpenRoute {
    /// Which list it is on.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.0
    }
}

impl ProtectedRoute {
    const fn new(class: Class) -> Self {
        Self { class, by_token_alone: false }
    }

    /// Whether nothing that Airflow would judge may take the place of a token here.
    #[must_use]
    pub const fn by_token_alone(&self) -> bool {
        self.by_token_alone
    }
}

impl Route {
    /// The label for logs and metrics.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Open(OpenRoute(class)) | Self::Protected(ProtectedRoute { class, .. }) => *class,
            Self::Untouched(_) | Self::Task(_) | Self::Edge(_) => Class::Execution,
            Self::Exchange(_) => Class::Exchange,
        }
    }
}

/// What decides about paths, from the configuration.
#[derive(Clone, Debug)]
pub struct Access {
    /// What this version of Airflow has where.
    pub airflow: &'static Table,
    /// The path of Airflow's `[api] base_url`; empty, or `/` and segments.
    pub base_path: String,
    /// Whether the browser's pages are Airflow's to judge, or closed.
    pub ui: Ui,
    /// Whether passwords may be exchanged for tokens.
    pub password_login: Door,
    /// Who may see Airflow's login page.
    pub login_page: LoginPage,
    /// Whether and how workers may come in.
    pub execution_api: Execution,
    /// Whether workers have an entrance of their own, and are refused at the other.
    pub workers_apart: bool,
    /// Whether tokens are given out in exchange for others.
    pub exchange: Door,
    /// Whether API documentation is open.
    pub docs: Door,
    /// Whether CORS preflights go to Airflow.
    pub preflight: Door,
    /// Further open endpoints.
    pub public: Vec<(Method, String)>,
}

/// Who judges browser sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ui {
    /// Airflow.
    Airflow,
    /// Nobody: pages are protected like anything else.
    Closed,
}

/// The API of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    /// Forwarded untouched.
    Forward,
    /// Forwarded when the token of the task verifies.
    Verify,
    /// Not forwarded.
    Closed,
}

/// Who may see Airflow's login page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginPage {
    /// Whoever has no session yet: it is part of the shell.
    Everyone,
    /// Whoever comes with a token. FAB's page takes the name in a header for the login, which is
    /// airside's to send; it leads everybody else back to where they came from, and the pages
    /// there lead to it again, without end.
    Token,
}

/// Open or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Forwarded.
    Open,
    /// Not.
    Closed,
}

impl Access {
    /// The route of a request; an error when the path is ambiguous, ours, or closed.
    ///
    /// `preflight` tells whether the request is a CORS preflight (it has `Origin` and
    /// `Access-Control-Request-Method`).
    pub fn route(
        &self,
        entrance: Entrance,
        method: &Method,
        path: &str,
        preflight: bool,
    ) -> Result<Route, Rejection> {
        if matches!(*method, Method::CONNECT | Method::TRACE) {
            return Err(Reason::MethodRefused.into());
        }
        let path = Path::parse(path, &self.base_path)?;
        if path.is_under("/airside") {
            return self.ours(entrance, method, &path);
        }
        if entrance == Entrance::Workers && !self.is_workers(&path) {
            let found = "not a path of workers, who are alone at this address";
            return Err(Rejection::found_that(Reason::AccessClosed, found));
        }
        if self.is_open(method, &path) {
            return Ok(Route::Open(OpenRoute(Class::Open)));
        }
        if let Some(route) = self.execution(entrance, method, &path)? {
            return Ok(route);
        }
        if let Some(route) = self.password(method, &path)? {
            return Ok(route);
        }
        if self.airflow.docs.iter().any(|docs| path.is_under(docs)) {
            return Ok(self.docs(method, &path));
        }
        if preflight && *method == Method::OPTIONS && self.preflight == Door::Open {
            return Ok(Route::Open(OpenRoute(Class::Preflight)));
        }
        if self.login_page == LoginPage::Token && path.reads_as(LOGIN_PAGE) {
            let class = Class::Shell;
            return Ok(Route::Protected(ProtectedRoute { class, by_token_alone: true }));
        }
        if self.ui == Ui::Airflow && self.airflow.is_shell(method, &path) {
            return Ok(Route::Open(OpenRoute(Class::Shell)));
        }
        Ok(Route::Protected(ProtectedRoute::new(Class::Protected)))
    }

    /// What a request by this route does, if it is one that changes something under an identity.
    #[must_use]
    pub fn action(&self, route: &Route, method: &Method, path: &str) -> Option<Box<Action>> {
        let changes =
            matches!(*method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE);
        if !changes || !matches!(route, Route::Protected(_)) {
            return None;
        }
        let inner = path.strip_prefix(self.base_path.as_str()).unwrap_or(path);
        let below = |root: &&str| inner.strip_prefix(root).filter(|rest| rest.starts_with('/'));
        let below = self.airflow.apis.iter().find_map(below);
        Some(Box::new(below.map_or_else(Action::other, |below| Action::of(method, below))))
    }

    fn is_open(&self, method: &Method, path: &Path<'_>) -> bool {
        let public = self.public.iter().map(|(method, path)| (method, path.as_str()));
        self.airflow.open.iter().map(|path| (&Method::GET, *path)).chain(public).any(
            |(open, exact)| {
                (method == open || (*method == Method::HEAD && *open == Method::GET))
                    && path.is_exactly(exact)
            },
        )
    }

    fn is_workers(&self, path: &Path<'_>) -> bool {
        self.airflow.execution.iter().any(|root| path.is_under(root))
    }

    fn ours(
        &self,
        entrance: Entrance,
        method: &Method,
        path: &Path<'_>,
    ) -> Result<Route, Rejection> {
        let served = self.exchange == Door::Open && entrance == Entrance::Callers;
        if !served || !path.is_exactly(EXCHANGE) {
            return Err(Reason::NotFound.into());
        }
        if *method != Method::POST {
            return Err(Rejection::method_refused("POST"));
        }
        Ok(Route::Exchange(ExchangeRoute(())))
    }

    /// Workers come with tokens of Airflow's own, so the path must open by its raw bytes too.
    fn execution(
        &self,
        entrance: Entrance,
        method: &Method,
        path: &Path<'_>,
    ) -> Result<Option<Route>, Rejection> {
        if !self.is_workers(path) {
            return Ok(None);
        }
        if entrance != Entrance::Workers && self.workers_apart {
            let found = "workers are served at execution_listen alone";
            return Err(Rejection::found_that(Reason::AccessClosed, found));
        }
        let plain = self.airflow.execution.iter().any(|root| path.is_plainly_below(root));
        Ok(match self.execution_api {
            Execution::Closed => return Err(Reason::AccessClosed.into()),
            _ if self.airflow.docs.iter().any(|docs| path.is_under(docs)) => None,
            Execution::Forward if plain => Some(Route::Untouched(UntouchedRoute(()))),
            Execution::Verify if plain => Some(verified(method, path)),
            _ => Some(Route::Protected(ProtectedRoute::new(Class::Execution))),
        })
    }

    fn password(&self, method: &Method, path: &Path<'_>) -> Result<Option<Route>, Rejection> {
        if *method != Method::POST || !self.airflow.passwords.iter().any(|door| path.reads_as(door))
        {
            return Ok(None);
        }
        match self.password_login {
            Door::Closed => Err(Reason::AccessClosed.into()),
            Door::Open if self.airflow.passwords.iter().any(|door| path.is_exactly(door)) => {
                Ok(Some(Route::Open(OpenRoute(Class::Password))))
            }
            Door::Open => Ok(Some(Route::Protected(ProtectedRoute::new(Class::Password)))),
        }
    }

    fn docs(&self, method: &Method, path: &Path<'_>) -> Route {
        let plain = self.airflow.docs.iter().any(|docs| path.begins_plainly_with(docs));
        if self.docs == Door::Open && is_reading(method) && plain {
            Route::Open(OpenRoute(Class::Docs))
        } else {
            Route::Protected(ProtectedRoute::new(Class::Docs))
        }
    }
}

/// Where a token is given for a token.
const EXCHANGE: &str = "/airside/token";

/// The route of a worker whose token is looked at first. The rest of `/edge_worker` is a part of
/// the interface (Edge provider, `worker_api/app.py`), so protected like any other.
fn verified(method: &Method, path: &Path<'_>) -> Route {
    if is_reading(method) && execution::OPEN.iter().any(|open| path.is_exactly(open)) {
        return Route::Untouched(UntouchedRoute(()));
    }
    if let Some(segments) = path.segments_below("/execution") {
        return Route::Task(TaskRoute::of(method, &segments));
    }
    match path.segments_below(execution::EDGE) {
        Some(segments) => Route::Edge(EdgeRoute::of(&segments)),
        None => Route::Protected(ProtectedRoute::new(Class::Execution)),
    }
}

/// Of FAB's auth manager, which Airflow 3 alone has there.
const LOGIN_PAGE: &str = "/auth/login/";

fn is_reading(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::table::Pages;
    use super::*;

    fn access() -> Access {
        Access {
            airflow: &AIRFLOW_3,
            base_path: String::new(),
            ui: Ui::Airflow,
            password_login: Door::Open,
            login_page: LoginPage::Everyone,
            execution_api: Execution::Forward,
            workers_apart: false,
            exchange: Door::Closed,
            docs: Door::Closed,
            preflight: Door::Closed,
            public: vec![(Method::GET, "/open".into())],
        }
    }

    const CALLERS: Entrance = Entrance::Callers;

    fn label(access: &Access, entrance: Entrance, request: &str) -> String {
        let (method, path) = request.split_once(' ').unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        match access.route(entrance, &method, path, false) {
            Ok(Route::Open(OpenRoute(class))) => class.name().into(),
            Ok(Route::Untouched(_)) => "untouched".into(),
            Ok(Route::Task(route)) => match route.own() {
                Some(id) => format!("task {id}"),
                None => "task".into(),
            },
            Ok(Route::Edge(route)) => format!("edge {}", route.called()),
            Ok(Route::Exchange(_)) => "exchange".into(),
            Ok(Route::Protected(_)) => "protected".into(),
            Err(rejection) => rejection.reason().name().into(),
        }
    }

    fn check(access: &Access, cases: &[(&str, &str)]) {
        check_from(access, CALLERS, cases);
    }

    fn check_from(access: &Access, entrance: Entrance, cases: &[(&str, &str)]) {
        for (request, expected) in cases {
            assert_eq!(label(access, entrance, request), *expected, "{request} from {entrance:?}");
        }
    }

    #[test]
    fn each_path_has_its_rule() {
        check(
            &access(),
            &[
                ("GET /api/v2/monitor/health", "open"),
                ("HEAD /api/v2/version", "open"),
                ("POST /api/v2/version", "protected"),
                ("GET /open", "open"),
                ("POST /open", "protected"),
                ("GET /api/v2/monitor/health/", "protected"),
                ("GET /api/v2/monitor/healthX", "protected"),
                ("GET /api/v2/dags", "protected"),
                ("OPTIONS /api/v2/dags", "protected"),
                ("GET /ui/auth/me", "protected"),
                ("GET /ui", "protected"),
                ("PATCH /execution/task-instances/x/run", "untouched"),
                ("GET /execution/health", "untouched"),
                ("GET /execution", "protected"),
                ("GET /edge_worker", "protected"),
                ("POST /edge_worker/v1/rpcapi", "untouched"),
                ("POST /auth/token", "password"),
                ("POST /auth/token/cli", "password"),
                ("POST /auth/login/", "password"),
                ("GET /auth/token", "protected"),
                ("POST /auth/token/x", "protected"),
                ("GET /docs", "protected"),
                ("GET /execution/docs", "protected"),
                ("GET /auth/openapi.json", "protected"),
                ("GET /", "shell"),
                ("GET /dags/demo/runs/manual__2026-01-01T00%3A00%3A00%2B00%3A00/tasks/x", "shell"),
                ("GET /static/assets/index.js", "shell"),
                ("POST /dags/demo", "protected"),
                ("GET /api/v2/auth/login", "shell"),
                ("GET /api/v2/auth/logout", "shell"),
                ("POST /api/v2/auth/logout", "protected"),
                ("GET /auth/login/", "shell"),
                ("POST /auth/oauth-authorized/azure", "shell"),
                ("POST /auth/oauth-authorized", "protected"),
                ("GET /auth/fab/v1/users", "protected"),
                ("GET /apiary", "shell"),
                ("GET /airside/token", "not_found"),
                ("POST /airside", "not_found"),
                ("CONNECT /", "method_refused"),
                ("TRACE /api/v2/version", "method_refused"),
            ],
        );
    }

    #[test]
    fn what_changes_something_under_an_identity_is_named_and_nothing_else() {
        let told = |access: &Access, method: &Method, path: &str| {
            let route = access.route(CALLERS, method, path, false).unwrap();
            access.action(&route, method, path).map(|action| (action.name, action.dag))
        };
        let etl = || Some("etl".to_owned());
        let based = Access { base_path: "/team".into(), ..access() };
        let two = Access { airflow: &AIRFLOW_2, ..access() };
        for (access, method, path, expected) in [
            (&access(), Method::POST, "/api/v2/dags/etl/dagRuns", Some(("trigger_dag_run", etl()))),
            (&access(), Method::GET, "/api/v2/dags/etl/dagRuns", None),
            (&access(), Method::OPTIONS, "/api/v2/dags/etl/dagRuns", None),
            (&access(), Method::POST, "/ui/auth/token", Some(("generate_token", None))),
            (&access(), Method::PATCH, "/auth/fab/v1/users/a", Some(("update_user", None))),
            (&access(), Method::POST, "/api/v1/dags/etl/dagRuns", Some(("other", None))),
            (&access(), Method::POST, "/plugin/x", Some(("other", None))),
            (&access(), Method::POST, "/execution/x", None),
            (&access(), Method::POST, "/auth/token", None),
            (
                &based,
                Method::POST,
                "/team/api/v2/dags/etl/dagRuns",
                Some(("trigger_dag_run", etl())),
            ),
            (&based, Method::DELETE, "/api/v2/dags/etl", Some(("delete_dag", etl()))),
            (&two, Method::POST, "/api/v1/dags/etl/dagRuns", Some(("trigger_dag_run", etl()))),
            (&two, Method::POST, "/api/v2/dags/etl/dagRuns", Some(("other", None))),
        ] {
            assert_eq!(told(access, &method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn airflow_2_has_its_own_rules() {
        check(
            &Access { airflow: &AIRFLOW_2, ..access() },
            &[
                ("GET /health", "open"),
                ("HEAD /api/v1/health", "open"),
                ("GET /api/v1/version", "open"),
                ("GET /api/v1/version/", "protected"),
                ("GET /api/v2/version", "protected"),
                ("GET /open", "open"),
                ("POST /login/", "password"),
                ("POST /login", "protected"),
                ("POST /auth/token", "protected"),
                ("GET /", "shell"),
                ("HEAD /", "shell"),
                ("POST /", "protected"),
                ("GET /home", "shell"),
                ("GET /login/", "shell"),
                ("GET /login/azure", "shell"),
                ("GET /oauth-authorized/azure", "shell"),
                ("GET /oauth-authorized", "protected"),
                ("GET /auth/oauth-authorized/azure", "protected"),
                ("GET /static/dist/main.js", "shell"),
                ("GET /dags/demo/grid", "shell"),
                ("POST /dags/demo/trigger", "protected"),
                ("GET /variable/list/", "shell"),
                ("POST /logout/", "protected"),
                ("GET /object/grid_data", "protected"),
                ("GET /get_logs_with_metadata", "protected"),
                ("GET /dagmodel/autocomplete", "protected"),
                ("GET /plugin-of-ours/", "protected"),
                ("GET /api/v1/dags", "protected"),
                ("GET /api/v1/ui/", "protected"),
                ("GET /redoc", "protected"),
                ("GET /auth/fab/v1/roles", "protected"),
                ("GET /internal_api/v1/rpcapi", "protected"),
                ("POST /execution/x", "protected"),
                ("POST /edge_worker/v1/rpcapi", "untouched"),
                ("GET /%68ome", "protected"),
                ("GET /home%2F..", "path_ambiguous"),
                ("GET /dags%2Fdemo", "protected"),
                ("GET /airside/token", "not_found"),
            ],
        );
        let based = Access { airflow: &AIRFLOW_2, base_path: "/log".into(), ..access() };
        check(
            &based,
            &[
                ("GET /log", "shell"),
                ("GET /log/", "shell"),
                ("GET /log/home", "shell"),
                ("GET /log/api/v1/dags", "protected"),
                ("GET /log/health", "open"),
            ],
        );
        let open = Access { airflow: &AIRFLOW_2, docs: Door::Open, ..access() };
        check(&open, &[("GET /api/v1/ui/", "docs"), ("GET /api/v1/uix", "protected")]);
    }

    #[test]
    fn encoding_closes_and_never_opens() {
        check(
            &access(),
            &[
                ("GET /%61pi/v2/dags", "protected"),
                ("GET /api%2Fv2%2Fdags", "protected"),
                ("GET /api/v2/monitor/healt%68", "protected"),
                ("GET /api/v2/monitor%2Fhealth", "protected"),
                ("GET /%65xecution/health", "protected"),
                ("POST /auth%2Ftoken", "protected"),
                ("GET /%61irside/x", "not_found"),
                ("GET /ui%2Fauth/me", "protected"),
                ("GET /x//api/v2/dags", "shell"),
                ("GET /api//v2/monitor/health", "protected"),
            ],
        );
    }

    #[test]
    fn what_is_closed_is_closed_however_it_is_written() {
        let closed = Access {
            password_login: Door::Closed,
            execution_api: Execution::Closed,
            ui: Ui::Closed,
            ..access()
        };
        check(
            &closed,
            &[
                ("POST /auth/token", "access_closed"),
                ("POST /auth%2Ftoken", "access_closed"),
                ("POST /auth/login/", "access_closed"),
                ("PATCH /execution/x", "access_closed"),
                ("PATCH /%65xecution/x", "access_closed"),
                ("GET /", "protected"),
                ("GET /static/x", "protected"),
                ("GET /api/v2/auth/login", "protected"),
                ("GET /api/v2/version", "open"),
            ],
        );
    }

    #[test]
    fn tokens_of_tasks_are_looked_at_where_that_is_asked_for() {
        let verify = Access {
            execution_api: Execution::Verify,
            base_path: "/af".into(),
            docs: Door::Open,
            ..access()
        };
        check(
            &verify,
            &[
                ("GET /execution/variables/x", "task"),
                ("PATCH /execution/task-instances/ID/run", "task ID"),
                ("PATCH /af/execution/task-instances/ID/run", "task ID"),
                ("PATCH /execution/task-instances/%49D/run", "task ID"),
                ("PATCH /execution/task%2Dinstances/ID%2Frun", "task ID"),
                ("PATCH /execution//task-instances/ID/run/", "task ID"),
                ("GET /execution/variables/a%2Fb", "task"),
                ("GET /execution/health", "untouched"),
                ("GET /af/execution/health/ping", "untouched"),
                ("GET /execution/healt%68", "task"),
                ("GET /execution/health/", "task"),
                ("POST /execution/health", "task"),
                ("GET /%65xecution/health", "protected"),
                ("GET /execution", "protected"),
                ("GET /execution/docs", "docs"),
                ("POST /edge_worker/v1/jobs/fetch/w", "edge jobs/fetch/w"),
                ("POST /af/edge_worker/v1/jobs/fetch/w%20x", "edge jobs/fetch/w x"),
                ("GET /edge_worker/v1/health", "untouched"),
                ("GET /edge_worker/v1", "protected"),
                ("GET /edge_worker/ui/worker", "protected"),
                ("GET /edge_worker/static/main.umd.cjs", "protected"),
            ],
        );
    }

    #[test]
    fn workers_with_an_entrance_of_their_own_are_alone_there_and_nowhere_else() {
        let access = Access {
            workers_apart: true,
            docs: Door::Open,
            exchange: Door::Open,
            public: vec![(Method::GET, "/execution/health".into())],
            ..access()
        };
        check(
            &access,
            &[
                ("PATCH /execution/x", "access_closed"),
                ("PATCH /%65xecution/x", "access_closed"),
                ("POST /edge_worker/v1/x", "access_closed"),
                ("GET /execution", "access_closed"),
                ("GET /execution/docs", "access_closed"),
                ("GET /execution/health", "open"),
                ("GET /api/v2/version", "open"),
                ("GET /", "shell"),
            ],
        );
        check_from(
            &access,
            Entrance::Workers,
            &[
                ("PATCH /execution/x", "untouched"),
                ("POST /edge_worker/v1/x", "untouched"),
                ("GET /execution/docs", "docs"),
                ("PATCH /%65xecution/x", "protected"),
                ("GET /execution", "protected"),
                ("GET /api/v2/version", "access_closed"),
                ("GET /api/v2/dags", "access_closed"),
                ("GET /", "access_closed"),
                ("POST /auth/token", "access_closed"),
                ("GET /docs", "access_closed"),
                ("POST /airside/token", "not_found"),
                ("GET /execution/../api", "path_ambiguous"),
                ("TRACE /execution/x", "method_refused"),
            ],
        );
    }

    #[test]
    fn tokens_are_exchanged_at_one_path_and_only_when_asked_to() {
        let open = Access { exchange: Door::Open, base_path: "/af".into(), ..access() };
        check(
            &open,
            &[
                ("POST /airside/token", "exchange"),
                ("POST /af/airside/token", "exchange"),
                ("GET /airside/token", "method_refused"),
                ("OPTIONS /airside/token", "method_refused"),
                ("POST /airside/token/", "not_found"),
                ("POST /airside/%74oken", "not_found"),
                ("POST /airside/tokens", "not_found"),
                ("GET /airside", "not_found"),
            ],
        );
        check(
            &access(),
            &[("POST /airside/token", "not_found"), ("GET /airside/token", "not_found")],
        );
    }

    #[test]
    fn the_base_path_is_judged_with_and_without() {
        let based = Access { base_path: "/af".into(), ..access() };
        check(
            &based,
            &[
                ("GET /af/api/v2/version", "open"),
                ("GET /api/v2/version", "open"),
                ("GET /af/api/v2/dags", "protected"),
                ("GET /%61f/api/v2/dags", "protected"),
                ("PATCH /af/execution/x", "untouched"),
                ("POST /af/auth/token", "password"),
                ("GET /af/airside/x", "not_found"),
                ("GET /af/af/api/v2/version", "shell"),
                ("GET /afx/api/v2/dags", "shell"),
                ("GET /af", "shell"),
            ],
        );
    }

    #[test]
    fn docs_and_preflights_open_only_when_asked_to() {
        let open = Access { docs: Door::Open, preflight: Door::Open, ..access() };
        check(
            &open,
            &[
                ("GET /docs", "docs"),
                ("GET /docs/oauth2-redirect", "docs"),
                ("GET /d%6Fcs", "protected"),
                ("POST /docs", "protected"),
                ("GET /execution/openapi.json", "docs"),
                ("OPTIONS /api/v2/dags", "protected"),
            ],
        );
        let preflight = open.route(CALLERS, &Method::OPTIONS, "/api/v2/dags", true).unwrap();
        assert_eq!(preflight.class(), Class::Preflight);
        let closed = access().route(CALLERS, &Method::OPTIONS, "/api/v2/dags", true).unwrap();
        assert_eq!(closed.class(), Class::Protected);
    }

    /// The path with the chosen bytes percent-encoded, its first slash excepted.
    fn encoded(path: &str, chosen: &[bool]) -> String {
        let choices = std::iter::once(false).chain(chosen.iter().copied());
        let choices = choices.chain(std::iter::repeat(false));
        let spell = |(byte, encode): (u8, bool)| {
            if encode { format!("%{byte:02x}") } else { char::from(byte).to_string() }
        };
        path.bytes().zip(choices).map(spell).collect()
    }

    /// Everything that one of the tables names.
    fn listed() -> Vec<String> {
        let mut listed = Vec::new();
        for table in [&AIRFLOW_3, &AIRFLOW_2] {
            let paths = [table.open, table.execution, table.passwords, table.docs].concat();
            listed.extend(paths.into_iter().map(str::to_owned));
            listed.push(table.oauth_return.to_owned());
            listed.extend([EXCHANGE].iter().chain(&execution::OPEN).map(|&path| path.to_owned()));
            listed.extend(match table.pages {
                Pages::AllBut { roots, session } => [roots, session]
                    .concat()
                    .iter()
                    .map(|path| (*path).to_owned())
                    .collect::<Vec<_>>(),
                Pages::Beginning(segments) => {
                    segments.iter().map(|first| format!("/{first}")).collect()
                }
            });
        }
        listed
    }

    fn paths() -> impl Strategy<Value = String> {
        let start = prop_oneof![
            Just(String::new()),
            prop::sample::select(listed()),
            Just("/af".into()),
            Just("/open".into())
        ];
        let rest = "(/[a-z0-9._;=-]{0,6}){0,3}";
        let whole = (prop::bool::ANY, start, rest).prop_map(|(based, start, rest)| {
            format!("{}{start}{rest}", if based { "/af" } else { "" })
        });
        whole
            .prop_filter("one slash first", |path| path.starts_with('/') && !path.starts_with("//"))
    }

    fn is_open(route: &Result<Route, Rejection>) -> bool {
        matches!(route, Ok(Route::Open(_) | Route::Untouched(_) | Route::Exchange(_)))
    }

    proptest! {
        #[test]
        fn encoding_opens_nothing_that_is_closed(
            path in paths(),
            chosen in prop::collection::vec(any::<bool>(), 0..60),
            method in prop::sample::select(&[Method::GET, Method::POST, Method::PATCH][..]),
            doors in any::<(bool, bool)>(),
            airflow in prop_oneof![Just(&AIRFLOW_3), Just(&AIRFLOW_2)],
            execution_api in prop::sample::select(&[
                Execution::Forward, Execution::Verify, Execution::Closed,
            ][..]),
        ) {
            let door = |open| if open { Door::Open } else { Door::Closed };
            let access = Access {
                airflow, base_path: "/af".into(), execution_api, docs: door(doors.0),
                exchange: door(doors.1), ..access()
            };
            let plain = access.route(CALLERS, &method, &path, false);
            let encoded = encoded(&path, &chosen);
            if !is_open(&plain) {
                let route = access.route(CALLERS, &method, &encoded, false);
                prop_assert!(!is_open(&route), "{encoded} for {path}: {route:?}");
            }
        }

        #[test]
        fn every_path_is_judged(path in "\\PC{0,40}", base in prop_oneof![Just(""), Just("/af")]) {
            for path in [path.clone(), format!("/{path}"), format!("/af/{path}")] {
                let access = Access { base_path: base.into(), ..access() };
                let _ = access.route(CALLERS, &Method::GET, &path, false);
            }
        }
    }
}
