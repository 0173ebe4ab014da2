//! Three proxies with one Redis that fails in all ways: what has ended everywhere is never served again, and no request fails.
//!
//! `CACHING_PROXY_SHARED_CHANGES=5000` sets the number of changes. What each thread does depends on `CACHING_PROXY_TEST_SEED`
//! alone; how they interleave does not.

use std::{
    sync::{
        Mutex, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    clocks::clock_ahead,
    is_from_redis,
    node::Node,
    relay::Relay,
    server::RedisServer,
    truth::{RESOURCES, Truth},
};
use crate::{
    client::{Answer, Client},
    dice::{Dice, setting},
    waiting::until,
};

const PROXIES: usize = 3;
/// No proxy.
const NONE: usize = usize::MAX;
/// How long a client waits: a proxy may be stopped.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an upheaval lasts at most. No check depends on it.
const LONGEST_UPHEAVAL: Duration = Duration::from_secs(5);

/// Does something when it is dropped, also by a panic.
struct AtTheEnd<F: Fn()>(F);

impl<F: Fn()> Drop for AtTheEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// What a proxy logs before it works alone.
const LEASE_ENDS: &str = "nothing was heard from Redis";
/// How long that may take to be seen here.
const LOG_PATIENCE: Duration = Duration::from_secs(10);

/// The proxies, their Redis, and what is known of them.
struct World {
    truth: &'static Truth,
    redis: Mutex<RedisServer>,
    relays: Vec<Relay>,
    /// Locked for writing while a proxy is started again.
    nodes: Vec<RwLock<Node>>,
    /// The proxy that is stopped at present.
    stopped: AtomicUsize,
    /// How many threads still make changes.
    changing: AtomicUsize,
    is_over: AtomicBool,
    /// How often each proxy had begun to work alone when it was last seen to use Redis.
    lost_leases: [AtomicUsize; PROXIES],
    log_patience: Duration,
}

impl World {
    fn new() -> Self {
        Self::with_clocks([0; PROXIES])
    }

    /// The clock of each proxy is so many hours ahead.
    fn with_clocks(hours_ahead: [i64; PROXIES]) -> Self {
        let truth: &'static Truth = Box::leak(Box::new(Truth::new(PROXIES)));
        let origin = Box::leak(Box::new(Truth::origin(truth)));
        let redis = RedisServer::start();
        let relays: Vec<Relay> = (0..PROXIES).map(|_| Relay::to(redis.socket())).collect();
        let args: [&[&str]; PROXIES] = [
            &["--store", "cache", "--disk-reserve", "0"],
            &[],
            &["--max-memory", "2MiB"],
        ];
        let start = |((relay, args), hours): ((&Relay, &[&str]), i64)| {
            let args = [&["--redis-lease", "2s"], args].concat();
            RwLock::new(Node::start_in(
                origin,
                &relay.url(),
                &args,
                clock_ahead(hours),
            ))
        };
        let nodes = relays
            .iter()
            .zip(args)
            .zip(hours_ahead)
            .map(start)
            .collect();
        Self {
            truth,
            redis: Mutex::new(redis),
            relays,
            nodes,
            stopped: AtomicUsize::new(NONE),
            changing: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            lost_leases: Default::default(),
            log_patience: LOG_PATIENCE,
        }
    }

    /// A proxy, which is not started again meanwhile.
    fn node(&self, proxy: usize) -> RwLockReadGuard<'_, Node> {
        self.nodes[proxy].read().unwrap()
    }

    fn request(node: &Node, method: &str, number: usize) -> Answer {
        let mut client = Client::connect(node.proxy.port);
        client.wait_up_to(PATIENCE);
        client.send(format!(
            "{method} /p{number} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        ));
        let answer = client.answer();
        assert_eq!(answer.status(), 200, "{method} /p{number}");
        answer
    }

    /// Requests a resource, and checks what comes.
    fn read(&self, proxy: usize, number: usize) -> Answer {
        let node = self.node(proxy);
        let floor = self.truth.floor(proxy, number);
        let answer = Self::request(&node, "GET", number);
        // A proxy that works alone does not use Redis before it knows all that has ended.
        let is_excused = || !is_from_redis(&answer) && self.may_be_alone(proxy, &node);
        self.truth.check(number, floor, &answer.text(), is_excused);
        self.truth.requests.fetch_add(1, SeqCst);
        if answer.x_cache() == "HIT" {
            self.truth.hits.fetch_add(1, SeqCst);
        }
        answer
    }

    /// Whether a proxy may have worked alone since it was last seen to use Redis. Then it does not know what others have ended, and
    /// no command waits for it.
    fn may_be_alone(&self, proxy: usize, node: &Node) -> bool {
        let begun = Instant::now();
        loop {
            if lost_leases(node) > self.lost_leases[proxy].load(SeqCst) {
                return true;
            }
            if begun.elapsed() > self.log_patience {
                return false;
            }
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Notes which proxies use Redis: they know all that has ended.
    fn look_who_is_there(&self) {
        for (proxy, known) in self.lost_leases.iter().enumerate() {
            let node = self.node(proxy);
            let lost = lost_leases(&node);
            if node.is_used() {
                known.store(lost, SeqCst);
            }
        }
    }

    fn read_on(&self, mut dice: Dice) {
        while !self.is_over.load(SeqCst) {
            self.read(dice.below(PROXIES), dice.below(RESOURCES));
        }
    }

    /// A proxy that is not stopped.
    fn running(&self, dice: &mut Dice) -> usize {
        let proxy = dice.below(PROXIES);
        match proxy == self.stopped.load(SeqCst) {
            true => (proxy + 1) % PROXIES,
            false => proxy,
        }
    }

    fn change_on(&self, mut dice: Dice, changes: u64) {
        let _done = AtTheEnd(|| {
            self.changing.fetch_sub(1, SeqCst);
        });
        for _ in 0..changes {
            let (proxy, number) = (self.running(&mut dice), dice.below(RESOURCES));
            match dice.below(10) {
                0..4 => self.post(proxy, number),
                4 | 5 => self.end(proxy, &["--clear-cache"], |_| true),
                6 => self.end(proxy, &["purge", "--soft", "/p1*"], is_of_pattern),
                7 => self.end(proxy, &["purge", "/p1*"], is_of_pattern),
                _ => {
                    let path = format!("/p{number}");
                    self.end(proxy, &["purge", &path], |other| other == number);
                }
            }
            self.truth.changes.fetch_add(1, SeqCst);
        }
    }

    /// Changes a resource by a POST, which ends older versions at its own proxy.
    fn post(&self, proxy: usize, number: usize) {
        let node = self.node(proxy);
        let answer = Self::request(&node, "POST", number);
        let version = answer.text().parse().unwrap();
        let mut versions = [0; RESOURCES];
        versions[number] = version;
        self.truth
            .ended_at(proxy, &versions, |other| other == number);
    }

    /// Changes resources at the origin, and runs a command that ends older versions.
    fn end(&self, proxy: usize, command: &[&str], concerned: impl Fn(usize) -> bool) {
        for number in (0..RESOURCES).filter(|number| concerned(*number)) {
            self.truth.change(number);
        }
        let versions = self.truth.versions();
        let command = [command, &["--wait", "500ms"]].concat();
        let node = self.node(proxy);
        let finished = node.home.run(&command);
        match finished.code {
            Some(0) => self.truth.ended(&versions, concerned),
            // It holds at this proxy, if that was reached.
            Some(4) if finished.stderr.contains("has cleared its cache. ") => {
                self.truth.ended_at(proxy, &versions, concerned);
            }
            Some(1 | 4) => {}
            _ => panic!("{command:?}: {finished:?}"),
        }
    }

    /// Waits until some more changes were made. The upheaval ends in any case: those who make changes may wait for it.
    fn for_changes(&self, count: u64) {
        let goal = self.truth.changes.load(SeqCst).saturating_add(count);
        let begun = Instant::now();
        while self.truth.changes.load(SeqCst) < goal
            && self.changing.load(SeqCst) > 0
            && begun.elapsed() < LONGEST_UPHEAVAL
        {
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Upsets Redis or a proxy for a while.
    fn upset(&self, dice: &mut Dice) {
        let mut redis = self.redis.lock().unwrap();
        let proxy = dice.below(PROXIES);
        let changes = 1 + dice.below(6) as u64;
        match dice.below(9) {
            0 | 1 => {
                redis.stop();
                self.for_changes(changes);
                redis.go_on();
            }
            2 => {
                redis.kill();
                self.for_changes(changes);
                redis.start_again();
            }
            3 => {
                self.relays[proxy].delay(dice.one_of(&[5, 30, 200, 2000]));
                self.for_changes(changes);
                self.relays[proxy].delay(0);
            }
            4 => self.relays[proxy].cut(),
            5 => self.stop_proxy(proxy, changes),
            6 => {
                // Others do not wait for it any more. It hears late what it has missed.
                self.relays[proxy].delay(30);
                self.stop_proxy(proxy, u64::MAX);
                self.for_changes(2);
                self.relays[proxy].delay(0);
            }
            7 => {
                for key in redis.keys("*:events") {
                    redis.command(&["XTRIM", &key, "MAXLEN", "1"]);
                }
            }
            _ => self.kill_and_start(0),
        }
        self.look_who_is_there();
        self.for_changes(2);
    }

    /// Stops a proxy until some changes were made.
    fn stop_proxy(&self, proxy: usize, changes: u64) {
        self.stopped.store(proxy, SeqCst);
        let node = self.node(proxy);
        node.proxy.signal(Signal::STOP);
        self.for_changes(changes);
        node.proxy.signal(Signal::CONT);
        self.stopped.store(NONE, SeqCst);
    }

    /// Kills a proxy and starts it again on its store.
    fn kill_and_start(&self, proxy: usize) {
        let mut node = self.nodes[proxy].write().unwrap();
        node.kill();
        self.truth.killed(proxy);
        node.launch_again();
        self.lost_leases[proxy].store(0, SeqCst);
    }

    fn assert_right(&self) {
        let wrong = self.truth.wrong();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

fn lost_leases(node: &Node) -> usize {
    node.proxy.log().matches(LEASE_ENDS).count()
}

fn is_of_pattern(number: usize) -> bool {
    number.to_string().starts_with('1')
}

/// Upsets the proxies while clients read and change resources, and checks what is served.
fn assert_holds(world: &World) {
    let seed = setting("CACHING_PROXY_TEST_SEED", 23);
    let changes = setting("CACHING_PROXY_SHARED_CHANGES", 60);
    let (readers, changers) = (3, 2);
    world.changing.store(changers, SeqCst);
    thread::scope(|scope| {
        let _over = AtTheEnd(|| world.is_over.store(true, SeqCst));
        for number in 0..readers {
            scope.spawn(move || world.read_on(Dice::new(seed * 100 + number)));
        }
        for number in 0..changers as u64 {
            let dice = Dice::new(seed * 100 + 50 + number);
            scope.spawn(move || world.change_on(dice, changes / changers as u64));
        }
        let mut dice = Dice::new(seed * 100 + 99);
        while world.changing.load(SeqCst) > 0 {
            world.upset(&mut dice);
        }
    });
    world.assert_right();
    // Afterwards all work as before.
    (0..PROXIES).for_each(|proxy| world.node(proxy).wait_until_used());
    world.look_who_is_there();
    let versions = world.truth.versions();
    world.node(0).run_everywhere(&["--clear-cache"]);
    world.truth.ended(&versions, |_| true);
    for (proxy, number) in (0..PROXIES).flat_map(|proxy| (0..RESOURCES).map(move |it| (proxy, it)))
    {
        world.read(proxy, number);
        until("it is a hit", || {
            world.read(proxy, number).x_cache() == "HIT"
        });
    }
    world.assert_right();
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn whatever_happens_to_redis_nothing_that_has_ended_everywhere_is_served() {
    assert_holds(&World::new());
}

#[test]
#[ignore = "needs redis-server and faketime: cargo test -- --include-ignored"]
fn it_is_not_served_either_by_proxies_whose_clocks_are_hours_apart() {
    assert_holds(&World::with_clocks([1, 0, -1]));
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn the_check_notices_a_proxy_that_was_not_told() {
    let world = World {
        log_patience: Duration::ZERO,
        ..World::new()
    };
    // A proxy that did not hear from Redis in time has emptied its cache.
    until("an old version is noticed", || {
        world.read(1, 0);
        world.truth.change(0);
        world.truth.ended(&world.truth.versions(), |_| true);
        world.read(1, 0);
        !world.truth.wrong().is_empty()
    });
}
