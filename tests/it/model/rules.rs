//! The model: which responses a client may get.
//!
//! Each 200 response of the origin has a number greater than all before it. Three rules say which numbers a GET may see:
//!
//! 1. After a Clear, a purge, a PUT, or a reload that clears the cache: no number that the origin had given out for a
//!    target concerned when the action began. This holds for every GET that begins when the action is answered,
//!    whatever the lifetime of the response.
//! 2. Where every use must be validated: no number that was out of date before the GET began, or before another GET of
//!    the same target began that was still under way then. The proxy may share one fetch between the two.
//!    Everything else may be out of date: it is fresh, or the origin allows it to be stale.
//! 3. A response for one `Authorization`, one `X-Lang` where the target varies by it, or one `X-Team` where the settings
//!    make it an identity, is seen by nobody else. Strict shares responses for requests without `Authorization`.

use std::sync::{
    Mutex, RwLock,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use caching_proxy::policy::Mode::{self, Always, Standard, Strict};

use super::targets::{Lifetime, Settings, TARGETS, Target};

/// The request headers that a response is made for; `-` for a header that is missing or does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MadeFor {
    pub(super) user: String,
    pub(super) lang: String,
    pub(super) team: String,
}

/// The origin's number of a response and the request headers it is made for: the content of its ETag.
#[derive(Clone, Debug)]
pub(super) struct Tag {
    pub(super) number: usize,
    pub(super) made_for: MadeFor,
}

impl Tag {
    /// `None` if it is not a tag of the model's origin.
    pub(super) fn parse(tag: &str) -> Option<Self> {
        let mut parts = tag.trim().trim_matches('"').split('.');
        let number = parts.next()?.parse().ok()?;
        let mut part = || parts.next().map(str::to_owned);
        let made_for = MadeFor {
            user: part()?,
            lang: part()?,
            team: part()?,
        };
        Some(Self { number, made_for })
    }
}

impl std::fmt::Display for Tag {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let MadeFor { user, lang, team } = &self.made_for;
        write!(formatter, "\"{}.{user}.{lang}.{team}\"", self.number)
    }
}

/// What is known of one target. A number up to one of these limits is too old.
#[derive(Default)]
struct TargetState {
    /// Rule 1.
    removed: AtomicUsize,
    /// Rule 2: what the origin no longer confirms.
    out_of_date: AtomicUsize,
    /// Rule 2: `out_of_date` when each GET under way began.
    under_way: Mutex<Vec<usize>>,
}

/// What has happened so far.
pub(super) struct Model {
    start_mode: Mode,
    given: AtomicUsize,
    targets: [TargetState; TARGETS],
    /// The settings in force. Locked by a reload while it runs.
    settings: RwLock<Settings>,
    /// Odd while a reload runs.
    reloads: AtomicUsize,
    /// Responses to clients from the cache.
    pub(super) hits: AtomicUsize,
    /// Validations that the origin confirmed.
    pub(super) confirmed: AtomicUsize,
    /// Validations at which the origin failed.
    pub(super) failed: AtomicUsize,
}

/// A GET under way, and the limits that held when it began.
#[derive(Debug)]
pub(super) struct Begun {
    target: Target,
    removed: usize,
    out_of_date: usize,
    oldest_out_of_date: usize,
    reloads: usize,
    settings: Option<Settings>,
}

impl Model {
    pub(super) fn new(mode: Mode) -> Self {
        Self {
            start_mode: mode,
            given: AtomicUsize::default(),
            targets: Default::default(),
            settings: RwLock::new(Settings::all(mode)[0]),
            reloads: AtomicUsize::default(),
            hits: AtomicUsize::default(),
            confirmed: AtomicUsize::default(),
            failed: AtomicUsize::default(),
        }
    }

    /// The number of the next response.
    pub(super) fn next_number(&self) -> usize {
        self.given.fetch_add(1, SeqCst) + 1
    }

    /// Runs an action after which no response that was given out before it may be seen for `targets`.
    pub(super) fn removing(&self, targets: impl Iterator<Item = Target>, action: impl FnOnce()) {
        let given = self.given.load(SeqCst);
        action();
        for Target(target) in targets {
            self.targets[target].removed.fetch_max(given, SeqCst);
        }
    }

    /// The resource changes at the origin: responses given out so far are out of date.
    pub(super) fn change(&self, Target(target): Target) {
        let given = self.given.load(SeqCst);
        self.targets[target].out_of_date.fetch_max(given, SeqCst);
    }

    /// Whether the origin confirms a response with that number.
    pub(super) fn is_current(&self, Target(target): Target, number: usize) -> bool {
        number > self.targets[target].out_of_date.load(SeqCst)
    }

    /// Replaces the settings by others. `action` says whether the cache was cleared.
    pub(super) fn reload(&self, index: usize, action: impl FnOnce(Settings) -> bool) {
        let mut settings = self.settings.write().unwrap();
        let next = Settings::all(self.start_mode)[index];
        let clears = next.clears(*settings);
        let concerned = Target::all().filter(|_| clears);
        self.reloads.fetch_add(1, SeqCst);
        self.removing(concerned, || {
            assert_eq!(action(next), clears, "{settings:?} to {next:?}");
        });
        *settings = next;
        self.reloads.fetch_add(1, SeqCst);
    }

    /// A GET begins.
    pub(super) fn begin(&self, target: Target) -> Begun {
        let reloads = self.reloads.load(SeqCst);
        // Held by a reload while it runs: then the settings do not count.
        let settings = self.settings.try_read().ok().map(|settings| *settings);
        let state = &self.targets[target.0];
        let mut under_way = state.under_way.lock().unwrap();
        let out_of_date = state.out_of_date.load(SeqCst);
        under_way.push(out_of_date);
        Begun {
            target,
            removed: state.removed.load(SeqCst),
            out_of_date,
            oldest_out_of_date: under_way.iter().copied().min().unwrap_or(out_of_date),
            reloads,
            settings,
        }
    }

    /// The GET has its whole response: what is wrong with it, if anything is.
    pub(super) fn end(
        &self,
        begun: &Begun,
        asked: &MadeFor,
        is_no_cache: bool,
        tag: Option<&Tag>,
    ) -> Result<(), String> {
        let state = &self.targets[begun.target.0];
        let mut under_way = state.under_way.lock().unwrap();
        let own = under_way
            .iter()
            .position(|limit| *limit == begun.out_of_date);
        under_way.swap_remove(own.expect("the GET is under way"));
        drop(under_way);
        // Even, and the same as at the beginning: no reload ran meanwhile.
        let is_stable =
            begun.reloads.is_multiple_of(2) && self.reloads.load(SeqCst) == begun.reloads;
        let settings = begun.settings.filter(|_| is_stable);
        let Some(tag) = tag else {
            return Ok(());
        };
        if tag.number <= begun.removed {
            return Err("it was removed before".to_owned());
        }
        let must_be_current =
            settings.is_some_and(|settings| must_be_current(begun.target, settings, is_no_cache));
        if must_be_current && tag.number <= begun.oldest_out_of_date {
            return Err("it was out of date before".to_owned());
        }
        self.may_see(asked, &tag.made_for, begun.target, settings)
    }

    /// Rule 3. `settings` is `None` if they changed meanwhile.
    fn may_see(
        &self,
        asked: &MadeFor,
        made_for: &MadeFor,
        target: Target,
        settings: Option<Settings>,
    ) -> Result<(), String> {
        let mode = settings.map(|settings| settings.mode);
        let is_strict = self.start_mode == Strict && mode != Some(Always);
        let is_own_user = made_for.user == asked.user || (is_strict && made_for.user == "-");
        let teams_count =
            settings.is_some_and(|settings| settings.is_team_identity && settings.mode != Strict);
        if !is_own_user || (teams_count && made_for.team != asked.team) {
            return Err("it was made for another identity".to_owned());
        }
        if target.varies() && made_for.lang != asked.lang {
            return Err("it was made for another X-Lang".to_owned());
        }
        Ok(())
    }
}

/// Whether each use of a response is validated.
fn must_be_current(target: Target, settings: Settings, is_no_cache: bool) -> bool {
    match (settings.mode, target.lifetime()) {
        (Always, _) | (_, Lifetime::StaleWhileRevalidate | Lifetime::StaleIfError) => false,
        (_, Lifetime::Zero) | (Strict, Lifetime::Unsaid) => true,
        (Standard | Strict, Lifetime::Long | Lifetime::Unsaid) => is_no_cache,
    }
}
