//! What comes back from Airflow, checked and cleaned before the client sees it.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, SET_COOKIE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::credential::is_session_cookie;
use crate::handoff::Bearer;
use crate::rejection::{Reason, Rejection};
use crate::sanitize::{WEBSOCKET, is_airsides, is_hop_by_hop, is_websocket, nominated};

/// Refuses what two readers might take for two different answers. Removes what is about the
/// connection to Airflow, what only airside says, and on answers to an Authorization the session
/// cookies that would outlive it (`Flask-AppBuilder` hands out 30 days). Other cookies stay.
///
/// `asked` says whether Airflow was asked to go on as a WebSocket.
pub fn clean<B>(
    mut response: Response<B>,
    bearer: &Bearer,
    asked: bool,
) -> Result<Response<B>, Rejection> {
    let invalid = |found| Rejection::found_that(Reason::UpstreamInvalid, found);
    let doomed = examine(response.headers()).map_err(invalid)?;
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if switches && !(asked && names_websocket(response.headers())) {
        return Err(invalid("an upgrade that was not asked for"));
    }
    let headers = response.headers_mut();
    for name in doomed {
        headers.remove(name);
    }
    if !matches!(bearer, Bearer::None) {
        strip_sessions(headers);
    }
    if switches {
        announce_websocket(headers);
    }
    Ok(response)
}

/// What says on either side that a WebSocket follows.
pub fn announce_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
}

/// The headers that stay here, of a head that makes one statement of one length (RFC 9112, sections
/// 6.1 and 6.3). We ask for no transfer coding but `chunked`, which every server may use.
fn examine(headers: &HeaderMap) -> Result<Vec<HeaderName>, &'static str> {
    let mut doomed = nominated(headers);
    let (mut codings, mut lengths) = (0, 0);
    for (name, value) in headers {
        if *name == TRANSFER_ENCODING {
            codings += if is_chunked(value) { 1 } else { 2 };
        }
        if *name == CONTENT_LENGTH {
            lengths += if is_number(value) { 1 } else { 2 };
        }
        if is_hop_by_hop(name.as_str()) || is_airsides(name.as_str()) {
            doomed.push(name.clone());
        }
    }
    match (codings, lengths) {
        (0, 0 | 1) | (1, 0) => Ok(doomed),
        (0, _) => Err("more than one Content-Length, or one that is no number"),
        (_, 0) => Err("a Transfer-Encoding other than chunked"),
        (_, _) => Err("both Transfer-Encoding and Content-Length"),
    }
}

fn is_number(length: &HeaderValue) -> bool {
    !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit)
}

fn is_chunked(coding: &HeaderValue) -> bool {
    coding.as_bytes().eq_ignore_ascii_case(b"chunked")
}

fn names_websocket(headers: &HeaderMap) -> bool {
    let mut named = headers.get_all(UPGRADE).iter();
    named.next().is_some_and(is_websocket)
        && named.next().is_none()
        && nominated(headers).contains(&UPGRADE)
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
        clean(response, bearer, false).unwrap().into_parts().0.headers
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
