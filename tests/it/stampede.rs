//! Many requests for one target at once, and a response that they cannot share.

use crate::{
    client::{Client, Ending},
    harness::{TestProxy, until},
    origin::{Exchange, Gate, Origin},
};

fn fetches(origin: &Origin) -> usize {
    let seen = origin.seen();
    seen.iter().filter(|seen| seen.target() == "/").count()
}

/// Stale hits that start no background validation.
fn stale_hits(proxy: &TestProxy, count: u64) {
    let declined = proxy.stats().declined;
    for number in 0..count {
        let answer = proxy.get("/");
        assert_eq!(
            (answer.x_cache(), answer.text().as_str()),
            ("HIT", "v0"),
            "stale hit {number}"
        );
    }
    until("every validation is declined", || {
        proxy.stats().declined == declined + count
    });
}

#[test]
fn stale_hits_during_a_background_validation_start_no_other() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| match exchange.nth {
            0 => exchange.ok(
                "Cache-Control: max-age=0, stale-while-revalidate=60\r\n",
                "v0",
            ),
            nth => {
                gate.wait();
                exchange.ok("Cache-Control: max-age=600\r\n", format!("v{nth}"));
            }
        }
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "v0");
    proxy.get("/").expect(200, "HIT", "v0");
    until("the validation is under way", || fetches(&origin) == 2);
    stale_hits(&proxy, 20);
    assert_eq!(fetches(&origin), 2);
    gate.open();
    until("the new answer is stored", || proxy.get("/").text() == "v1");
    assert_eq!(fetches(&origin), 2);
}

/// Stale hits after a refused background validation. Later validations wait at the gate.
#[test]
fn one_background_validation_at_most_runs_after_a_refused_one() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| match exchange.nth {
            0 => exchange.ok(
                "Cache-Control: max-age=0, stale-while-revalidate=60\r\n",
                "v0",
            ),
            1 => exchange.answer("429 Too Many Requests", "", "slow down"),
            _ => {
                gate.wait();
                exchange.answer("429 Too Many Requests", "", "slow down");
            }
        }
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "v0");
    proxy.get("/").expect(200, "HIT", "v0");
    until("the validation has ended", || {
        fetches(&origin) == 2 && proxy.stats().fetches == 0
    });
    stale_hits(&proxy, 20);
    assert_eq!(fetches(&origin), 2);
    gate.open();
}

#[test]
fn a_429_to_a_validation_stops_further_validations_by_stale_hits() {
    let origin = Origin::start(|exchange| match exchange.nth {
        0 => exchange.ok(
            "Cache-Control: max-age=0, stale-while-revalidate=60\r\n",
            "v0",
        ),
        _ => exchange.answer("429 Too Many Requests", "", "slow down"),
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "v0");
    proxy.get("/").expect(200, "HIT", "v0");
    until("the validation has ended", || {
        fetches(&origin) == 2 && proxy.stats().fetches == 0
    });
    stale_hits(&proxy, 20);
    assert_eq!(fetches(&origin), 2);
}

#[test]
fn requests_after_a_503_share_a_fetch() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| match exchange.nth {
            0 => exchange.answer("503 Service Unavailable", "", "failing"),
            _ => {
                gate.wait();
                exchange.ok("Cache-Control: max-age=600\r\n", "well again");
            }
        }
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(503, "MISS", "failing");
    let mut askers: Vec<Client> = (0..30).map(|_| proxy.begin("/", "")).collect();
    proxy.wait_for_followers(29);
    until("the fetch is under way", || fetches(&origin) > 1);
    let under_way = fetches(&origin) - 1;
    gate.open();
    for asker in &mut askers {
        let answer = asker.answer();
        assert_eq!(
            (answer.status(), answer.text().as_str(), answer.ending),
            (200, "well again", Ending::Whole)
        );
    }
    assert_eq!((under_way, fetches(&origin) - 1), (1, 1));
}

/// How much of the unshareable response has arrived when the followers get it.
#[derive(Clone, Copy, Debug)]
enum First {
    Whole,
    UnderWay,
}

/// Twenty requests join a fetch with an unshareable response. The origin responds to them when all have arrived.
fn released_together(
    first: First,
    fields: &'static str,
    language: impl Fn(usize) -> String,
    later: impl Fn(&mut Exchange<'_>) + Send + Sync + 'static,
) {
    const FOLLOWERS: usize = 20;
    let (joined, all) = (Gate::default(), Gate::default());
    let origin = Origin::start({
        let (joined, all) = (joined.clone(), all.clone());
        move |exchange| match (exchange.nth, first) {
            (0, First::Whole) => {
                joined.wait();
                exchange.ok(fields, "first");
            }
            (0, First::UnderWay) => {
                joined.wait();
                exchange.send(format!(
                    "HTTP/1.1 200 OK\r\n{fields}Content-Length: 5\r\n\r\nfir"
                ));
                all.wait();
                exchange.send("st");
            }
            _ => {
                all.wait();
                later(exchange);
            }
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut leader = proxy.begin("/", &language(0));
    until("the first fetch is under way", || fetches(&origin) == 1);
    let mut followers: Vec<Client> = (1..=FOLLOWERS)
        .map(|number| proxy.begin("/", &language(number)))
        .collect();
    proxy.wait_for_followers(FOLLOWERS as u64);
    assert_eq!(fetches(&origin), 1, "all follow the first");
    let before = origin.count();
    joined.open();
    leader.wait_for("\r\n\r\nfir");
    origin.wait_for(before + FOLLOWERS);
    all.open();
    leader.answer().expect(200, "MISS", "first");
    for (number, follower) in followers.iter_mut().enumerate() {
        let answer = follower.answer();
        let expected = format!("own {}", language(number + 1));
        assert_eq!(
            (answer.status(), answer.text().trim(), answer.ending),
            (200, expected.trim(), Ending::Whole)
        );
    }
    assert_eq!(fetches(&origin), 1 + FOLLOWERS);
}

#[test]
fn requests_for_a_response_that_must_be_validated_are_forwarded_at_once() {
    for fields in [
        "Cache-Control: no-cache\r\n",
        "Cache-Control: no-cache\r\nETag: \"v\"\r\n",
    ] {
        for first in [First::Whole, First::UnderWay] {
            released_together(
                first,
                fields,
                |_| String::new(),
                move |exchange| exchange.ok(fields, "own"),
            );
        }
    }
}

#[test]
fn requests_with_different_vary_values_are_forwarded_at_once() {
    for first in [First::Whole, First::UnderWay] {
        released_together(
            first,
            "Vary: Accept-Language\r\n",
            |number| format!("Accept-Language: x-{number}\r\n"),
            |exchange| {
                let language = exchange.request.field("accept-language");
                let language = language.unwrap_or_default();
                exchange.ok(
                    "Vary: Accept-Language\r\n",
                    format!("own Accept-Language: {language}"),
                );
            },
        );
    }
}
