//! What a response may be, and what was wrong.
//!
//! 1. It is of the target that was asked for, whole, and one version: every byte is as the origin made it.
//! 2. Its number is larger than all that the origin had given out when the last clear, purge or change of the target began
//!    that had ended when the request began.
//! 3. It was made for the identity that asked, unless the origin said `public`; and for the X-Lang that selects it.
//! 4. What the origin forbids to store is newer than the request.
//! 5. It is cut only where the origin can have cut it, and then a beginning of what it should have been.

use std::{
    fmt,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Instant,
};

use super::{
    content::{Saying, TARGETS, Target, Version},
    tell,
};

/// Violations that are described. More are counted only.
const DESCRIBED: usize = 20;

pub(super) struct Truth {
    given: AtomicU64,
    /// For each target: numbers up to this one were removed.
    removed: [AtomicU64; TARGETS],
    violations: Mutex<Vec<String>>,
    fails: AtomicBool,
    pub(super) responses: AtomicU64,
    pub(super) hits: AtomicU64,
    pub(super) parts: AtomicU64,
    pub(super) not_modified: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) cut: AtomicU64,
    pub(super) left: AtomicU64,
    pub(super) removals: AtomicU64,
    pub(super) evictions: AtomicU64,
    pub(super) most_used_bytes: AtomicU64,
    pub(super) downloads: AtomicU64,
}

/// A request, and the limits when it began.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) target: Target,
    pub(super) identity: &'static str,
    pub(super) lang: &'static str,
    removed: u64,
    given: u64,
}

impl Truth {
    pub(super) fn new() -> Self {
        Self {
            given: AtomicU64::default(),
            removed: [const { AtomicU64::new(0) }; TARGETS],
            violations: Mutex::default(),
            fails: AtomicBool::new(true),
            responses: AtomicU64::default(),
            hits: AtomicU64::default(),
            parts: AtomicU64::default(),
            not_modified: AtomicU64::default(),
            errors: AtomicU64::default(),
            cut: AtomicU64::default(),
            left: AtomicU64::default(),
            removals: AtomicU64::default(),
            evictions: AtomicU64::default(),
            most_used_bytes: AtomicU64::default(),
            downloads: AtomicU64::default(),
        }
    }

    /// The next response of the origin for this identity and language.
    pub(super) fn next_version(&self, identity: String, lang: String) -> Version {
        Version {
            number: self.given.fetch_add(1, SeqCst) + 1,
            millis: chrono::Utc::now().timestamp_millis(),
            identity,
            lang,
        }
    }

    /// Whether the origin may confirm that number.
    pub(super) fn is_current(&self, target: Target, number: u64) -> bool {
        number > self.removed[target.0].load(SeqCst)
    }

    /// Runs an action. If it succeeds, no response that was given out before may be seen for `targets`.
    pub(super) fn removing(
        &self,
        targets: impl Iterator<Item = Target>,
        action: impl FnOnce() -> bool,
    ) {
        let given = self.given.load(SeqCst);
        if action() {
            for Target(target) in targets {
                self.removed[target].fetch_max(given, SeqCst);
            }
            self.removals.fetch_add(1, SeqCst);
        }
    }

    pub(super) fn ask(&self, target: Target, identity: &'static str, lang: &'static str) -> Asked {
        Asked {
            target,
            identity,
            lang,
            removed: self.removed[target.0].load(SeqCst),
            given: self.given.load(SeqCst),
        }
    }

    /// What is wrong with this version as a response to that request; `None` if nothing is.
    pub(super) fn wrong(
        &self,
        asked: &Asked,
        (version, status): (&Version, u16),
    ) -> Option<&'static str> {
        let target = asked.target;
        if version.number <= asked.removed {
            return Some("it was removed before");
        }
        // The origin confirms with a 304 what the client has.
        let is_new = status != 304;
        if target.saying() == Saying::NoStore && is_new && version.number <= asked.given {
            return Some("it must not be stored");
        }
        if target.saying() != Saying::Public && version.identity != asked.identity {
            return Some("it was made for another identity");
        }
        if target.varies() && version.lang != asked.lang {
            return Some("it was made for another X-Lang");
        }
        None
    }

    pub(super) fn violation(&self, what: String) {
        let mut violations = self.violations.lock().unwrap();
        if violations.len() < DESCRIBED {
            tell(&format_args!("VIOLATION: {what}"));
            violations.push(what);
        }
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
    }

    /// False when the time is over, or enough went wrong.
    pub(super) fn goes_on(&self, end: Instant) -> bool {
        Instant::now() < end && self.violations.lock().unwrap().len() < DESCRIBED
    }

    /// Whether the origin has faults.
    pub(super) fn fails(&self) -> bool {
        self.fails.load(SeqCst)
    }

    pub(super) fn stop_faults(&self) {
        self.fails.store(false, SeqCst);
    }

    /// The run proves something only if all of these events occurred, and most requests succeeded.
    pub(super) fn assert_it_was_a_test(&self, seed: u64) {
        let seen = [
            &self.hits,
            &self.parts,
            &self.not_modified,
            &self.errors,
            &self.cut,
            &self.left,
            &self.removals,
            &self.evictions,
            &self.downloads,
        ];
        let happened = seen.iter().all(|count| count.load(SeqCst) > 0);
        let failed = self.errors.load(SeqCst) + self.cut.load(SeqCst);
        let mostly_right = failed * 4 < self.responses.load(SeqCst);
        assert!(happened && mostly_right, "seed {seed}: {self}");
    }
}

impl fmt::Display for Truth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in [
            ("responses", &self.responses),
            ("hits", &self.hits),
            ("parts", &self.parts),
            ("not modified", &self.not_modified),
            ("errors", &self.errors),
            ("cut", &self.cut),
            ("left", &self.left),
            ("removals", &self.removals),
            ("evictions", &self.evictions),
            ("bytes used at most", &self.most_used_bytes),
            ("downloads", &self.downloads),
        ] {
            write!(formatter, "{} {name}, ", count.load(SeqCst))?;
        }
        write!(formatter, "{} given out", self.given.load(SeqCst))
    }
}
