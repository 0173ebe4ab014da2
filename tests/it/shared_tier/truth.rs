//! What a response may be: the version of each resource, and the oldest one that each proxy may still serve.

use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use crate::origin::Origin;

/// How many resources there are. The bodies of the first two are long.
pub(super) const RESOURCES: usize = 12;
const LONG_RESOURCES: usize = 2;
const LONG_BODY: usize = 300_000;

/// The versions of all resources, as they were at a time.
pub(super) type Versions = [u64; RESOURCES];

/// What is known of the resources, and what was wrong.
pub(super) struct Truth {
    versions: Mutex<Versions>,
    floors: Mutex<Floors>,
    wrong: Mutex<Vec<String>>,
    pub(super) hits: AtomicU64,
    pub(super) requests: AtomicU64,
    /// What was ended and has held everywhere when the command returned.
    pub(super) ended_everywhere: AtomicU64,
    pub(super) changes: AtomicU64,
}

/// The oldest versions of a resource that a proxy may serve.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    /// What it has ended itself is older.
    pub(super) own: u64,
    /// What has ended everywhere is older. A proxy that works alone does not know of that.
    pub(super) everywhere: u64,
}

/// The oldest versions that may be served.
struct Floors {
    everywhere: Versions,
    /// At each proxy alone.
    at: Vec<Versions>,
}

impl Truth {
    pub(super) fn new(proxies: usize) -> Self {
        Self {
            versions: Mutex::new([0; RESOURCES]),
            floors: Mutex::new(Floors {
                everywhere: [0; RESOURCES],
                at: vec![[0; RESOURCES]; proxies],
            }),
            wrong: Mutex::default(),
            hits: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            ended_everywhere: AtomicU64::new(0),
            changes: AtomicU64::new(0),
        }
    }

    /// The origin: a GET gets the present version of a resource, a POST makes a new one and gets that.
    pub(super) fn origin(truth: &'static Self) -> Origin {
        Origin::start(move |exchange| {
            let number = exchange.target().trim_start_matches("/p").parse();
            let number: usize = number.unwrap();
            if exchange.request.method() == "POST" {
                let version = truth.change(number);
                return exchange.ok("", version.to_string());
            }
            let body = body(number, truth.versions()[number]);
            exchange.ok("Cache-Control: max-age=600\r\n", body);
        })
    }

    pub(super) fn versions(&self) -> Versions {
        *self.versions.lock().unwrap()
    }

    /// Makes a new version of a resource, and returns it.
    pub(super) fn change(&self, number: usize) -> u64 {
        let mut versions = self.versions.lock().unwrap();
        versions[number] += 1;
        versions[number]
    }

    /// The oldest versions that this proxy may serve for a request that comes now.
    pub(super) fn floor(&self, proxy: usize, number: usize) -> Floor {
        let floors = self.floors();
        Floor {
            own: floors.at[proxy][number],
            everywhere: floors.everywhere[number],
        }
    }

    fn floors(&self) -> MutexGuard<'_, Floors> {
        self.floors.lock().unwrap()
    }

    /// What is older than this has ended at all proxies. `concerned` says of which resources.
    pub(super) fn ended(&self, versions: &Versions, concerned: impl Fn(usize) -> bool) {
        raise(&mut self.floors().everywhere, versions, concerned);
        self.ended_everywhere.fetch_add(1, SeqCst);
    }

    /// What is older than this has ended at one proxy.
    pub(super) fn ended_at(
        &self,
        proxy: usize,
        versions: &Versions,
        concerned: impl Fn(usize) -> bool,
    ) {
        raise(&mut self.floors().at[proxy], versions, concerned);
    }

    /// A proxy was killed: what it has ended alone, and could not tell, is lost.
    pub(super) fn killed(&self, proxy: usize) {
        self.floors().at[proxy] = [0; RESOURCES];
    }

    /// Checks a response to a request that came when `floor` was in force. `is_excused` says whether it may be older than what has
    /// ended everywhere.
    pub(super) fn check(
        &self,
        number: usize,
        floor: Floor,
        text: &str,
        is_excused: impl Fn() -> bool,
    ) {
        let version = text.split(' ').next().and_then(|word| word.parse().ok());
        let version = version.filter(|version| text == body(number, *version));
        let is_right = version.is_some_and(|version| {
            version >= floor.own && (version >= floor.everywhere || is_excused())
        });
        if !is_right {
            let begin: String = text.chars().take(20).collect();
            let length = text.len();
            self.wrong.lock().unwrap().push(format!(
                "{begin:?} ({length} bytes) was served for /p{number}, which must be newer: {floor:?}"
            ));
        }
    }

    /// What was wrong so far.
    pub(super) fn wrong(&self) -> Vec<String> {
        self.wrong.lock().unwrap().clone()
    }
}

fn raise(floors: &mut Versions, versions: &Versions, concerned: impl Fn(usize) -> bool) {
    for (number, (floor, version)) in floors.iter_mut().zip(versions).enumerate() {
        if concerned(number) {
            *floor = (*floor).max(*version);
        }
    }
}

/// The body of a version of a resource.
fn body(number: usize, version: u64) -> String {
    let mut body = format!("{version} /p{number} ");
    if number < LONG_RESOURCES {
        body.push_str(&"x".repeat(LONG_BODY));
    }
    body
}
