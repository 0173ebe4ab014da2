//! Clients that leave while their response is awaited, and clients that only end their input.

use crate::{
    client::{Client, Ending},
    coalescing::gated,
    harness::TestProxy,
    origin::{Exchange, Gate, Origin},
};

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    Reset,
    Close,
}

impl Leaving {
    fn leave(self, client: Client) {
        match self {
            Self::Reset => client.reset(),
            Self::Close => drop(client),
        }
    }
}

/// An origin that sends nothing, and opens the gate when a request is given up.
fn silent() -> (Origin, Gate) {
    gated(|exchange, given_up| {
        exchange.stall();
        given_up.open();
    })
}

#[test]
fn what_only_a_client_that_has_left_wanted_is_given_up_at_the_origin() {
    for leaving in [Leaving::Reset, Leaving::Close] {
        for request in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nCache-Control: no-store\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=4-9\r\n\r\n",
            "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST /chat HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            "POST /chat HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            // A pipelined request is no reason to wait.
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            let (origin, given_up) = silent();
            let proxy = TestProxy::to(&origin);
            let mut client = proxy.connect();
            client.send(request);
            origin.wait_for(1);
            leaving.leave(client);
            given_up.wait();
            assert_eq!(origin.count(), 1, "{leaving:?} {request:?}");
        }
    }
}

#[test]
fn a_validation_that_only_a_client_that_has_left_wanted_is_given_up() {
    let (origin, given_up) = gated(|exchange, given_up| match exchange.nth {
        0 => exchange.ok("ETag: \"v\"\r\nCache-Control: max-age=0\r\n", "body"),
        _ => {
            exchange.stall();
            given_up.open();
        }
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "body");
    let client = proxy.begin("/", "");
    origin.wait_for(2);
    client.reset();
    given_up.wait();
}

/// Waits until the proxy has noticed that the clients left that have left so far.
fn departures_noticed(proxy: &TestProxy, origin: &Origin, given_up: &Gate) {
    let before = origin.count();
    let client = proxy.begin("/silent", "");
    origin.wait_for(before + 1);
    client.reset();
    given_up.wait();
}

fn ok_after(gate: &Gate, exchange: &mut Exchange<'_>) {
    gate.wait();
    exchange.ok("", "body");
}

#[test]
fn a_fetch_that_another_request_waits_for_goes_on_and_is_stored() {
    let (opened, given_up) = (Gate::default(), Gate::default());
    let origin = Origin::start({
        let (opened, given_up) = (opened.clone(), given_up.clone());
        move |exchange| match exchange.target().as_str() {
            "/" => ok_after(&opened, exchange),
            _ => {
                exchange.stall();
                given_up.open();
            }
        }
    });
    let proxy = TestProxy::to(&origin);
    let leader = proxy.begin("/", "");
    origin.wait_for(1);
    let mut follower = proxy.begin("/", "");
    proxy.wait_for_followers(1);
    leader.reset();
    departures_noticed(&proxy, &origin, &given_up);
    opened.open();
    // A MISS, or a HIT if the response was stored before the follower looked.
    let answer = follower.answer();
    let found = (answer.status(), answer.text(), answer.ending);
    assert_eq!(found, (200, "body".to_owned(), Ending::Whole));
    proxy.get("/").expect(200, "HIT", "body");
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_fetch_is_given_up_when_its_last_follower_has_left() {
    let (origin, given_up) = silent();
    let proxy = TestProxy::to(&origin);
    let leader = proxy.begin("/", "");
    origin.wait_for(1);
    let follower = proxy.begin("/", "");
    proxy.wait_for_followers(1);
    leader.reset();
    follower.reset();
    given_up.wait();
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_client_that_only_ends_its_input_gets_its_response() {
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let (origin, gate) = gated(|exchange, gate| ok_after(gate, exchange));
        let proxy = TestProxy::to(&origin);
        let mut client = proxy.connect();
        client.send(request).end_input();
        // The interim response tells a client that reads from one that has closed its connection.
        assert_eq!(client.head().status, 100, "{request:?}");
        gate.open();
        client.answer().expect(200, "MISS", "body");
        assert!(client.is_closed());
        assert_eq!(origin.count(), 1);
    }
}

#[test]
fn an_http_1_0_client_that_ends_its_input_gets_its_response_and_no_interim_one() {
    let (opened, given_up) = (Gate::default(), Gate::default());
    let origin = Origin::start({
        let (opened, given_up) = (opened.clone(), given_up.clone());
        move |exchange| match exchange.target().as_str() {
            "/old" => ok_after(&opened, exchange),
            _ => {
                exchange.stall();
                given_up.open();
            }
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut old = proxy.connect();
    old.send("GET /old HTTP/1.0\r\n\r\n").end_input();
    origin.wait_for(1);
    // A client of HTTP/1.1 that has closed its connection is given up meanwhile, after the same time.
    drop(proxy.begin("/silent", ""));
    given_up.wait();
    opened.open();
    let answer = old.answer();
    answer.expect(200, "MISS", "body");
    assert_eq!(answer.interim.len(), 0);
}

#[test]
fn requests_before_the_end_of_the_input_are_all_answered() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    client.ask("/1", "").ask("/2", "").ask("/3", "").end_input();
    for target in ["/1", "/2", "/3"] {
        let body = format!("GET {target} #0");
        client.answer().expect(200, "MISS", &body);
    }
    assert!(client.is_closed());
}
