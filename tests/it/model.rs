//! A model of what clients may see, held against the proxy under load: many clients, several workers, one cache.
//!
//! Every answer of the origin carries a number greater than all before it. What was fetched before a Clear or a
//! successful PUT was begun has a number that was given out by then; nobody who asks after it has ended may see such a
//! number again, whichever worker answers, and however hot the answer was.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use caching_proxy::policy::Mode::{Standard, Strict};

use crate::{
    client::Client,
    harness::TestProxy,
    origin::{Exchange, Origin},
};

const WORKERS: usize = 4;
const CLIENTS: u64 = 8;
const STEPS: usize = 250;
const TARGETS: usize = 5;

/// What has been given out, and below which number nothing may be seen any more.
#[derive(Default)]
struct Model {
    given: AtomicUsize,
    floors: [AtomicUsize; TARGETS],
}

impl Model {
    fn raise(&self, target: usize, floor: usize) {
        self.floors[target].fetch_max(floor, Ordering::SeqCst);
    }

    fn floor(&self, target: usize) -> usize {
        self.floors[target].load(Ordering::SeqCst)
    }

    fn given(&self) -> usize {
        self.given.load(Ordering::SeqCst)
    }
}

/// Small numbers that look random and are the same in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }
}

fn numbered(model: &Arc<Model>) -> Origin {
    let model = Arc::clone(model);
    Origin::start(move |exchange: &mut Exchange<'_>| {
        let number = model.given.fetch_add(1, Ordering::SeqCst) + 1;
        let fields = format!("Cache-Control: max-age=600\r\nETag: \"{number}\"\r\n");
        // Parts too: the number is in every one of them.
        let body = format!("{number:08}").repeat(4);
        exchange.ok(&fields, body);
    })
}

/// One connection that is used over and over, so that it stays with one worker.
fn use_it(proxy: &TestProxy, model: &Model, seed: u64) {
    let mut numbers = Numbers(seed);
    let mut client: Client = proxy.connect();
    for _ in 0..STEPS {
        let target = numbers.below(TARGETS);
        match numbers.below(40) {
            0 => {
                let given = model.given();
                proxy.clear();
                (0..TARGETS).for_each(|target| model.raise(target, given));
            }
            1 | 2 => {
                let given = model.given();
                client.send(format!(
                    "PUT /{target} HTTP/1.1\r\nHost: proxy.test\r\nContent-Length: 0\r\n\r\n"
                ));
                assert_eq!(client.answer_to("PUT").status(), 200);
                model.raise(target, given);
            }
            kind => {
                let fields = match kind {
                    3 => "Cache-Control: no-cache\r\n",
                    4 | 5 => "Range: bytes=8-15\r\n",
                    6 => "Range: bytes=0-7,16-23\r\n",
                    _ => "",
                };
                let floor = model.floor(target);
                let answer = client.ask(&format!("/{target}"), fields).answer();
                let tag = answer.field("etag").unwrap().trim_matches('"');
                let number: usize = tag.parse().unwrap();
                assert!(
                    number > floor,
                    "/{target}: {number} was given out before what ended at {floor}: {:?}",
                    answer.head
                );
                assert!(
                    answer.text().contains(&format!("{number:08}")),
                    "the body is not that of the head: {} {}",
                    number,
                    answer.text()
                );
            }
        }
    }
}

#[test]
fn nobody_sees_what_was_fetched_before_a_clear_or_a_change_that_has_ended() {
    for (mode, seed) in [(Standard, 17), (Strict, 4711)] {
        let model = Arc::new(Model::default());
        let origin = numbered(&model);
        let proxy = TestProxy::builder(&origin)
            .mode(mode)
            .with(|config| config.workers = WORKERS)
            .start();
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (proxy, model) = (&proxy, &model);
                scope.spawn(move || use_it(proxy, model, seed * 1000 + client + 1));
            }
        });
        let asked = CLIENTS * u64::try_from(STEPS).unwrap();
        let reached = u64::try_from(origin.count()).unwrap();
        assert!(
            reached * 2 < asked,
            "the cache has hardly answered: {reached} of {asked} reached the origin"
        );
    }
}
