//! Limits of the rate of requests to the origin: `--max-rate`, and those that the origin sets with Retry-After.

use crate::{
    client::Client,
    failure::assert_plain,
    harness::{TestProxy, http_date},
    instance::{Home, Instance},
    origin::{Exchange, Gate, Origin},
    ports::free_port,
};

/// An origin whose responses have this head line and header lines for `/busy`, are stale at once for `/old`, and fresh
/// until cleared for other targets.
fn busy(status: &'static str, lines: impl Into<String>) -> Origin {
    let lines = lines.into();
    Origin::start(
        move |exchange: &mut Exchange<'_>| match exchange.target().as_str() {
            "/busy" => exchange.answer(status, &lines, "come back later"),
            "/old" => exchange.ok("ETag: \"v\"\r\nCache-Control: max-age=0\r\n", "old"),
            "/must" => exchange.ok(
                "ETag: \"v\"\r\nCache-Control: max-age=0, must-revalidate\r\n",
                "must",
            ),
            "/swr" => exchange.ok(
                "Cache-Control: max-age=0, stale-while-revalidate=600\r\n",
                "swr",
            ),
            target => {
                let body = target.to_owned();
                exchange.ok("", body);
            }
        },
    )
}

/// The 503 of the proxy's own, with these words and a Retry-After in this range.
#[track_caller]
fn put_off(proxy: &Instance, target: &str, seconds: std::ops::RangeInclusive<u64>, words: &str) {
    let answer = proxy.get(target);
    assert_plain(&answer, 503);
    assert!(answer.text().contains(words), "{}", answer.text());
    let retry_after = answer.field("retry-after").unwrap().parse().unwrap();
    assert!(seconds.contains(&retry_after), "{retry_after}");
}

#[test]
fn requests_above_the_rate_are_put_off_and_hits_are_not() {
    let origin = busy("200 OK", "");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &["--max-rate", "2/h,2"]);
    proxy.get("/a").expect(200, "MISS", "/a");
    proxy.get("/old").expect(200, "MISS", "old");
    put_off(&proxy, "/b", 1790..=1800, "--max-rate 2/h,2");
    for _ in 0..3 {
        proxy.get("/a").expect(200, "HIT", "/a");
        // It is stale, and may be served stale.
        proxy.get("/old").expect(200, "HIT", "old");
    }
    assert_eq!(origin.count(), 2);
    let stats = home.run_json(&["stats", "--json"]);
    assert_eq!(stats["failed"], 1, "{stats}");
    let why = home.run_ok(&["why", "/b"]);
    assert!(why.contains("--max-rate allows no more requests"), "{why}");
    proxy.log_line(&["/old", "stale: --max-rate"]);
}

#[test]
fn a_few_requests_wait_for_their_turn() {
    let origin = busy("200 OK", "");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &["--max-rate", "20/s,1"]);
    let targets = ["/1", "/2", "/3", "/4", "/5"];
    let mut clients = targets.map(|target| {
        let mut client = Client::connect(proxy.port);
        client.ask(target, "");
        client
    });
    for (client, target) in clients.iter_mut().zip(targets) {
        client.answer().expect(200, "MISS", target);
    }
    assert_eq!(origin.count(), targets.len());
}

#[test]
fn equal_requests_that_wait_share_one_place() {
    let origin = busy("200 OK", "");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &["--max-rate", "1/s"]);
    proxy.get("/first").expect(200, "MISS", "/first");
    let mut clients: Vec<_> = (0..5)
        .map(|_| {
            let mut client = Client::connect(proxy.port);
            client.ask("/same", "");
            client
        })
        .collect();
    for client in &mut clients {
        assert_eq!(client.answer().text(), "/same");
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn an_origin_that_asks_for_a_pause_gets_it() {
    let later = format!("Retry-After: {}\r\n", http_date(60));
    for (status, lines, seconds) in [
        (
            "429 Too Many Requests",
            "Retry-After: 60\r\n".to_owned(),
            50..=60,
        ),
        ("503 Service Unavailable", later, 50..=60),
        (
            "429 Too Many Requests",
            "Retry-After: 99999999999\r\n".to_owned(),
            290..=300,
        ),
    ] {
        let origin = busy(status, lines.clone());
        let home = Home::new();
        let proxy = home.start(&origin.url(), &[]);
        for target in ["/a", "/old", "/must", "/swr"] {
            assert_eq!(proxy.get(target).x_cache(), "MISS");
        }
        // The response that asks for the pause is the origin's own.
        let asked = proxy.get("/busy");
        let code: u16 = status[..3].parse().unwrap();
        asked.expect(code, "MISS", "come back later");
        assert!(lines.contains(asked.field("retry-after").unwrap()));
        let reason = format!("responded with {code}");
        put_off(&proxy, "/b", seconds.clone(), &reason);
        put_off(&proxy, "/busy", seconds.clone(), &reason);
        // What must be validated is not served stale.
        put_off(&proxy, "/must", seconds, &reason);
        for (target, body) in [("/a", "/a"), ("/old", "old"), ("/swr", "swr")] {
            proxy.get(target).expect(200, "HIT", body);
        }
        assert_eq!(origin.count(), 5, "{status}");
    }
}

/// An origin whose first response to a target is stale at once, with this Cache-Control. The second one waits for the gate,
/// and has this status and these header lines.
fn limiting(
    gate: &Gate,
    cache_control: &'static str,
    status: &'static str,
    lines: &'static str,
) -> Origin {
    let gate = gate.clone();
    Origin::start(move |exchange| match exchange.nth {
        0 => {
            let lines = format!("ETag: \"v\"\r\nCache-Control: {cache_control}\r\n");
            exchange.ok(&lines, "old");
        }
        _ => {
            gate.wait();
            exchange.answer(status, lines, "come back later");
        }
    })
}

#[test]
fn a_validation_that_is_put_off_gets_the_stale_response() {
    const LATER: &str = "Retry-After: 60\r\n";
    const LIMIT: &str = "429 Too Many Requests";
    for (cache_control, status, lines, expected) in [
        ("max-age=0", LIMIT, LATER, 200),
        ("max-age=0", "503 Unavailable", LATER, 200),
        ("max-age=0, stale-if-error=60", LIMIT, LATER, 200),
        // Not allowed, or no pause.
        ("max-age=0, must-revalidate", LIMIT, LATER, 429),
        ("no-cache", LIMIT, LATER, 429),
        ("max-age=0, must-revalidate", "503 Unavailable", LATER, 503),
        ("max-age=0", LIMIT, "", 429),
        ("max-age=0", LIMIT, "Retry-After: 0\r\n", 429),
    ] {
        let gate = Gate::default();
        gate.open();
        let origin = limiting(&gate, cache_control, status, lines);
        let home = Home::new();
        let proxy = home.start(&origin.url(), &[]);
        proxy.get("/a").expect(200, "MISS", "old");
        let validated = proxy.get("/a");
        let what = format!("{cache_control}, {status}, {lines:?}");
        assert_eq!(validated.status(), expected, "{what}");
        assert_eq!(origin.count(), 2, "{what}");
        if expected == 200 {
            validated.expect(200, "HIT", "old");
            assert_eq!(validated.field("retry-after"), None, "{what}");
            let code = &status[..3];
            let said = validated.field("cache-status").unwrap();
            assert!(said.contains(&format!("fwd-status={code}")), "{said}");
            proxy.log_line(&["/a", "stale: the origin has asked for a pause"]);
            // The stored response is still there, and the origin is left alone.
            proxy.get("/a").expect(200, "HIT", "old");
            put_off(&proxy, "/b", 50..=60, &format!("responded with {code}"));
            assert_eq!(origin.count(), 2, "{what}");
        }
    }
}

#[test]
fn those_who_share_a_validation_that_is_put_off_get_the_stale_response_too() {
    let gate = Gate::default();
    let status = "429 Too Many Requests";
    let origin = limiting(&gate, "max-age=0", status, "Retry-After: 60\r\n");
    let proxy = TestProxy::to(&origin);
    proxy.get("/a").expect(200, "MISS", "old");
    let mut leader = proxy.begin("/a", "");
    origin.wait_for(2);
    let mut followers: Vec<Client> = (0..3).map(|_| proxy.begin("/a", "")).collect();
    proxy.wait_for_followers(3);
    gate.open();
    leader.answer().expect(200, "HIT", "old");
    for follower in &mut followers {
        follower.answer().expect(200, "HIT", "old");
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_pause_is_shown() {
    let origin = busy("429 Too Many Requests", "Retry-After: 200\r\n");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    assert_eq!(proxy.get("/busy").status(), 429);
    proxy.log_line(&["WARN", "429", "Retry-After", "no requests for 200 s"]);
    let stats = home.run_json(&["stats", "--json"]);
    let left = stats["origin"]["paused_seconds"].as_u64().unwrap();
    assert!((190..=201).contains(&left), "{stats}");
    assert!(
        home.run_ok(&["stats"])
            .contains(" gets requests again, as it has asked for")
    );
    let why = home.run_ok(&["why", "/b"]);
    assert!(
        why.contains("it has responded with 429 and Retry-After"),
        "{why}"
    );
}

#[test]
fn without_a_usable_retry_after_there_is_no_pause() {
    for (status, lines) in [
        ("429 Too Many Requests", "Retry-After: 0\r\n"),
        ("429 Too Many Requests", "Retry-After: -5\r\n"),
        ("429 Too Many Requests", "Retry-After: soon\r\n"),
        (
            "503 Service Unavailable",
            "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
        ),
        ("503 Service Unavailable", ""),
        (
            "301 Moved Permanently",
            "Location: /\r\nRetry-After: 60\r\n",
        ),
    ] {
        let origin = busy(status, lines);
        let home = Home::new();
        let proxy = home.start(&origin.url(), &[]);
        assert_eq!(proxy.get("/busy").text(), "come back later");
        proxy.get("/a").expect(200, "MISS", "/a");
    }
}

#[test]
fn an_unsafe_request_that_was_put_off_invalidates_nothing() {
    let origin = busy("429 Too Many Requests", "Retry-After: 60\r\n");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    proxy.get("/items").expect(200, "MISS", "/items");
    assert_eq!(proxy.get("/busy").status(), 429);
    let mut client = Client::connect(proxy.port);
    let post = "POST /items HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody";
    assert_plain(&client.send(post).answer(), 503);
    proxy.get("/items").expect(200, "HIT", "/items");
    assert_eq!(origin.count(), 2);
}

#[test]
fn each_origin_has_its_own_limit_and_pause() {
    let first = busy("429 Too Many Requests", "Retry-After: 60\r\n");
    let second = busy("200 OK", "");
    let home = Home::new();
    let route = format!("/b/*={}", second.url());
    let dashboard = free_port();
    let address = format!("127.0.0.1:{dashboard}");
    let args = [
        "--route",
        &route,
        "--max-rate",
        "2/h,2",
        "--dashboard",
        &address,
    ];
    let proxy = home.start(&first.url(), &args);
    assert_eq!(proxy.get("/busy").status(), 429);
    put_off(&proxy, "/x", 50..=60, "responded with 429");
    for target in ["/b/1", "/b/2"] {
        proxy.get(target).expect(200, "MISS", target);
    }
    put_off(&proxy, "/b/3", 1790..=1800, "--max-rate 2/h,2");
    put_off(&proxy, "/x", 40..=60, "responded with 429");

    let mut client = Client::connect(dashboard);
    client.send(format!(
        "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    ));
    let metrics = client.answer().text();
    let paused_seconds = |origin: &Origin| {
        let name = "caching_proxy_origin_paused_seconds";
        let sample = format!("{name}{{origin=\"{}\"}} ", origin.url());
        let found = metrics.lines().find_map(|line| line.strip_prefix(&sample));
        found
            .unwrap_or_else(|| panic!("{sample} in\n{metrics}"))
            .parse::<f64>()
            .unwrap()
    };
    assert!(paused_seconds(&first) > 40.0, "{metrics}");
    assert!(paused_seconds(&second) < 1.0, "{metrics}");
}

#[test]
fn while_one_origin_of_a_list_is_paused_the_next_one_validates() {
    let first = busy("429 Too Many Requests", "Retry-After: 60\r\n");
    let second = busy("200 OK", "");
    let other = busy("200 OK", "");
    let urls = [first.url(), second.url()];
    let file = format!("[[routes]]\npath = \"/*\"\norigin = {urls:?}\n");
    let proxy = TestProxy::builder(&other).file(&file).start();
    proxy.get("/swr").expect(200, "MISS", "swr");
    assert_eq!(proxy.get("/busy").status(), 429);
    assert_eq!((first.count(), second.count()), (2, 0));
    proxy.get("/swr").expect(200, "HIT", "swr");
    second.wait_for(1);
    proxy.get("/b").expect(200, "MISS", "/b");
    assert_eq!(first.count(), 2);
}

#[test]
fn rates_that_are_none_are_refused() {
    let home = Home::new();
    for wrong in ["10", "0/s", "10/d", "10/s,0", "-1/s"] {
        let flag = format!("--max-rate={wrong}");
        home.run(&["--origin", "http://a.test", &flag])
            .refused(2, &["--max-rate", "\"10/s\""]);
    }
}
