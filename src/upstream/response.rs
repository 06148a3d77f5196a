//! What comes back from Airflow, cleaned before the client sees it.

use http::header::{CONNECTION, HeaderName, SET_COOKIE};
use http::{HeaderMap, Response, StatusCode};

use crate::credential::is_session_cookie;
use crate::handoff::Bearer;
use crate::rejection::{Reason, Rejection};
use crate::sanitize::is_hop_by_hop;

/// Removes what is about the connection to Airflow, and on answers to an Authorization the session
/// cookies that would outlive it (`Flask-AppBuilder` hands out 30 days). Other cookies stay.
pub fn clean<B>(mut response: Response<B>, bearer: &Bearer) -> Result<Response<B>, Rejection> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let found = "an upgrade that was not asked for";
        return Err(Rejection::found_that(Reason::UpstreamInvalid, found));
    }
    let headers = response.headers_mut();
    strip_hop_by_hop(headers);
    if !matches!(bearer, Bearer::None) {
        strip_sessions(headers);
    }
    Ok(response)
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let nominated = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let nominated = nominated.flat_map(|field| field.split(','));
    let mut doomed: Vec<HeaderName> =
        nominated.filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok()).collect();
    doomed.extend(headers.keys().filter(|name| is_hop_by_hop(name.as_str())).cloned());
    for name in doomed {
        headers.remove(name);
    }
}

fn strip_sessions(headers: &mut HeaderMap) {
    if !headers.contains_key(SET_COOKIE) {
        return;
    }
    let kept: Vec<_> = headers
        .get_all(SET_COOKIE)
        .iter()
        .filter(|cookie| {
            // Without `=` it is a name or a value, as the client likes.
            let mut parts = cookie.as_bytes().split(|byte| matches!(byte, b'=' | b';'));
            let name = parts.next().unwrap_or_default();
            !is_session_cookie(name.trim_ascii())
        })
        .cloned()
        .collect();
    headers.remove(SET_COOKIE);
    for cookie in kept {
        headers.append(SET_COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cleaned(bearer: &Bearer, headers: &[(&'static str, &str)]) -> HeaderMap {
        let mut response = Response::new(());
        for (name, value) in headers {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        clean(response, bearer).unwrap().into_parts().0.headers
    }

    #[test]
    fn a_session_made_for_a_bearer_stays_here() {
        let cookies = [
            ("set-cookie", "session=abc; HttpOnly"),
            ("set-cookie", "_token=\"\"; Max-Age=0"),
            ("set-cookie", "theme=dark"),
        ];
        for bearer in [Bearer::Airflows, Bearer::Removed, Bearer::Delegated] {
            let left = cleaned(&bearer, &cookies);
            assert_eq!(left.get_all(SET_COOKIE).iter().collect::<Vec<_>>(), ["theme=dark"]);
        }
        assert_eq!(cleaned(&Bearer::None, &cookies).get_all(SET_COOKIE).iter().count(), 3);
    }

    #[test]
    fn headers_of_the_connection_stay_here() {
        let left = cleaned(
            &Bearer::None,
            &[
                ("connection", "close, x-hop"),
                ("x-hop", "1"),
                ("keep-alive", "timeout=5"),
                ("x", "1"),
            ],
        );
        assert_eq!(left.len(), 1);
    }

    proptest! {
        #[test]
        fn no_session_cookie_passes_and_every_other_does(
            sent in prop::collection::vec(
                (" {0,2}", prop_oneof![Just("session".to_owned()), Just("_token".into()),
                    "[A-Za-z_]{1,9}"], " {0,2}(=[!-~]{0,8})?(; Path=/)?"),
                0..6,
            ),
        ) {
            let text = |(space, name, rest): &(String, String, String)| format!("{space}{name}{rest}");
            let cookies: Vec<String> = sent.iter().map(text).collect();
            let fields: Vec<_> = cookies.iter().map(|field| ("set-cookie", field.as_str())).collect();
            let others = |(_, name, _): &&(String, String, String)| {
                !matches!(name.as_str(), "session" | "_token")
            };
            let expected: Vec<String> = sent.iter().filter(others).map(text).collect();
            let left = cleaned(&Bearer::Airflows, &fields);
            let left: Vec<_> =
                left.get_all(SET_COOKIE).iter().map(|cookie| cookie.to_str().unwrap()).collect();
            prop_assert_eq!(left, expected);
        }
    }
}
