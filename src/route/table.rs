//! What each major version of Airflow has where.

use http::Method;

use super::is_reading;
use super::path::Path;

/// The paths of one major version of Airflow that are not simply protected.
#[derive(Debug)]
pub struct Table {
    /// Below these are the APIs for callers, for the audit.
    pub(super) apis: &'static [&'static str],
    /// Told to everybody by GET, and no page.
    pub(super) open: &'static [&'static str],
    /// Below these are the APIs of workers.
    pub(super) execution: &'static [&'static str],
    /// Where a POST exchanges a password for a token or a session.
    pub(super) passwords: &'static [&'static str],
    /// Documentation of the APIs.
    pub(super) docs: &'static [&'static str],
    /// What a browser may read to begin with.
    pub(super) pages: Pages,
    /// Below this an identity provider sends the browser back to (`Flask-AppBuilder`).
    pub(super) oauth_return: &'static str,
}

/// Which paths are pages: read by a browser that may have no session yet, and without data for it.
#[derive(Debug)]
pub(super) enum Pages {
    /// Everything that is not below these roots, and these paths although they are.
    AllBut {
        roots: &'static [&'static str],
        /// Where a session begins and ends.
        session: &'static [&'static str],
    },
    /// What has one of these as its first segment; the empty one is the start page.
    Beginning(&'static [&'static str]),
}

impl Table {
    /// Whether the request is for a page of the browser's shell.
    pub(super) fn is_shell(&self, method: &Method, path: &Path<'_>) -> bool {
        let returning = matches!(*method, Method::GET | Method::HEAD | Method::POST)
            && path.is_plainly_below(self.oauth_return);
        returning || (is_reading(method) && self.pages.include(path))
    }
}

impl Pages {
    fn include(&self, path: &Path<'_>) -> bool {
        match self {
            Self::AllBut { roots, session } => {
                !roots.iter().any(|root| path.is_under(root))
                    || session.iter().any(|exact| path.is_exactly(exact))
            }
            Self::Beginning(segments) => path.begins_plainly_with_one_of(segments),
        }
    }
}

/// Airflow 3: pages without data at every path (`api_fastapi/core_api/app.py`), the data below
/// `/api` and `/ui`.
pub static AIRFLOW_3: Table = Table {
    apis: &["/api/v2", "/ui", "/auth/fab/v1"],
    // `api_fastapi/core_api/routes/public`: the endpoints without a credential that are no pages.
    open: &["/api/v2/monitor/health", "/api/v2/version"],
    // `api_fastapi/execution_api`, and the edge provider.
    execution: &["/execution", "/edge_worker"],
    passwords: &["/auth/token", "/auth/token/cli", "/auth/login/"],
    docs: &[
        "/docs",
        "/redoc",
        "/openapi.json",
        "/auth/docs",
        "/auth/redoc",
        "/auth/openapi.json",
        "/execution/docs",
        "/execution/redoc",
        "/execution/openapi.json",
        "/execution/changelog",
    ],
    pages: Pages::AllBut {
        roots: &[
            "/api",
            "/ui",
            "/execution",
            "/edge_worker",
            "/docs",
            "/redoc",
            "/openapi.json",
            "/auth/fab",
            "/auth/token",
            "/airside",
        ],
        session: &["/api/v2/auth/login", "/api/v2/auth/logout"],
    },
    oauth_return: "/auth/oauth-authorized",
};

/// Airflow 2: its pages hold data, so each asks for a session and sends whoever has none to
/// `/login/` (`www/views.py`, `www/auth.py`). What its pages fetch (`/object`) is not among them,
/// nor is what answers without a login because nobody thought of one.
pub static AIRFLOW_2: Table = Table {
    apis: &["/api/v1", "/auth/fab/v1"],
    open: &["/health", "/api/v1/health", "/api/v1/version"],
    // The edge provider alone: tasks work on the database.
    execution: &["/edge_worker"],
    passwords: &["/login/"],
    docs: &[
        "/api/v1/ui",
        "/api/v1/openapi.json",
        "/api/v1/openapi.yaml",
        "/auth/fab/v1/ui",
        "/auth/fab/v1/openapi.json",
        "/auth/fab/v1/openapi.yaml",
        "/docs",
        "/redoc",
    ],
    pages: Pages::Beginning(&[
        "",
        "home",
        "login",
        "robots.txt",
        "static",
        // What the menu leads to.
        "actions",
        "cluster_activity",
        "configuration",
        "connection",
        "dag-dependencies",
        "dagrun",
        "dags",
        "datasets",
        "job",
        "log",
        "permissions",
        "plugin",
        "pool",
        "provider",
        "resources",
        "roles",
        "slamiss",
        "taskinstance",
        "taskreschedule",
        "triggerview",
        "users",
        "userstatschartview",
        "variable",
        "xcom",
        // What e-mails and old bookmarks lead to.
        "audit_log",
        "calendar",
        "code",
        "confirm",
        "dag_details",
        "dagrun_details",
        "duration",
        "gantt",
        "graph",
        "landing_times",
        "rendered-k8s",
        "rendered-templates",
        "task",
        "tree",
        "tries",
    ]),
    oauth_return: "/oauth-authorized",
};
