//! The issuer's keys: fetched, rotated, unknown, broken, and out of reach.

mod broken;
mod disk;
mod entries;
mod fetching;
mod outage;

use crate::support::airside::Airside;
use crate::support::http::{Request, Response};

/// `GET /api/v2/dags` with this token.
fn present(airside: &Airside, token: &str) -> Response {
    airside.ask(&Request::get("/api/v2/dags").bearer(token))
}
