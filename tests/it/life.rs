//! How the process starts, drains and ends.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::airside::Airside;
use crate::support::config::Config;
use crate::support::entra::v2_app;
use crate::support::expect::assert_refused;
use crate::support::http::{Connection, Request};
use crate::support::issuer::Issuer;
use crate::support::scene::Scene;
use crate::support::upstream::{Answer, Upstream};
use crate::support::wait::{DEADLINE, eventually};

#[test]
fn it_says_where_it_listens_and_listens_there() {
    let scene = Scene::start();
    assert_ne!(scene.airside.proxy, scene.airside.admin);
    assert_eq!(scene.present(&v2_app().token()).status, 200);
    assert_eq!(scene.airside.ask_admin("/livez").status, 200);
}

#[test]
fn a_running_request_is_finished_before_the_end() {
    let (upstream, release) = held_upstream();
    let scene = Scene::of(Issuer::start(), upstream, |config| {
        config.set("/drain/delay", "2s").set("/drain/timeout", "25s")
    });
    let token = v2_app().token();
    let (proxy, admin) = (scene.airside.proxy, scene.airside.admin);
    let held = thread::spawn({
        let request = Request::get("/api/v2/held").bearer(&token);
        move || request.send(proxy)
    });
    eventually("the request is under way", || scene.upstream.requests().first().map(|_| ()));
    scene.airside.terminate();
    eventually("no longer ready", || {
        (Request::get("/readyz").try_send(admin).ok()?.status == 503).then_some(())
    });
    // While the load balancers have not yet heard of it, it serves as before.
    assert_eq!(scene.present(&token).status, 200);
    assert_eq!(scene.airside.ask_admin("/livez").status, 200);
    wait_until_closed(proxy);
    release.send(()).unwrap();
    let answer = held.join().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ended = scene.airside.ended_within(DEADLINE);
    assert_eq!(ended.code, Some(0), "{}", ended.log());
}

#[test]
fn an_answer_that_streams_is_finished_before_the_end() {
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let upstream = Upstream::scripted(move |mut reader| {
        use std::io::Write as _;
        let Ok(head) = reader.head() else { return };
        if !head.first.contains("/api/v2/dags") {
            return;
        }
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        reader.stream.write_all(head).unwrap();
        gate.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        reader.stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").unwrap();
    });
    let scene = Scene::of(Issuer::start(), upstream, |config| config);
    let mut connection = Connection::open(scene.airside.proxy);
    let request = Request::get("/api/v2/dags").bearer(&v2_app().token());
    connection.send(&request.bytes(scene.airside.proxy)).unwrap();
    connection.head().unwrap();
    assert_eq!(connection.chunk().unwrap(), b"first");
    scene.airside.terminate();
    let proxy = scene.airside.proxy;
    wait_until_closed(proxy);
    go_on.send(()).unwrap();
    assert_eq!(connection.chunk().unwrap(), b"last");
    assert!(connection.chunk().unwrap().is_empty());
    assert_eq!(scene.airside.ended_within(DEADLINE).code, Some(0));
}

#[test]
fn idle_connections_do_not_delay_the_end() {
    let scene = Scene::with(|config| config.set("/drain/timeout", "10m"));
    let mut used = Connection::open(scene.airside.proxy);
    assert_eq!(used.ask(&Request::get("/api/v2/dags").bearer(&v2_app().token())).status, 200);
    let _unused = Connection::open(scene.airside.proxy);
    scene.airside.terminate();
    assert_eq!(scene.airside.ended_within(DEADLINE).code, Some(0));
}

#[test]
fn the_end_comes_even_when_a_request_does_not() {
    let (upstream, _release) = held_upstream();
    let scene = Scene::of(Issuer::start(), upstream, |config| config.set("/drain/timeout", "1s"));
    let proxy = scene.airside.proxy;
    let held = thread::spawn(move || {
        Request::get("/api/v2/held").bearer(&v2_app().token()).try_send(proxy)
    });
    eventually("the request is under way", || scene.upstream.requests().first().map(|_| ()));
    scene.airside.terminate();
    scene.airside.ended_within(DEADLINE);
    drop(held.join().unwrap());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (upstream, _release) = held_upstream();
    let scene = Scene::of(Issuer::start(), upstream, |config| {
        config.set("/drain/delay", "5m").set("/drain/timeout", "5m")
    });
    let (proxy, admin) = (scene.airside.proxy, scene.airside.admin);
    let held = thread::spawn(move || {
        Request::get("/api/v2/held").bearer(&v2_app().token()).try_send(proxy)
    });
    eventually("the request is under way", || scene.upstream.requests().first().map(|_| ()));
    scene.airside.terminate();
    eventually("no longer ready", || {
        (Request::get("/readyz").try_send(admin).ok()?.status == 503).then_some(())
    });
    scene.airside.terminate();
    scene.airside.ended_within(Duration::from_secs(20));
    drop(held.join().unwrap());
}

#[test]
fn asked_to_drain_ahead_it_takes_the_first_sigterm_for_that_end() {
    let (upstream, release) = held_upstream();
    let scene = Scene::of(Issuer::start(), upstream, |config| {
        config.set("/drain/delay", "5s").set("/drain/timeout", "25s")
    });
    let (proxy, admin) = (scene.airside.proxy, scene.airside.admin);
    let held =
        thread::spawn(move || Request::get("/api/v2/held").bearer(&v2_app().token()).send(proxy));
    eventually("the request is under way", || scene.upstream.requests().first().map(|_| ()));
    let asked = Airside::run(&["drain", "--pid", &scene.airside.id().to_string()], &[]);
    assert_eq!(asked.code, Some(0), "{}", asked.log());
    eventually("no longer ready", || {
        (Request::get("/readyz").try_send(admin).ok()?.status == 503).then_some(())
    });
    let kept = Request::get("/api/v2/dags").bearer(&v2_app().token()).send(proxy);
    assert_eq!((kept.status, kept.header("connection")), (200, Some("close")));
    scene.airside.terminate();
    wait_until_closed(proxy);
    release.send(()).unwrap();
    let answer = held.join().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ended = scene.airside.ended_within(DEADLINE);
    assert_eq!(ended.code, Some(0), "{}", ended.log());
}

#[test]
fn asked_to_drain_ahead_it_ends_by_itself_and_at_once_when_told_twice() {
    let scene = Scene::start();
    let number = scene.airside.id().to_string();
    assert_eq!(Airside::run(&["drain", "--pid", &number], &[]).code, Some(0));
    assert_eq!(scene.airside.ended_within(DEADLINE).code, Some(0));

    let (upstream, _release) = held_upstream();
    let scene = Scene::of(Issuer::start(), upstream, |config| {
        config.set("/drain/delay", "5m").set("/drain/timeout", "5m")
    });
    let (admin, number) = (scene.airside.admin, scene.airside.id().to_string());
    assert_eq!(Airside::run(&["drain", "--pid", &number], &[]).code, Some(0));
    eventually("no longer ready", || {
        (Request::get("/readyz").try_send(admin).ok()?.status == 503).then_some(())
    });
    // The first is what the pod sends anyway.
    scene.airside.terminate();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(Request::get("/readyz").send(admin).status, 503, "{}", scene.airside.log());
        thread::sleep(Duration::from_millis(50));
    }
    scene.airside.terminate();
    assert_eq!(scene.airside.ended_within(Duration::from_secs(20)).code, Some(1));
}

#[test]
fn while_it_drains_answers_ask_clients_to_connect_anew() {
    let scene = Scene::with(|config| config.set("/drain/delay", "5m"));
    let request = Request::get("/api/v2/dags").bearer(&v2_app().token());
    let mut kept = Connection::open(scene.airside.proxy);
    assert_eq!(kept.ask(&request).header("connection"), None);
    scene.airside.terminate();
    eventually("no longer ready", || {
        (scene.airside.ask_admin("/readyz").status == 503).then_some(())
    });
    let refused = Request::get("/api/v2/dags");
    for (mut connection, request, status) in [
        (kept, &request, 200),
        (Connection::open(scene.airside.proxy), &request, 200),
        (Connection::open(scene.airside.proxy), &refused, 401),
    ] {
        let answer = connection.ask(request);
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")));
        assert!(connection.rest().unwrap().is_empty(), "and closes");
    }
}

/// Twenty-four clients with connections of their own, kept or new for each request, through changes
/// of the configuration and up to the end; and one answer that is longer than all of it.
#[test]
fn no_request_is_lost_through_changes_and_the_end() {
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let upstream = Upstream::scripted(move |mut reader| {
        use std::io::Write as _;
        while let Ok(head) = reader.head() {
            if head.first.contains("/api/v2/long") {
                let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
                reader.stream.write_all(head).unwrap();
                gate.lock().unwrap().recv_timeout(2 * DEADLINE).unwrap();
                reader.stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").unwrap();
            } else if reader.stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
                return;
            }
        }
    });
    let scene = Scene::of(Issuer::start(), upstream, |config| {
        config.set("/drain/delay", "8s").set("/drain/timeout", "60s")
    });
    let (proxy, token) = (scene.airside.proxy, v2_app().token());
    let mut long = Connection::open(proxy);
    long.send(&Request::get("/api/v2/long").bearer(&token).bytes(proxy)).unwrap();
    long.head().unwrap();
    assert_eq!(long.chunk().unwrap(), b"first");
    let (leaving, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let request = Request::get("/api/v2/dags").bearer(&token);
    thread::scope(|scope| {
        for client in 0..24 {
            let (leaving, served, request) = (&leaving, &served, &request);
            scope.spawn(move || {
                let keeps = client % 2 == 0;
                let mut connection = Connection::open(proxy);
                loop {
                    // As a load balancer that has heard of the end: nothing new goes there.
                    let last = leaving.load(Relaxed);
                    let answer = connection.ask(request);
                    assert_eq!(answer.status, 204);
                    served.fetch_add(1, Relaxed);
                    let closed = answer.header("connection") == Some("close");
                    if last {
                        assert!(closed);
                        return;
                    }
                    if closed || !keeps {
                        connection = Connection::open(proxy);
                    }
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
        let go_on_serving = || {
            let until = served.load(Relaxed) + 200;
            eventually("requests are served", || (served.load(Relaxed) >= until).then_some(()));
        };
        for minutes in 1..3 {
            go_on_serving();
            scene.airside.hang_up();
            go_on_serving();
            scene.airside.changes(|config| config.set("/keys/stale_for", format!("{minutes}m")));
        }
        go_on_serving();
        scene.airside.terminate();
        eventually("no longer ready", || {
            (scene.airside.ask_admin("/readyz").status == 503).then_some(())
        });
        leaving.store(true, Relaxed);
    });
    wait_until_closed(proxy);
    go_on.send(()).unwrap();
    assert_eq!(long.chunk().unwrap(), b"last");
    assert!(long.chunk().unwrap().is_empty());
    let ended = scene.airside.ended_within(DEADLINE);
    assert_eq!(ended.code, Some(0), "{}", ended.log());
}

#[test]
fn a_port_in_use_ends_it_with_an_error() {
    let taken = Upstream::start();
    for pointer in ["/listen", "/admin/listen"] {
        let config = Config::new("http://127.0.0.1:1", &taken.url())
            .set(pointer, taken.address().to_string());
        let ended = Airside::fails(&config);
        assert_eq!(ended.code, Some(1), "{}", ended.log());
        let port = taken.address().port().to_string();
        assert!(ended.log().contains(&port), "{}", ended.log());
    }
}

/// Waits until nobody is served any more who comes now: turned away, or told that it drains.
fn wait_until_closed(proxy: SocketAddr) {
    eventually("nobody is served any more", || {
        match Request::get("/api/v2/version").try_send(proxy) {
            Ok(answer) if answer.status == 503 => {
                assert_refused(&answer, 503, "draining");
                Some(())
            }
            Ok(_) => None,
            Err(_) => Some(()),
        }
    });
}

/// Answers everything but `/api/v2/held`, which waits for the sender.
fn held_upstream() -> (Upstream, Sender<()>) {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let upstream = Upstream::answering(move |request| {
        if request.target() == "/api/v2/held" {
            let _released = held.lock().unwrap().recv_timeout(DEADLINE);
        }
        Answer::ok(&[])
    });
    (upstream, release)
}
