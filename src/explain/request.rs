//! The request that is asked about: `METHOD PATH`.

use std::str::FromStr;

use http::{Method, Uri};

use crate::downstream::acceptor::Entrance;
use crate::route::Access;

/// A request to be judged with the token.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// The target: a path, perhaps with a query.
    pub target: Uri,
}

impl FromStr for Asked {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (method, target) = text.trim().split_once(' ').ok_or(FORM)?;
        let (method, target) = (method.to_ascii_uppercase(), target.trim());
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| FORM)?;
        // An address as it stands in a browser or a script: what counts is its path.
        let target = match target.split_once("://") {
            Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
            None => target,
        };
        if !target.starts_with('/') {
            return Err(FORM);
        }
        let target = target.parse().map_err(|_| "the path cannot be the target of a request")?;
        Ok(Self { method, target })
    }
}

const FORM: &str = "expected METHOD PATH, such as \"GET /api/v2/dags\"";

impl Asked {
    /// One that any path of Airflow's API stands for: it is on no list, whatever the configuration.
    #[must_use]
    pub fn any_protected() -> Self {
        let target = Uri::from_static("/api/v2/airside-explain");
        Self { method: Method::PATCH, target }
    }

    /// The socket at which the request is answered: that of callers, unless only workers are let in
    /// there.
    #[must_use]
    pub fn entrance(&self, access: &Access) -> Entrance {
        let let_in =
            |entrance| access.route(entrance, &self.method, self.target.path(), false).is_ok();
        let for_workers = access.workers_apart && !let_in(Entrance::Callers);
        if for_workers && let_in(Entrance::Workers) { Entrance::Workers } else { Entrance::Callers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_method_and_a_path() {
        for (text, method, path) in [
            ("GET /api/v2/dags", "GET", "/api/v2/dags"),
            ("post /api/v2/dags/a/dagRuns?x=1", "POST", "/api/v2/dags/a/dagRuns"),
            ("DELETE https://airflow.example/api/v2/dags/a", "DELETE", "/api/v2/dags/a"),
            ("GET https://airflow.example", "GET", "/"),
        ] {
            let asked: Asked = text.parse().unwrap();
            assert_eq!((asked.method.as_str(), asked.target.path()), (method, path), "{text}");
        }
        for text in ["", "GET", "/api/v2/dags", "GET api", "G@T /x", "GET /a b"] {
            assert!(text.parse::<Asked>().is_err(), "{text:?}");
        }
    }
}
