//! Followers of a fetch that a Clear, a purge or an invalidation has voided.

use caching_proxy::cache::FilterSpec;

use crate::{
    client::Client,
    harness::{TestProxy, until},
    origin::{Exchange, Gate, Origin},
};

const FOLLOWERS: u64 = 10;

fn gets(origin: &Origin) -> usize {
    let seen = origin.seen();
    let gets = seen.iter().filter(|seen| seen.method() == "GET");
    gets.filter(|seen| seen.target() == "/a?b").count()
}

/// What voids a fetch under way.
#[derive(Clone, Copy, Debug)]
enum Voiding {
    Clear,
    Purge,
    /// An unsafe request to the same target.
    Post,
    /// An unsafe request to a related path: the response is stored, and stale.
    RelatedPost,
    /// An unsafe request to a related path, and the response can be validated.
    RelatedPostWithTag,
}

impl Voiding {
    fn apply(self, proxy: &TestProxy) {
        match self {
            Self::Clear => {
                proxy.clear();
            }
            Self::Purge => {
                let paths = vec!["/a?b".to_owned()];
                proxy.purge(FilterSpec {
                    paths,
                    ..FilterSpec::default()
                });
            }
            Self::Post => {
                proxy.request("POST", "/a?b", "", b"change");
            }
            Self::RelatedPost | Self::RelatedPostWithTag => {
                proxy.request("POST", "/a", "", b"change");
            }
        }
    }

    fn fields(self) -> &'static str {
        match self {
            Self::RelatedPostWithTag => "ETag: \"v\"\r\n",
            _ => "",
        }
    }
}

/// Responds to the first GET after the first gate, and to later ones after the second, with "#n"; to a POST at once.
fn two_gates(respond: impl Fn(&mut Exchange<'_>) + Send + Sync + 'static) -> (Origin, [Gate; 2]) {
    let gates = [Gate::default(), Gate::default()];
    let origin = Origin::start({
        let gates = gates.clone();
        move |exchange| match exchange.request.method().as_str() {
            "GET" => {
                let first = exchange.nth == 0;
                gates[usize::from(!first)].wait();
                respond(exchange);
            }
            _ => exchange.ok("", "done"),
        }
    });
    (origin, gates)
}

#[track_caller]
fn share_the_next_fetch(voiding: Voiding) {
    let (origin, gates) = two_gates(move |exchange| {
        // Nobody reads an empty body along: the followers look it up when it is stored.
        let fields = format!("X-Nth: {}\r\n{}", exchange.nth, voiding.fields());
        exchange.ok(&fields, "");
    });
    let proxy = TestProxy::to(&origin);
    let mut leader = proxy.begin("/a?b", "");
    until("the fetch is under way", || gets(&origin) == 1);
    let mut followers: Vec<Client> = (0..FOLLOWERS).map(|_| proxy.begin("/a?b", "")).collect();
    proxy.wait_for_followers(FOLLOWERS);
    voiding.apply(&proxy);
    gates[0].open();
    leader.answer().expect(200, "MISS", "");
    until("the next fetch is under way", || gets(&origin) > 1);
    proxy.wait_for_followers(FOLLOWERS - 1);
    gates[1].open();
    for follower in &mut followers {
        let answer = follower.answer();
        assert_eq!(answer.status(), 200, "{voiding:?}");
        assert_ne!(answer.field("x-nth"), Some("0"), "{voiding:?}");
    }
    assert_eq!(gets(&origin), 2, "{voiding:?}");
    assert_eq!(proxy.get("/a?b").x_cache(), "HIT");
}

#[test]
fn followers_share_the_next_fetch_after_a_clear() {
    share_the_next_fetch(Voiding::Clear);
}

#[test]
fn followers_share_the_next_fetch_after_a_purge() {
    share_the_next_fetch(Voiding::Purge);
}

#[test]
fn followers_share_the_next_fetch_after_an_unsafe_request() {
    share_the_next_fetch(Voiding::Post);
}

#[test]
fn followers_share_the_next_fetch_after_an_unsafe_request_to_a_related_path() {
    share_the_next_fetch(Voiding::RelatedPost);
    share_the_next_fetch(Voiding::RelatedPostWithTag);
}

#[test]
fn followers_join_a_fetch_that_was_begun_after_the_clear() {
    let (origin, gates) = two_gates(|exchange| exchange.ok("", format!("#{}", exchange.nth)));
    let proxy = TestProxy::to(&origin);
    let mut leader = proxy.begin("/a?b", "");
    until("the fetch is under way", || gets(&origin) == 1);
    let mut followers: Vec<Client> = (0..FOLLOWERS).map(|_| proxy.begin("/a?b", "")).collect();
    proxy.wait_for_followers(FOLLOWERS);
    proxy.clear();
    let mut later = proxy.begin("/a?b", "");
    until("the next fetch is under way", || gets(&origin) == 2);
    gates[0].open();
    leader.answer().expect(200, "MISS", "#0");
    proxy.wait_for_followers(FOLLOWERS);
    gates[1].open();
    assert_eq!(later.answer().text(), "#1");
    for follower in &mut followers {
        assert_eq!(follower.answer().text(), "#1");
    }
    assert_eq!(gets(&origin), 2);
}

#[test]
fn followers_of_a_validation_share_the_next_fetch_after_a_clear() {
    for lines in [
        "Cache-Control: max-age=60\r\n",
        "Cache-Control: no-store\r\n",
    ] {
        let (confirmed, joined) = (Gate::default(), Gate::default());
        let origin = Origin::start({
            let (confirmed, joined) = (confirmed.clone(), joined.clone());
            move |exchange| {
                if exchange.request.field("if-none-match").is_some() {
                    confirmed.wait();
                    exchange.send(format!(
                        "HTTP/1.1 304 Not Modified\r\nETag: \"v\"\r\n{lines}\r\n"
                    ));
                    return;
                }
                if exchange.nth > 0 {
                    joined.wait();
                }
                let lifetime = if exchange.nth == 0 { 0 } else { 60 };
                let fields = format!("ETag: \"v\"\r\nCache-Control: max-age={lifetime}\r\n");
                exchange.ok(&fields, format!("#{}", exchange.nth));
            }
        });
        let proxy = TestProxy::to(&origin);
        proxy.get("/a?b").expect(200, "MISS", "#0");
        let mut leader = proxy.begin("/a?b", "");
        until("the validation is under way", || gets(&origin) == 2);
        let mut followers: Vec<Client> = (0..FOLLOWERS).map(|_| proxy.begin("/a?b", "")).collect();
        proxy.wait_for_followers(FOLLOWERS);
        proxy.clear();
        confirmed.open();
        // The leader fetches again for its client alone, and one of the followers for all of them.
        until("both fetch again", || gets(&origin) == 4);
        proxy.wait_for_followers(FOLLOWERS - 1);
        joined.open();
        let alone = leader.answer().text();
        let shared = followers[0].answer().text();
        assert_ne!(alone, shared, "{lines}");
        for follower in &mut followers[1..] {
            assert_eq!(follower.answer().text(), shared, "{lines}");
        }
        assert_eq!(gets(&origin), 4, "{lines}");
        proxy.get("/a?b").expect(200, "HIT", &shared);
    }
}

#[test]
fn a_body_of_which_nothing_has_come_before_a_clear_is_not_read_along() {
    let (origin, gates) = two_gates(|exchange| exchange.ok("", format!("#{}", exchange.nth)));
    let proxy = TestProxy::to(&origin);
    let mut leader = proxy.begin("/a?b", "");
    until("the fetch is under way", || gets(&origin) == 1);
    let mut follower = proxy.begin("/a?b", "");
    proxy.wait_for_followers(1);
    proxy.clear();
    // The follower does not wait for the end of the fetch before the Clear.
    gates[1].open();
    follower.answer().expect(200, "MISS", "#1");
    proxy.get("/a?b").expect(200, "HIT", "#1");
    gates[0].open();
    leader.answer().expect(200, "MISS", "#0");
    proxy.get("/a?b").expect(200, "HIT", "#1");
}

#[test]
fn a_request_follows_a_limited_number_of_voided_fetches() {
    const CLEARS: usize = 8;
    const LEFT: usize = 3;
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            gate.wait();
            exchange.ok("", format!("#{:02}", exchange.nth));
        }
    });
    let proxy = TestProxy::to(&origin);
    let followers = CLEARS - 1 + LEFT;
    let mut clients = vec![proxy.begin("/a?b", "")];
    until("the fetch is under way", || gets(&origin) == 1);
    clients.extend((0..followers).map(|_| proxy.begin("/a?b", "")));
    for nth in 0..CLEARS {
        until("one of them fetches", || gets(&origin) > nth);
        proxy.wait_for_followers((followers - nth) as u64);
        assert_eq!(gets(&origin), nth + 1);
        proxy.clear();
    }
    until("each that is left fetches for itself", || {
        gets(&origin) == 1 + followers
    });
    gate.open();
    let mut texts: Vec<String> = clients
        .iter_mut()
        .map(|client| client.answer().text())
        .collect();
    texts.sort();
    let expected: Vec<String> = (0..=followers).map(|nth| format!("#{nth:02}")).collect();
    assert_eq!(texts, expected);
}
