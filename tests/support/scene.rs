//! The usual scene: an issuer, an upstream, and the proxy between them and the test.

use super::airside::{Airside, Ended};
use super::config::Config;
use super::http::{Request, Response};
use super::issuer::Issuer;
use super::upstream::{Answer, Received, Upstream};

pub(crate) struct Scene {
    pub(crate) airside: Airside,
    pub(crate) issuer: Issuer,
    pub(crate) upstream: Upstream,
}

impl Scene {
    /// Everything as usual.
    pub(crate) fn start() -> Self {
        Self::with(|config| config)
    }

    /// With a configuration bent by the hook.
    pub(crate) fn with(hook: impl FnOnce(Config) -> Config) -> Self {
        Self::of(Issuer::start(), Upstream::start(), hook)
    }

    /// With an upstream that answers as scripted.
    pub(crate) fn answering(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        Self::of(Issuer::start(), Upstream::answering(script), |config| config)
    }

    /// With these two around the proxy.
    pub(crate) fn of(
        issuer: Issuer,
        upstream: Upstream,
        hook: impl FnOnce(Config) -> Config,
    ) -> Self {
        let config = hook(Config::new(&issuer.url(), &upstream.url()));
        Self { airside: Airside::start(&config), issuer, upstream }
    }

    /// Sends a request to the proxy.
    pub(crate) fn ask(&self, request: &Request) -> Response {
        self.airside.ask(request)
    }

    /// `GET /api/v2/dags` with this token.
    pub(crate) fn present(&self, token: &str) -> Response {
        self.ask(&Request::get("/api/v2/dags").bearer(token))
    }

    /// Sends a request that must be forwarded, and returns what the upstream got.
    pub(crate) fn forwarded(&self, request: &Request) -> Received {
        self.upstream.take();
        let answer = self.ask(request);
        assert_eq!(answer.status, 200, "{request:?} answered {:?}", answer.text());
        let mut received = self.upstream.take();
        assert_eq!(received.len(), 1, "{request:?} reached the upstream once");
        received.remove(0)
    }

    /// Ends the proxy and hands over all it printed.
    pub(crate) fn finish(self) -> Ended {
        self.airside.finish()
    }
}
