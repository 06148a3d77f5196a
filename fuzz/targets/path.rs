//! Which paths are open: by their bytes as they came, or not at all.
//!
//! The rules stand here a second time, as the documentation has them and by other means, so that a
//! slip on one side shows. Input: `METHOD PATH`.

use std::sync::LazyLock;

use airside::downstream::acceptor::Entrance;
use airside::rejection::{Reason, Rejection};
use airside::route::{AIRFLOW_3, Access, Class, Door, Execution, LoginPage, Route, Ui};
use http::Method;

/// The class under which it is open, `protected` or the reason, by the default settings.
pub(crate) fn run(data: &[u8]) -> &'static str {
    let Some((method, path)) = std::str::from_utf8(data).ok().and_then(|it| it.split_once(' '))
    else {
        return "unreadable";
    };
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return "unreadable" };
    let by = |access, entrance| Request { access, entrance, method: &method, path };
    for entrance in [Entrance::Callers, Entrance::Workers, Entrance::ForwardAuth] {
        for access in &*SETTINGS {
            let request = by(access, entrance);
            request.is_judged_by_the_rules();
            request.encoding_opens_nothing();
        }
    }
    by(&SETTINGS[0], Entrance::Callers).outcome().unwrap_or_else(Reason::name)
}

struct Request<'r> {
    access: &'r Access,
    entrance: Entrance,
    method: &'r Method,
    path: &'r str,
}

impl Request<'_> {
    fn route(&self, path: &str, preflight: bool) -> Result<Route, Rejection> {
        self.access.route(self.entrance, self.method, path, preflight)
    }

    fn outcome(&self) -> Result<&'static str, Reason> {
        match self.route(self.path, false) {
            Ok(Route::Protected(_)) => Ok(Class::Protected.name()),
            Ok(open) => Ok(open.class().name()),
            Err(rejection) => Err(rejection.reason()),
        }
    }

    fn is_judged_by_the_rules(&self) {
        for preflight in [false, true] {
            match self.route(self.path, preflight) {
                Ok(route) => {
                    assert_eq!(self.refusal(), None, "{route:?}");
                    self.is_on_its_list(&route, preflight);
                }
                Err(rejection) => assert_eq!(Some(rejection.reason()), self.refusal()),
            }
        }
    }

    /// Why it has to be refused, whatever credential comes with it.
    fn refusal(&self) -> Option<Reason> {
        if matches!(*self.method, Method::CONNECT | Method::TRACE) {
            return Some(Reason::MethodRefused);
        }
        if !self.path.starts_with('/') {
            return Some(Reason::RequestMalformed);
        }
        let Some(decoded) =
            decoded(self.path).filter(|decoded| !has_two_readings(self.path, decoded))
        else {
            return Some(Reason::PathAmbiguous);
        };
        let forms = self.readings(&decoded);
        let reads_below = |root: &str| forms.iter().any(|form| is_below(form, root));
        let reads_as = |path: &str| forms.iter().any(|form| *form == segments(path.as_bytes()));
        if reads_below("/airside") {
            let served = self.access.exchange == Door::Open && self.entrance == Entrance::Callers;
            let there = served && self.is_exactly("/airside/token");
            let refused = (*self.method != Method::POST).then_some(Reason::MethodRefused);
            return if there { refused } else { Some(Reason::NotFound) };
        }
        let workers = WORKERS.iter().any(|root| reads_below(root));
        if self.entrance == Entrance::Workers && !workers {
            return Some(Reason::AccessClosed);
        }
        if self.is_public() {
            return None;
        }
        if self.entrance != Entrance::Workers && self.access.workers_apart && workers {
            return Some(Reason::AccessClosed);
        }
        let login = *self.method == Method::POST && PASSWORD.iter().any(|door| reads_as(door));
        let closed = (workers && self.access.execution_api == Execution::Closed)
            || (login && self.access.password_login == Door::Closed);
        closed.then_some(Reason::AccessClosed)
    }

    fn is_on_its_list(&self, route: &Route, preflight: bool) {
        let access = self.access;
        let reading = matches!(*self.method, Method::GET | Method::HEAD);
        let good = match route {
            Route::Protected(_) => true,
            Route::Untouched(_) => match access.execution_api {
                Execution::Forward => self.is_workers(),
                Execution::Verify => reading && HEALTH.iter().any(|path| self.is_exactly(path)),
                Execution::Closed => false,
            },
            Route::Task(task) => {
                let own = task.own().is_none_or(|own| self.has_segment(own));
                access.execution_api == Execution::Verify
                    && self.is_workers()
                    && self.reads_below_any(&["/execution"])
                    && own
            }
            Route::Edge(_) => {
                access.execution_api == Execution::Verify
                    && self.is_workers()
                    && self.reads_below_any(&["/edge_worker/v1"])
            }
            Route::Exchange(_) => {
                access.exchange == Door::Open
                    && *self.method == Method::POST
                    && self.is_exactly("/airside/token")
            }
            Route::Open(open) => match open.class() {
                Class::Open => self.is_public(),
                Class::Password => {
                    access.password_login == Door::Open
                        && *self.method == Method::POST
                        && PASSWORD.iter().any(|door| self.is_exactly(door))
                }
                Class::Docs => {
                    let listed = |root: &str| self.is_exactly(root) || self.is_plainly_below(root);
                    access.docs == Door::Open && reading && DOCS.into_iter().any(listed)
                }
                Class::Preflight => {
                    access.preflight == Door::Open && preflight && *self.method == Method::OPTIONS
                }
                Class::Shell => {
                    let by_token = access.login_page == LoginPage::Token && self.is_login_page();
                    access.ui == Ui::Airflow && self.is_shell(reading) && !by_token
                }
                Class::Execution | Class::Exchange | Class::Protected | Class::None => false,
            },
        };
        assert!(good, "{route:?} for {} {:?} by {access:?}", self.method, self.path);
    }

    fn is_workers(&self) -> bool {
        let plain = WORKERS.iter().any(|root| self.is_plainly_below(root));
        plain && !self.reads_below_any(&DOCS)
    }

    fn has_segment(&self, text: &str) -> bool {
        let decoded = decoded(self.path).unwrap_or_default();
        segments(&decoded).iter().any(|segment| String::from_utf8_lossy(segment) == text)
    }

    fn is_public(&self) -> bool {
        let listed = |method: &Method, path: &str| {
            let same =
                method == self.method || (*method == Method::GET && *self.method == Method::HEAD);
            same && self.is_exactly(path)
        };
        OPEN.iter().any(|path| listed(&Method::GET, path))
            || self.access.public.iter().any(|(method, path)| listed(method, path))
    }

    fn is_login_page(&self) -> bool {
        let decoded = decoded(self.path).unwrap_or_default();
        let page = segments(b"/auth/login/");
        self.readings(&decoded).contains(&page)
    }

    fn is_shell(&self, reading: bool) -> bool {
        let session = || SESSION.iter().any(|path| self.is_exactly(path));
        let page = reading && (!self.reads_below_any(&NO_PAGES) || session());
        let returning = reading || *self.method == Method::POST;
        page || (returning && self.is_plainly_below("/auth/oauth-authorized"))
    }

    /// No percent sign ever opens what is closed without it, and none keeps an exact path open.
    fn encoding_opens_nothing(&self) {
        let plain = self.route(self.path, false);
        let exact = [Class::Open, Class::Password];
        for (at, letter) in self.path.char_indices().skip(1).take(MOST_ENCODED) {
            if !letter.is_ascii_alphanumeric() || self.is_encoded_at(at) {
                continue;
            }
            let (before, after) = (&self.path[..at], &self.path[at + 1..]);
            let path = format!("{before}%{:02x}{after}", letter as u32);
            let encoded = self.route(&path, false);
            assert!(is_open(&plain) || !is_open(&encoded), "{path} is {encoded:?}");
            if let Ok(Route::Open(open)) = encoded {
                assert!(!exact.contains(&open.class()), "{path} is {:?}", open.class());
            }
        }
    }

    fn is_encoded_at(&self, at: usize) -> bool {
        self.path.as_bytes()[at.saturating_sub(2)..at].contains(&b'%')
    }

    fn is_exactly(&self, path: &str) -> bool {
        self.plain_forms().any(|form| form == path)
    }

    fn is_plainly_below(&self, root: &str) -> bool {
        self.plain_forms().any(|form| form.starts_with(&format!("{root}/")))
    }

    /// The path as it came, with and without the base path.
    fn plain_forms(&self) -> impl Iterator<Item = &str> {
        let base = self.access.base_path.as_str();
        let inner = self.path.strip_prefix(base).filter(|_| !base.is_empty());
        [Some(self.path), inner.filter(|inner| inner.is_empty() || inner.starts_with('/'))]
            .into_iter()
            .flatten()
    }

    fn reads_below_any(&self, roots: &[&str]) -> bool {
        let decoded = decoded(self.path).unwrap_or_default();
        let forms = self.readings(&decoded);
        forms.iter().any(|form| roots.iter().any(|root| is_below(form, root)))
    }

    /// The decoded segments, with and without those of the base path.
    fn readings<'d>(&self, decoded: &'d [u8]) -> Vec<Vec<&'d [u8]>> {
        let whole = segments(decoded);
        let base = segments(self.access.base_path.as_bytes());
        let based = !base.is_empty() && whole.starts_with(&base);
        let inner = based.then(|| whole[base.len()..].to_vec());
        std::iter::once(whole).chain(inner).collect()
    }
}

fn is_open(route: &Result<Route, Rejection>) -> bool {
    matches!(route, Ok(Route::Open(_) | Route::Untouched(_) | Route::Exchange(_)))
}

/// `None` where a percent sign is not followed by two hexadecimal digits.
fn decoded(path: &str) -> Option<Vec<u8>> {
    let mut parts = path.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|two| two.bytes().all(|it| it.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(bytes)
}

fn has_two_readings(raw: &str, decoded: &[u8]) -> bool {
    let separated = |byte: &u8| *byte == b'/' || *byte == b'\\';
    let dots = |segment: &[u8]| {
        let text = String::from_utf8_lossy(segment);
        let name = text.split_once(';').map_or(text.as_ref(), |(name, _)| name).to_owned();
        name == "." || name == ".."
    };
    raw.starts_with("//")
        || raw.contains('\\')
        || decoded.iter().any(|byte| *byte < 0x20 || *byte == 0x7f)
        || decoded.split(separated).any(dots)
}

fn segments(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty()).collect()
}

fn is_below(form: &[&[u8]], root: &str) -> bool {
    form.starts_with(&segments(root.as_bytes()))
}

/// As long as the longest path of a list, with its slashes.
const MOST_ENCODED: usize = 24;

// As docs/configuration.md has them.
const OPEN: [&str; 2] = ["/api/v2/monitor/health", "/api/v2/version"];
const WORKERS: [&str; 2] = ["/execution", "/edge_worker"];
const HEALTH: [&str; 3] = ["/execution/health", "/execution/health/ping", "/edge_worker/v1/health"];
const PASSWORD: [&str; 3] = ["/auth/token", "/auth/token/cli", "/auth/login/"];
const DOCS: [&str; 10] = [
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
];
const NO_PAGES: [&str; 10] = [
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
];
const SESSION: [&str; 2] = ["/api/v2/auth/login", "/api/v2/auth/logout"];

/// The default first; then everything open and everything closed, below a base path, and workers on
/// their own, looked at.
static SETTINGS: LazyLock<[Access; 4]> = LazyLock::new(|| {
    let default = Access {
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
        public: vec![(Method::GET, "/api/v2/config".into()), (Method::POST, "/hook/".into())],
    };
    let wide = Access {
        base_path: "/af".into(),
        login_page: LoginPage::Token,
        docs: Door::Open,
        preflight: Door::Open,
        exchange: Door::Open,
        ..default.clone()
    };
    let narrow = Access {
        base_path: "/af/x.y".into(),
        ui: Ui::Closed,
        password_login: Door::Closed,
        execution_api: Execution::Closed,
        ..default.clone()
    };
    let apart = Access { execution_api: Execution::Verify, workers_apart: true, ..wide.clone() };
    [default, wide, narrow, apart]
});
