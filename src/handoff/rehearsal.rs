//! Tries the hand-off out on Airflow while nobody is calling, by requests that change nothing there.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue, USER_AGENT};
use http::{Request, Response};

use super::airflow_token::Subject;
use super::{Airflow, Handoff, Token, UpstreamRequest};
use crate::clock::Timestamp;
use crate::rejection::{Reason, Rejection};

/// The hand-off, and an Airflow that it is tried out on.
#[derive(Debug)]
pub struct Rehearsal<'a, A> {
    handoff: &'a Handoff,
    airflow: &'a A,
    base_path: &'a str,
}

/// What is said to Airflow of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A token of a viewer, for `SimpleAuthManager`.
    Token,
    /// A token of the user by whose rights FAB's users are managed.
    Fab,
    /// An assertion for somebody with a role that no Airflow has, so that nobody is made a user.
    Assertion,
    /// Nothing that is signed.
    Headers,
}

impl<'a, A: Airflow> Rehearsal<'a, A> {
    /// Speaks to `airflow`, which has `base_path` in front of its paths.
    #[must_use]
    pub const fn new(handoff: &'a Handoff, airflow: &'a A, base_path: &'a str) -> Self {
        Self { handoff, airflow, base_path }
    }

    /// What is said.
    #[must_use]
    pub const fn form(&self) -> Form {
        match (&self.handoff.token, &self.handoff.asserter) {
            (Token::Simple(_), _) => Form::Token,
            (Token::Fab(_), _) => Form::Fab,
            (Token::None, Some(_)) => Form::Assertion,
            (Token::None, None) => Form::Headers,
        }
    }

    /// `GET path` without any credential.
    pub async fn as_nobody(&self, path: &str) -> Result<Response<Bytes>, Rejection> {
        self.send(path, |_| Ok(())).await
    }

    /// `GET path` with what is said of a caller, as it would have been signed at `signed_at`.
    pub async fn as_caller(
        &self,
        path: &str,
        signed_at: Timestamp,
    ) -> Result<Response<Bytes>, Rejection> {
        self.send(path, |request| self.state(request, signed_at)).await
    }

    fn state(&self, request: &mut Request<()>, now: Timestamp) -> Result<(), Rejection> {
        let (token, subject) = match &self.handoff.token {
            Token::Simple(minter) => (minter.as_ref(), Subject::viewer(NOBODY)),
            Token::Fab(fab) => (fab.minter(), Subject::user(fab.admin_user_id())),
            Token::None => return self.assert(request, now),
        };
        let (authorization, _) = token.header(&subject, now)?;
        request.headers_mut().insert(AUTHORIZATION, authorization);
        Ok(())
    }

    fn assert(&self, request: &mut Request<()>, now: Timestamp) -> Result<(), Rejection> {
        if let Some(asserter) = &self.handoff.asserter {
            let (method, path) = (request.method(), request.uri().path());
            let assertion = asserter.sign(NOBODY, &[NOBODY], None, (method, path), now)?;
            request.headers_mut().insert(&self.handoff.headers.assertion, assertion);
        }
        Ok(())
    }

    async fn send(
        &self,
        path: &str,
        state: impl FnOnce(&mut Request<()>) -> Result<(), Rejection>,
    ) -> Result<Response<Bytes>, Rejection> {
        let request = Request::get(format!("{}{path}", self.base_path))
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header(USER_AGENT, concat!("airside/", env!("CARGO_PKG_VERSION")))
            .body(());
        let mut request = request.map_err(|_| Rejection::from(Reason::RequestMalformed))?;
        state(&mut request)?;
        let (parts, ()) = request.into_parts();
        self.airflow.ask(UpstreamRequest::own(parts, Bytes::new())).await
    }
}

/// The name and the role of somebody whom no issuer names.
pub const NOBODY: &str = "airside-check";
