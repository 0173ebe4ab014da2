//! Fetches that fail, or are silent, while other requests wait for them.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use crate::{
    client::{Client, Ending},
    harness::{DEADLINE, TestProxy, until},
    origin::{Gate, Origin},
};

const SECOND: Duration = Duration::from_secs(1);

fn fetches(origin: &Origin, target: &str) -> usize {
    let seen = origin.seen();
    seen.iter().filter(|seen| seen.target() == target).count()
}

/// A leader, and this number of requests that follow its fetch.
fn crowd(proxy: &TestProxy, origin: &Origin, followers: u64) -> (Client, Vec<Client>) {
    let leader = proxy.begin("/", "");
    origin.wait_for(1);
    let others = (0..followers).map(|_| proxy.begin("/", "")).collect();
    proxy.wait_for_followers(followers);
    (leader, others)
}

#[test]
fn followers_of_a_silent_fetch_share_another_one_after_their_wait() {
    let origin = Origin::start(|exchange| match exchange.nth {
        0 => exchange.stall(),
        _ => exchange.ok("", "body"),
    });
    let proxy = TestProxy::builder(&origin)
        .with(|config| config.coalesce_wait = SECOND)
        .start();
    let (leader, mut others) = crowd(&proxy, &origin, 10);
    for other in &mut others {
        let answer = other.answer();
        let found = (answer.status(), answer.text(), answer.ending);
        assert_eq!(found, (200, "body".to_owned(), Ending::Whole));
    }
    assert_eq!(fetches(&origin, "/"), 2);
    proxy.get("/").expect(200, "HIT", "body");
    drop(leader);
}

#[test]
fn a_request_does_not_wait_for_a_fetch_that_has_been_silent_for_long() {
    let origin = Origin::start(|exchange| match exchange.nth {
        0 => exchange.stall(),
        _ => exchange.ok("", "body"),
    });
    let proxy = TestProxy::builder(&origin)
        .with(|config| config.coalesce_wait = Duration::from_millis(1))
        .start();
    let _silent = proxy.begin("/", "");
    origin.wait_for(1);
    proxy.get("/").expect(200, "MISS", "body");
}

#[test]
fn followers_get_the_head_of_a_slow_fetch_after_another_one_has_begun() {
    let (slow, late) = (Gate::default(), Gate::default());
    let origin = Origin::start({
        let (slow, late) = (slow.clone(), late.clone());
        move |exchange| match exchange.nth {
            0 => {
                slow.wait();
                exchange.ok("", "slow");
            }
            _ => {
                late.wait();
                exchange.ok("", "late");
            }
        }
    });
    let proxy = TestProxy::builder(&origin)
        .with(|config| config.coalesce_wait = SECOND)
        .start();
    let (mut leader, others) = crowd(&proxy, &origin, 5);
    origin.wait_for(2);
    // One of them leads the second fetch, which the others follow as well.
    proxy.wait_for_followers(5 + 4);
    slow.open();
    leader.answer().expect(200, "MISS", "slow");
    let (sender, answers) = mpsc::channel();
    for mut other in others {
        let sender = sender.clone();
        std::thread::spawn(move || sender.send(other.answer().text()));
    }
    for _ in 0..4 {
        assert_eq!(answers.recv_timeout(DEADLINE).unwrap(), "slow");
    }
    late.open();
    assert_eq!(answers.recv_timeout(DEADLINE).unwrap(), "late");
}

#[test]
fn one_timeout_is_for_all_who_wait() {
    let origin = Origin::start(|exchange| exchange.stall());
    let proxy = TestProxy::builder(&origin)
        .with(|config| config.timeout = SECOND)
        .start();
    let (mut leader, mut others) = crowd(&proxy, &origin, 10);
    assert_eq!(leader.answer().status(), 504);
    for other in &mut others {
        let answer = other.answer();
        assert_eq!(answer.status(), 504);
        assert!(answer.text().contains("did not respond in time"));
    }
    assert_eq!(fetches(&origin, "/"), 1);
}

#[test]
fn nobody_waits_longer_than_a_leader_for_an_origin_that_stays_silent() {
    let origin = Origin::start(|exchange| exchange.stall());
    let proxy = TestProxy::builder(&origin)
        .with(|config| {
            config.timeout = 3 * SECOND;
            config.coalesce_wait = SECOND;
        })
        .start();
    let since = Instant::now();
    let (mut leader, mut others) = crowd(&proxy, &origin, 10);
    for client in others.iter_mut().chain([&mut leader]) {
        assert_eq!(client.answer().status(), 504);
    }
    // A request that leads a second fetch does not wait for all of the time again.
    let waited = since.elapsed();
    assert!(waited < Duration::from_millis(4800), "{waited:?}");
    let begun = fetches(&origin, "/");
    assert!((2..=4).contains(&begun), "{begun} fetches");
}

#[test]
fn after_a_cut_one_follower_fetches_for_the_others() {
    let (gate, joined) = (Gate::default(), Gate::default());
    let origin = Origin::start({
        let (gate, joined) = (gate.clone(), joined.clone());
        move |exchange| match exchange.nth {
            0 => {
                gate.wait();
                exchange.reset();
            }
            _ => {
                joined.wait();
                exchange.ok("", "body");
            }
        }
    });
    let proxy = TestProxy::to(&origin);
    let (mut leader, mut others) = crowd(&proxy, &origin, 10);
    gate.open();
    assert_eq!(leader.answer().status(), 502);
    until("the others have a fetch", || fetches(&origin, "/") == 2);
    proxy.wait_for_followers(9);
    joined.open();
    for other in &mut others {
        let answer = other.answer();
        assert_eq!((answer.status(), answer.text()), (200, "body".to_owned()));
    }
    assert_eq!(fetches(&origin, "/"), 2);
}

/// Responds with "stored", stale at once, until the gate is open; and from then on not at all.
fn failing_after(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |exchange| match gate.is_open() {
        true => exchange.stall(),
        false => exchange.ok("ETag: \"v\"\r\nCache-Control: max-age=0\r\n", "stored"),
    })
}

#[test]
fn what_may_be_stale_is_served_at_once_while_the_origin_is_known_to_fail() {
    const TIMEOUT: Duration = Duration::from_secs(3);
    let gate = Gate::default();
    let origin = failing_after(&gate);
    let proxy = TestProxy::builder(&origin)
        .with(|config| config.timeout = TIMEOUT)
        .start();
    for target in ["/", "/other"] {
        proxy.get(target).expect(200, "MISS", "stored");
    }
    gate.open();
    // The first request finds out, and those who wait with it get the same.
    let mut all: Vec<Client> = (0..5).map(|_| proxy.begin("/", "")).collect();
    for client in &mut all {
        client.answer().expect(200, "HIT", "stored");
    }
    assert_eq!(fetches(&origin, "/"), 2);
    let begun = Instant::now();
    for target in ["/other", "/", "/other"] {
        proxy.get(target).expect(200, "HIT", "stored");
    }
    assert!(begun.elapsed() < TIMEOUT, "{:?}", begun.elapsed());
    // It is asked in the background.
    until("the origin is asked", || fetches(&origin, "/other") == 2);
    // What must be validated still waits for the origin.
    let must = proxy.get_with("/other", "Cache-Control: no-cache\r\n");
    assert_eq!(must.status(), 504);
}

#[test]
fn a_failing_status_to_a_validation_is_for_all_who_may_have_the_stale_response() {
    let joined = Gate::default();
    let origin = Origin::start({
        let joined = joined.clone();
        move |exchange| match exchange.nth {
            0 => exchange.ok("ETag: \"v\"\r\nCache-Control: max-age=0\r\n", "stored"),
            _ => {
                joined.wait();
                exchange.answer("503 Service Unavailable", "", "failing");
            }
        }
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "stored");
    let mut all: Vec<Client> = (0..10).map(|_| proxy.begin("/", "")).collect();
    proxy.wait_for_followers(9);
    joined.open();
    for client in &mut all {
        client.answer().expect(200, "HIT", "stored");
    }
    assert_eq!(fetches(&origin, "/"), 2);
}

#[test]
fn one_request_of_each_variant_fetches_for_the_others() {
    let (first, joined) = (Gate::default(), Gate::default());
    let origin = Origin::start({
        let (first, joined) = (first.clone(), joined.clone());
        move |exchange| {
            let language = exchange.request.field("accept-language").unwrap();
            match exchange.nth {
                0 => first.wait(),
                _ => joined.wait(),
            }
            exchange.ok("Vary: Accept-Language\r\n", language);
        }
    });
    let proxy = TestProxy::to(&origin);
    let language = |name: &str| format!("Accept-Language: {name}\r\n");
    let mut english = proxy.begin("/", &language("en"));
    origin.wait_for(1);
    let mut others: Vec<(&str, Client)> = (0..10)
        .map(|nth| if nth % 2 == 0 { "de" } else { "fr" })
        .map(|name| (name, proxy.begin("/", &language(name))))
        .collect();
    proxy.wait_for_followers(10);
    first.open();
    english.answer().expect(200, "MISS", "en");
    until("two variants are fetched", || fetches(&origin, "/") == 3);
    proxy.wait_for_followers(8);
    joined.open();
    for (name, client) in &mut others {
        assert_eq!(client.answer().text(), *name);
    }
    assert_eq!(fetches(&origin, "/"), 3);
}
