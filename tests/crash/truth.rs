//! What a response may be, what must still be stored after a kill, and what was wrong.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt::Display,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use crate::resources::{Lifetime, RESOURCES, Resource, Slot, Version};

/// A response that was stored so long before a kill must be there afterwards.
const DURABLE_AFTER: Duration = Duration::from_secs(1);
/// More than the head of a stored response takes.
const HEAD_BYTES: u64 = 1024;
/// Events of a resource that a violation shows.
const EVENTS: usize = 20;
/// Violations that are described. More are counted only.
const DESCRIBED: usize = 10;

/// The truth about one origin and its stores.
pub(crate) struct Truth {
    state: Mutex<State>,
    begun: Instant,
    /// True from the moment before a kill on until the next start: requests may fail.
    is_killed: AtomicBool,
    /// True while nothing but the check after a start makes requests.
    is_checking: AtomicBool,
    /// True while all requests fetch anew, so that much is written.
    is_filling: AtomicBool,
}

#[derive(Default)]
struct State {
    /// The number of the newest response of the origin.
    given: u64,
    /// How many requests for each resource have reached the origin.
    requests: HashMap<Resource, u64>,
    /// At most so many bytes were written to the store since it was new.
    written_bytes: u64,
    ends: Ends,
    /// What is stored in each slot and was not ended: the least number that it can have, and since when.
    stored: HashMap<Slot, BTreeMap<u64, Instant>>,
    /// The last events of each resource.
    history: HashMap<Resource, VecDeque<String>>,
    violations: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
}

/// What has ended responses of each resource.
#[derive(Clone)]
pub(crate) struct Ends {
    /// Numbers up to this one were removed.
    removed: [u64; RESOURCES],
    /// Those made or confirmed up to this number have become stale.
    expired: [u64; RESOURCES],
    /// How many ends have begun.
    begun: [u64; RESOURCES],
    /// How many ends have begun and are not over.
    under_way: [u64; RESOURCES],
}

impl Default for Ends {
    fn default() -> Self {
        Self {
            removed: [0; RESOURCES],
            expired: [0; RESOURCES],
            begun: [0; RESOURCES],
            under_way: [0; RESOURCES],
        }
    }
}

/// A request, and the limits when it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) resource: Resource,
    pub(crate) identity: &'static str,
    pub(crate) lang: &'static str,
    removed: u64,
    expired: u64,
    /// How many ends were over. Responses that are fetched while one is under way may be ended by it.
    ends_over: u64,
    given: u64,
}

/// A response that has been compared with the truth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checked {
    pub(crate) number: u64,
    pub(crate) is_hit: bool,
}

impl Truth {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            begun: Instant::now(),
            is_killed: AtomicBool::new(false),
            is_checking: AtomicBool::new(false),
            is_filling: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    // What the origin does.

    /// The next response of the origin, or its next confirmation of one: its number.
    pub(crate) fn next_number(&self, resource: Resource) -> u64 {
        let mut state = self.state();
        state.given += 1;
        state.written_bytes += u64::try_from(resource.size()).unwrap() + HEAD_BYTES;
        state.given
    }

    /// True if the origin may confirm that number.
    pub(crate) fn is_current(&self, resource: Resource, number: u64) -> bool {
        !self.is_filling() && number > self.state().ends.removed[resource.0]
    }

    pub(crate) fn is_filling(&self) -> bool {
        self.is_filling.load(SeqCst)
    }

    /// From now on all requests fetch anew, or, after `false`, no longer.
    pub(crate) fn fills(&self, is_filling: bool) {
        self.is_filling.store(is_filling, SeqCst);
    }

    pub(crate) fn request_arrived(&self, resource: Resource) {
        *self.state().requests.entry(resource).or_default() += 1;
    }

    /// How many requests for a resource have reached the origin.
    pub(crate) fn requests(&self, resource: Resource) -> u64 {
        let state = self.state();
        state.requests.get(&resource).copied().unwrap_or(0)
    }

    /// At most so many bytes were written to the store since it was new.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.state().written_bytes
    }

    // What clients do.

    pub(crate) fn ask(
        &self,
        resource: Resource,
        identity: &'static str,
        lang: &'static str,
    ) -> Asked {
        let state = self.state();
        let Resource(index) = resource;
        Asked {
            resource,
            identity,
            lang,
            removed: state.ends.removed[index],
            expired: state.ends.expired[index],
            ends_over: state.ends.begun[index] - state.ends.under_way[index],
            given: state.given,
        }
    }

    /// Runs an action. If it succeeds, no response that was made before may be seen of the resources that it `removes`, and
    /// none that was made before and not confirmed since of those that it `expires`.
    pub(crate) fn ending(
        &self,
        what: &str,
        removes: &[Resource],
        expires: &[Resource],
        action: impl FnOnce() -> bool,
    ) {
        let concerned = || removes.iter().chain(expires);
        let given = {
            let mut state = self.state();
            for Resource(index) in concerned() {
                state.ends.begun[*index] += 1;
                state.ends.under_way[*index] += 1;
            }
            let is_concerned = |slot: &Slot| concerned().any(|one| *one == slot.resource);
            state.stored.retain(|slot, _| !is_concerned(slot));
            state.given
        };
        let concerned: Vec<Resource> = concerned().copied().collect();
        self.note(&concerned, &format_args!("{what} begins"));
        let is_done = action();
        self.note(&concerned, &format_args!("{what} ends: {is_done}"));
        let mut state = self.state();
        for Resource(index) in &concerned {
            state.ends.under_way[*index] -= 1;
        }
        if is_done {
            for Resource(index) in removes {
                state.ends.removed[*index] = state.ends.removed[*index].max(given);
            }
            for Resource(index) in &concerned {
                state.ends.expired[*index] = state.ends.expired[*index].max(given);
            }
        }
    }

    /// What is wrong with this version as a response to that request; `None` if nothing is. `confirmed` is the number of the
    /// origin's last confirmation of it, or that of the version.
    pub(crate) fn wrong(
        &self,
        asked: &Asked,
        version: &Version,
        confirmed: u64,
    ) -> Option<&'static str> {
        let resource = asked.resource;
        let lifetime = resource.lifetime();
        if version.number <= asked.removed {
            return Some("it was removed before");
        }
        // A stale response is served while it is validated, where the origin allows that.
        if confirmed <= asked.expired && lifetime != Lifetime::WhileRevalidating {
            return Some("it has become stale before");
        }
        if lifetime == Lifetime::NoStore && version.number <= asked.given {
            return Some("it must not be stored");
        }
        // Under load it may share the fetch of an earlier request.
        if lifetime == Lifetime::StaleAtOnce && self.is_checking() && confirmed <= asked.given {
            return Some("it is stale");
        }
        if lifetime != Lifetime::Public && version.identity != asked.identity {
            return Some("it was made for another identity");
        }
        if resource.varies() && version.lang != asked.lang {
            return Some("it was made for another X-Lang");
        }
        None
    }

    /// Notes that a whole response was received, which is stored now, unless something ended it since the request began.
    pub(crate) fn received(&self, asked: &Asked, checked: Checked) {
        let Some(slot) = Slot::of(asked.resource, asked.identity, asked.lang) else {
            return;
        };
        let mut state = self.state();
        let Resource(index) = asked.resource;
        if state.ends.begun[index] == asked.ends_over {
            // Of fetches at the same time another one may be stored, but none that was answered before this one began.
            let least = match checked.is_hit {
                true => checked.number,
                false => checked.number.min(asked.given + 1),
            };
            let stored = state.stored.entry(slot).or_default();
            stored.entry(least).or_insert_with(Instant::now);
        }
    }

    /// The first use after a start was a hit, so the response is in the store.
    pub(crate) fn found_again(&self, asked: &Asked, number: u64) {
        if let Some(slot) = Slot::of(asked.resource, asked.identity, asked.lang) {
            let since = Instant::now().checked_sub(DURABLE_AFTER).unwrap();
            let mut state = self.state();
            state.stored.entry(slot).or_default().insert(number, since);
        }
    }

    /// A part was fetched: it may be stored in the place of a whole response.
    pub(crate) fn part_came(&self, resource: Resource) {
        let mut state = self.state();
        state.ends.begun[resource.0] += 1;
        state.stored.retain(|slot, _| slot.resource != resource);
    }

    // Kills and starts.

    /// The process is about to be killed.
    pub(crate) fn killed(&self) {
        self.is_killed.store(true, SeqCst);
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.is_killed.load(SeqCst)
    }

    /// Forgets what the process that has ended need not have written down. A kill at `killed_at` may lose what is younger
    /// than a second; after an orderly end (`None`) everything is there.
    pub(crate) fn ended(&self, killed_at: Option<Instant>) {
        let must =
            |since: Instant| killed_at.is_none_or(|killed_at| since + DURABLE_AFTER <= killed_at);
        self.state().stored.retain(|_, stored| {
            stored.retain(|_, since| must(*since));
            !stored.is_empty()
        });
    }

    /// The store was lost, or what it holds is not known: nothing must be there.
    pub(crate) fn forget_stored(&self) {
        self.state().stored.clear();
    }

    /// The store is a new one.
    pub(crate) fn store_is_new(&self) {
        let mut state = self.state();
        state.stored.clear();
        state.written_bytes = 0;
    }

    /// The slots that must have a response, and its least number.
    pub(crate) fn must_be_stored(&self) -> Vec<(Slot, u64)> {
        let state = self.state();
        let slots = state.stored.iter();
        let least = slots.filter_map(|(slot, stored)| Some((*slot, *stored.last_key_value()?.0)));
        least.collect()
    }

    /// A running process has started. The check after it goes on until [`Truth::checked`].
    pub(crate) fn started(&self) {
        self.is_killed.store(false, SeqCst);
        self.is_checking.store(true, SeqCst);
    }

    /// The check after a start is over.
    pub(crate) fn checked(&self) {
        self.is_checking.store(false, SeqCst);
    }

    pub(crate) fn is_checking(&self) -> bool {
        self.is_checking.load(SeqCst)
    }

    /// The number of the newest response of the origin.
    pub(crate) fn given(&self) -> u64 {
        self.state().given
    }

    /// A copy of what has ended responses.
    pub(crate) fn ends(&self) -> Ends {
        self.state().ends.clone()
    }

    /// Takes back what has ended responses since `ends` was copied: the store is a copy of that time.
    pub(crate) fn go_back_to(&self, ends: Ends) {
        let mut state = self.state();
        state.stored.clear();
        state.ends.removed = ends.removed;
        state.ends.expired = ends.expired;
    }

    // What happened.

    pub(crate) fn count(&self, what: &'static str) {
        *self.state().counts.entry(what).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.state().counts.clone()
    }

    /// Notes an event that concerns these resources.
    pub(crate) fn note(&self, resources: &[Resource], what: &dyn Display) {
        let at = self.begun.elapsed().as_millis();
        let mut state = self.state();
        for resource in resources {
            let history = state.history.entry(*resource).or_default();
            history.push_back(format!("{at} ms: {what}"));
            while history.len() > EVENTS {
                history.pop_front();
            }
        }
    }

    pub(crate) fn violation(&self, what: String) {
        let mut state = self.state();
        if state.violations.len() < DESCRIBED {
            state.violations.push(what);
        }
    }

    /// A violation, with the last events of the resource.
    pub(crate) fn violation_at(&self, resource: Resource, what: &str) {
        self.note(&[resource], &what);
        let history = self.state().history[&resource].clone();
        let history: Vec<String> = history.into();
        self.violation(format!("{resource:?}:\n    {}", history.join("\n    ")));
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// False when something is wrong.
    pub(crate) fn is_right(&self) -> bool {
        self.state().violations.is_empty()
    }
}
