//! Effects of rules on their paths, both in the key and on the way to the origin.

use caching_proxy::policy::Mode;

use crate::{
    harness::TestProxy,
    instance::Home,
    origin::{Gate, Origin},
};

const SHOP: &str = "[[rules]]\npath = \"/shop/*\"\nignore_query = [\"utm_*\"]\nsort_query = true\n";

#[test]
fn ignored_parameters_are_neither_in_the_key_nor_forwarded() {
    let origin = Origin::counting("");
    let proxy = TestProxy::builder(&origin).file(SHOP).start();
    let body = "GET /shop/a?b=2&c=1 #0";
    proxy
        .get("/shop/a?c=1&utm_source=evil&b=2")
        .expect(200, "MISS", body);
    for query in [
        "b=2&c=1",
        "c=1&b=2",
        "utm_x&b=2&c=1",
        "b=2&utm_id=1&utm_id=2&c=1",
    ] {
        proxy
            .get(&format!("/shop/a?{query}"))
            .expect(200, "HIT", body);
    }
    assert_eq!(origin.only().target(), "/shop/a?b=2&c=1");
    proxy
        .get("/shop/a?utm_source=1")
        .expect(200, "MISS", "GET /shop/a #0");
    proxy.get("/shop/a").expect(200, "HIT", "GET /shop/a #0");
    proxy.get("/shop/a?").expect(200, "HIT", "GET /shop/a #0");
}

#[test]
fn a_lookalike_of_an_ignored_parameter_cannot_poison_the_cache() {
    let origin = Origin::counting("");
    let proxy = TestProxy::builder(&origin).file(SHOP).start();
    proxy
        .get("/shop/a?b=1")
        .expect(200, "MISS", "GET /shop/a?b=1 #0");
    // Everything that an origin may parse as a parameter of that name is in the key as it is forwarded.
    for query in [
        "b=1;utm_x=2",
        "UTM_X=2&b=1",
        "b=1&utm%5Fx=2",
        "b=1&utm+x=2",
        "b=1%26utm_x=2",
        "%75tm_x=2&b=1",
    ] {
        let target = format!("/shop/a?{query}");
        proxy
            .get(&target)
            .expect(200, "MISS", &format!("GET {target} #0"));
        assert_eq!(origin.last().target(), target);
    }
    proxy
        .get("/shop/a?b=1")
        .expect(200, "HIT", "GET /shop/a?b=1 #0");
    // The order of equal names may matter to the origin.
    proxy
        .get("/shop/a?b=2&b=1")
        .expect(200, "MISS", "GET /shop/a?b=2&b=1 #0");
    proxy
        .get("/shop/a?b=1&b=2")
        .expect(200, "MISS", "GET /shop/a?b=1&b=2 #0");
}

#[test]
fn other_paths_behave_as_without_rules() {
    let origin = Origin::counting("");
    let proxy = TestProxy::builder(&origin).file(SHOP).start();
    for target in [
        "/a?utm_x=1&b&a",
        "/shop?utm_x=1",
        "/Shop/a?utm_x=1",
        "/%73hop/a?utm_x=1",
        "/a/../shop/a?utm_x=1",
    ] {
        proxy
            .get(target)
            .expect(200, "MISS", &format!("GET {target} #0"));
        assert_eq!(origin.last().target(), target);
    }
}

#[test]
fn the_rewritten_target_is_the_same_for_every_method() {
    let origin = Origin::counting("");
    let proxy = TestProxy::builder(&origin).file(SHOP).start();
    proxy.get("/shop/a?b=1&utm_x=1");
    assert_eq!(
        proxy
            .request("HEAD", "/shop/a?utm_y&b=1", "", b"")
            .x_cache(),
        "HIT"
    );
    for method in ["PUT", "POST", "DELETE", "PATCH", "MADE-UP"] {
        proxy.get("/shop/a?b=1").expect(
            200,
            "HIT",
            &format!("GET /shop/a?b=1 #{}", origin.count() - 1),
        );
        proxy.request(method, "/shop/a?utm_y=2&b=1", "", b"x");
        assert_eq!(origin.last().target(), "/shop/a?b=1", "{method}");
        let stored = format!("GET /shop/a?b=1 #{}", origin.count());
        proxy.get("/shop/a?b=1").expect(200, "MISS", &stored);
    }
}

#[test]
fn targets_named_by_an_unsafe_response_are_invalidated_by_their_rewritten_key() {
    let origin = Origin::start(|exchange| match exchange.request.method().as_str() {
        "POST" => exchange.answer(
            "201 Created",
            "Location: /shop/a?c&utm_x=1&b\r\nContent-Location: /shop/b?utm_x\r\n",
            "",
        ),
        _ => exchange.ok("", format!("#{}", exchange.nth)),
    });
    let proxy = TestProxy::builder(&origin).file(SHOP).start();
    for target in ["/shop/a?b&c", "/shop/b"] {
        proxy.get(target).expect(200, "MISS", "#0");
    }
    proxy.request("POST", "/orders", "", b"x");
    for target in ["/shop/a?b&c", "/shop/b"] {
        proxy.get(target).expect(200, "MISS", "#1");
    }
}

#[test]
fn spellings_of_one_target_share_a_fetch() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            gate.wait();
            exchange.ok("", exchange.target());
        }
    });
    let proxy = TestProxy::builder(&origin).file(SHOP).start();
    let mut first = proxy.begin("/shop/a?utm_x=1&a", "");
    origin.wait_for(1);
    let mut second = proxy.begin("/shop/a?a&utm_y=2", "");
    gate.open();
    assert_eq!(first.answer().text(), "/shop/a?a");
    assert_eq!(second.answer().text(), "/shop/a?a");
    assert_eq!(origin.count(), 1);
}

#[test]
fn the_first_matching_rule_sets_the_policy() {
    let origin = Origin::counting("Cache-Control: no-store\r\n");
    let proxy = TestProxy::builder(&origin)
        .file(
            "[[rules]]\npath = \"/always/live*\"\npolicy = \"standard\"\n\
             [[rules]]\npath = \"/always/*\"\npolicy = \"always\"\n",
        )
        .start();
    for (target, second) in [
        ("/always/a?b", "HIT"),
        ("/always/live", "MISS"),
        ("/else", "MISS"),
    ] {
        assert_eq!(proxy.get(target).x_cache(), "MISS", "{target}");
        assert_eq!(proxy.get(target).x_cache(), second, "{target}");
    }
}

#[test]
fn a_rule_limits_the_lifetime_of_its_paths() {
    let origin = Origin::counting("");
    let proxy = TestProxy::builder(&origin)
        .file("ttl = \"1h\"\n[[rules]]\npath = \"/news/*\"\nttl = \"1m\"\n[[rules]]\npath = \"/rock\"\nttl = \"none\"")
        .start();
    for (target, ttl) in [
        ("/news/a", Some("60")),
        ("/a", Some("3600")),
        ("/rock", None),
    ] {
        proxy.get(target);
        let answer = proxy.get(target);
        let status = answer.field("cache-status").unwrap_or_default();
        let found = status.split("ttl=").nth(1);
        // A second may have passed.
        let at_most = found.map(|ttl| ttl.parse::<u64>().unwrap().next_multiple_of(60).to_string());
        assert_eq!(at_most.as_deref(), ttl, "{target} {status}");
    }
}

#[test]
fn request_directives_are_ignored_if_a_rule_says_so() {
    let origin = Origin::counting("");
    let proxy = TestProxy::builder(&origin)
        .file("[[rules]]\npath = \"/deaf\"\nignore_client_cache_control = true")
        .start();
    assert_eq!(
        proxy
            .get_with("/deaf", "Cache-Control: only-if-cached\r\n")
            .status(),
        200
    );
    for line in [
        "Cache-Control: no-cache",
        "Cache-Control: no-store",
        "Pragma: no-cache",
        "Cache-Control: only-if-cached",
    ] {
        proxy
            .get_with("/deaf", &format!("{line}\r\n"))
            .expect(200, "HIT", "GET /deaf #0");
    }
    assert_eq!(
        proxy
            .get_with("/a", "Cache-Control: only-if-cached\r\n")
            .status(),
        504
    );
    proxy.get_with("/a", "Cache-Control: no-store\r\n");
    assert_eq!(proxy.get("/a").x_cache(), "MISS");
    assert_eq!(
        proxy.get_with("/a", "Pragma: no-cache\r\n").x_cache(),
        "MISS"
    );
}

#[test]
fn partitions_follow_the_policy_of_the_rule() {
    let origin = Origin::start(|exchange| {
        let cookie = exchange.request.field("cookie").unwrap_or_default();
        exchange.ok("Cache-Control: max-age=60\r\n", cookie);
    });
    let proxy = TestProxy::builder(&origin)
        .file("policy = \"strict\"\n[[rules]]\npath = \"/own/*\"\npolicy = \"standard\"")
        .start();
    for (target, second) in [("/a", "a=1"), ("/own/a", "a=2")] {
        assert_eq!(proxy.get_with(target, "Cookie: a=1\r\n").text(), "a=1");
        assert_eq!(proxy.get_with(target, "Cookie: a=2\r\n").text(), second);
    }
}

#[test]
fn mistakes_in_the_rules_of_the_file_are_named() {
    let origin = Origin::counting("");
    let home = Home::new();
    home.write("config/proxy.toml", SHOP);
    let proxy = home.start(&origin.url(), &[]);
    proxy
        .get("/shop/a?utm_x=1")
        .expect(200, "MISS", "GET /shop/a #0");
    let twice = format!("{SHOP}\n{}", SHOP.replace("shop/*", "shop/a"));
    for (text, words) in [
        (
            twice.as_str(),
            &["proxy.toml:7", "\"/shop/a\"", "line 2", "\"/shop/*\""][..],
        ),
        ("[[rules]]\nttl = \"1m\"", &["proxy.toml:1", "no path"]),
        (
            "[[rules]]\npath = \"shop\"",
            &["proxy.toml:2", "path", "begins with \"/\" or \"*\""],
        ),
        (
            "[[rules]]\npath = \"/a\"\nttl = \"1m\"\nignore = 1",
            &["proxy.toml:4", "ignore", "ignore_query"],
        ),
    ] {
        home.write("config/proxy.toml", text);
        home.run(&["--origin", "http://127.0.0.1:9"])
            .refused(2, words);
    }
}

#[test]
fn a_rule_that_stores_nothing_sends_every_request_to_the_origin() {
    for mode in [Mode::Standard, Mode::Strict, Mode::Always] {
        let origin = Origin::start(|exchange| {
            let cookie = exchange.request.field("cookie").unwrap_or_default();
            let body = format!("<{cookie}> #{}", exchange.nth);
            exchange.ok("Cache-Control: max-age=60\r\n", body);
        });
        let file = "[[rules]]\npath = \"/live/*\"\nstore = false\n";
        let proxy = TestProxy::builder(&origin).file(file).mode(mode).start();
        let cookie = "Cookie: _ga=1\r\n";
        proxy.expect_gets(
            "/live/a",
            &[
                ("", "MISS", "<> #0"),
                // No cookie shapes a stored response here.
                (cookie, "MISS", "<_ga=1> #1"),
                ("", "MISS", "<> #2"),
            ],
        );
        let status = proxy
            .get("/live/a")
            .field("cache-status")
            .unwrap()
            .to_owned();
        assert_eq!(
            status,
            "caching-proxy; fwd=bypass; fwd-status=200; detail=rule"
        );
        for nth in 0..2 {
            let answer = proxy.request("POST", "/live/b", "", b"{}");
            answer.expect(200, "MISS", &format!("<> #{nth}"));
        }
        proxy.expect_gets("/other", &[("", "MISS", "<> #0"), ("", "HIT", "<> #0")]);
    }
}
