//! Cache-Status says `stored` for what is stored, and for nothing else.

use crate::{
    client::Ending,
    harness::{TestProxy, until},
    origin::{Gate, Origin},
};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_short_body_that_came_with_its_headers_is_stored_before_it_is_sent() {
    let origin = Origin::start(|exchange| match exchange.target().as_str() {
        "/chunked" => exchange.send(format!("{CHUNKED}4\r\nbody\r\n0\r\n\r\n")),
        "/empty" => exchange.send(format!("{CHUNKED}0\r\n\r\n")),
        _ => exchange.ok("", "body"),
    });
    let proxy = TestProxy::to(&origin);
    for (target, body) in [("/chunked", "body"), ("/empty", ""), ("/sized", "body")] {
        let response = proxy.get(target);
        response.expect(200, "MISS", body);
        let status = response.field("cache-status").unwrap();
        assert!(
            status.ends_with("; fwd=uri-miss; fwd-status=200; stored"),
            "{status}"
        );
        proxy.get(target).expect(200, "HIT", body);
    }
}

#[test]
fn a_body_that_arrives_later_is_not_called_stored() {
    let gate = Gate::default();
    let opened = gate.clone();
    let origin = Origin::start(move |exchange| {
        exchange.send(CHUNKED);
        exchange.chunk("one");
        opened.wait();
        exchange.chunk("two");
        match exchange.target().as_str() {
            "/cut" => exchange.cut(),
            _ => exchange.send("0\r\n\r\n"),
        }
    });
    let proxy = TestProxy::to(&origin);
    for (target, ending) in [("/whole", Ending::Whole), ("/cut", Ending::Cut)] {
        let mut client = proxy.begin(target, "");
        client.wait_for("one");
        gate.open();
        let response = client.answer();
        assert_eq!(response.ending, ending);
        let status = response.field("cache-status").unwrap();
        assert!(
            status.ends_with("; fwd=uri-miss; fwd-status=200"),
            "{status}"
        );
    }
    proxy.get("/whole").expect(200, "HIT", "onetwo");
    assert_eq!(proxy.get("/cut").x_cache(), "MISS");
}

#[test]
fn a_response_that_the_cache_refuses_is_not_called_stored() {
    let gate = Gate::default();
    let opened = gate.clone();
    let origin = Origin::start(move |exchange| {
        if exchange.nth == 0 {
            opened.wait();
        }
        exchange.ok("", format!("#{}", exchange.nth));
    });
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.begin("/", "");
    origin.wait_for(1);
    proxy.clear();
    gate.open();
    let response = client.answer();
    response.expect(200, "MISS", "#0");
    let status = response.field("cache-status").unwrap();
    assert!(
        status.ends_with("; fwd-status=200; detail=cleared"),
        "{status}"
    );
    proxy.get("/").expect(200, "MISS", "#1");
}

#[test]
fn a_validated_response_that_is_refused_is_not_called_stored() {
    let gate = Gate::default();
    let origin = Origin::confirming_after(&gate, "Cache-Control: max-age=60\r\n");
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "#0");
    let mut client = proxy.begin("/", "");
    origin.wait_for(2);
    proxy.clear();
    gate.open();
    let response = client.answer();
    response.expect(200, "MISS", "#2");
    let status = response.field("cache-status").unwrap();
    assert!(status.ends_with("detail=cleared"), "{status}");
    until("nothing is stored", || proxy.stats().entries == 0);
}
