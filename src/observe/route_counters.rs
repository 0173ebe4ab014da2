//! What is counted of one route: [`RouteCells`] for each worker, and [`RouteTotals`], their sum.
//!
//! The counts of a route belong to its name, which is what it matches, and a name gets a slot when it first occurs. So a
//! reload keeps the counts of the routes that stay, and what was counted of others stays as it is until the proxy ends.

use std::sync::atomic::AtomicU64;

use actix_web::http::StatusCode;

use super::cells;
use crate::headers::RequestOutcome;

/// The classes of status, from 1xx to 5xx.
pub(super) const CLASSES: usize = 5;
/// The outcomes of requests; a failure of any kind is one of them.
const OUTCOMES: usize = RouteTotals::OUTCOMES.len();

/// The names of the slots that belong to no route of the configuration.
const FIXED: [&str; 3] = ["none", "default", "other"];
/// So many names of routes are told apart from the start to the end of a proxy. Further ones share [`RouteSlot::OTHER`].
const MAX_NAMES: usize = 128;

/// The place of a route among the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteSlot(usize);

impl RouteSlot {
    /// Requests that have no route: they are refused or answered before one is chosen.
    pub const NONE: Self = Self(0);
    /// Requests that no route matches.
    pub const DEFAULT: Self = Self(1);
    /// Requests of routes beyond the limit.
    pub const OTHER: Self = Self(2);
}

/// The names of the slots.
#[derive(Debug, Default)]
pub(super) struct RouteNames(Vec<String>);

impl RouteNames {
    /// The slot of a name.
    pub(super) fn slot(&mut self, name: &str) -> RouteSlot {
        let name = match FIXED.contains(&name) {
            // The name of a host.
            true => format!("{name}/*"),
            false => name.to_owned(),
        };
        let position = self.0.iter().position(|known| *known == name);
        let position = position.or_else(|| {
            (self.0.len() < MAX_NAMES).then(|| {
                self.0.push(name);
                self.0.len() - 1
            })
        });
        position.map_or(RouteSlot::OTHER, |position| {
            RouteSlot(FIXED.len() + position)
        })
    }

    /// True if there are no routes but the last one.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names in the order of their slots.
    fn iter(&self) -> impl Iterator<Item = &str> {
        FIXED.into_iter().chain(self.0.iter().map(String::as_str))
    }
}

/// The counts of one worker for each route. A request is one addition.
#[derive(Debug)]
pub(super) struct RouteCells(Box<[[AtomicU64; OUTCOMES * CLASSES]]>);

impl Default for RouteCells {
    fn default() -> Self {
        let cells = || [const { AtomicU64::new(0) }; OUTCOMES * CLASSES];
        Self((0..FIXED.len() + MAX_NAMES).map(|_| cells()).collect())
    }
}

/// The class of a status, counted from 0.
#[inline]
pub(super) fn class(status: StatusCode) -> usize {
    usize::from(status.as_u16() / 100).clamp(1, CLASSES) - 1
}

impl RouteCells {
    /// Counts a response that begins to be sent.
    #[inline]
    pub(super) fn answered(&self, route: RouteSlot, status: StatusCode, outcome: RequestOutcome) {
        if let Some(cells) = self.0.get(route.0) {
            cells::add(cells, place(outcome) * CLASSES + class(status), 1);
        }
    }
}

/// The place of an outcome in [`RouteTotals::OUTCOMES`].
#[inline]
fn place(outcome: RequestOutcome) -> usize {
    match outcome {
        RequestOutcome::Hit => 0,
        RequestOutcome::Validated => 1,
        RequestOutcome::Stale => 2,
        RequestOutcome::Miss => 3,
        RequestOutcome::Collapsed => 4,
        RequestOutcome::Own => 5,
        RequestOutcome::Tunnel => 6,
        RequestOutcome::Failed(_) => 7,
    }
}

/// What all workers have counted of one route.
#[derive(Clone, Debug)]
pub struct RouteTotals {
    /// What the route matches, or a fixed word.
    pub name: String,
    counts: [u64; OUTCOMES * CLASSES],
}

impl RouteTotals {
    /// All outcomes. A failure is one of them, whatever its kind.
    pub const OUTCOMES: [RequestOutcome; 8] = [
        RequestOutcome::Hit,
        RequestOutcome::Validated,
        RequestOutcome::Stale,
        RequestOutcome::Miss,
        RequestOutcome::Collapsed,
        RequestOutcome::Own,
        RequestOutcome::Tunnel,
        RequestOutcome::Failed(""),
    ];

    /// The sums of what the workers have counted, in the order of the slots. Of those that belong to no route, only
    /// [`RouteSlot::DEFAULT`] is there without a request.
    pub(super) fn of<'a>(
        names: &RouteNames,
        workers: impl Iterator<Item = &'a RouteCells> + Clone,
    ) -> Vec<Self> {
        let totals = names.iter().enumerate().map(|(slot, name)| {
            let mut counts = [0; OUTCOMES * CLASSES];
            for cells in workers.clone().filter_map(|cells| cells.0.get(slot)) {
                cells::add_all(&mut counts, cells);
            }
            let name = name.to_owned();
            Self { name, counts }
        });
        let totals = totals.enumerate().filter(|(slot, totals)| {
            *slot == RouteSlot::DEFAULT.0 || *slot >= FIXED.len() || totals.requests() > 0
        });
        totals.map(|(_, totals)| totals).collect()
    }

    /// All requests.
    pub fn requests(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Requests with this outcome. All failures count, whatever their kind.
    pub fn outcome(&self, outcome: RequestOutcome) -> u64 {
        let first = place(outcome) * CLASSES;
        let counts = self.counts.get(first..first + CLASSES);
        counts.unwrap_or(&[]).iter().sum()
    }

    /// Responses by the first digit of their status, from 1 to 5.
    pub fn classes(&self) -> [u64; CLASSES] {
        let of_outcomes = self.counts.chunks_exact(CLASSES);
        of_outcomes.fold([0; CLASSES], |mut sums, counts| {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += count;
            }
            sums
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_outcome_and_status() {
        let mut names = RouteNames::default();
        let (api, host) = (names.slot("/api/*"), names.slot("default"));
        let (one, two) = (RouteCells::default(), RouteCells::default());
        for (cells, route, status, outcome) in [
            (&one, api, 200, RequestOutcome::Hit),
            (&two, api, 304, RequestOutcome::Hit),
            (&two, api, 502, RequestOutcome::Failed("timeout")),
            (&one, host, 200, RequestOutcome::Miss),
            (&one, RouteSlot::DEFAULT, 101, RequestOutcome::Tunnel),
        ] {
            cells.answered(route, StatusCode::from_u16(status).unwrap(), outcome);
        }
        let totals = RouteTotals::of(&names, [&one, &two].into_iter());
        let found: Vec<_> = totals
            .iter()
            .map(|route| (&*route.name, route.requests(), route.classes()))
            .collect();
        let expected = [
            ("default", 1, [1, 0, 0, 0, 0]),
            ("/api/*", 3, [0, 1, 1, 0, 1]),
            ("default/*", 1, [0, 1, 0, 0, 0]),
        ];
        assert_eq!(found, expected);
        assert_eq!(totals[1].outcome(RequestOutcome::Hit), 2);
        assert_eq!(totals[1].outcome(RequestOutcome::Failed("x")), 1);
    }

    #[test]
    fn a_name_keeps_its_slot_and_names_beyond_the_limit_share_one() {
        let mut names = RouteNames::default();
        let first = names.slot("/0");
        for number in 1..MAX_NAMES {
            assert_ne!(names.slot(&format!("/{number}")), first);
        }
        assert_eq!(names.slot("/0"), first);
        assert_eq!(names.slot("/one-more"), RouteSlot::OTHER);
        assert_eq!(names.slot("/another"), RouteSlot::OTHER);
        let cells = RouteCells::default();
        cells.answered(RouteSlot::OTHER, StatusCode::OK, RequestOutcome::Hit);
        let last = names.slot(&format!("/{}", MAX_NAMES - 1));
        cells.answered(last, StatusCode::OK, RequestOutcome::Hit);
        let totals = RouteTotals::of(&names, std::iter::once(&cells));
        let counted = totals.iter().filter(|route| route.requests() > 0);
        let counted: Vec<&str> = counted.map(|route| &*route.name).collect();
        assert_eq!(counted, ["other", "/127"]);
    }

    #[test]
    fn every_outcome_has_its_place() {
        for (index, outcome) in RouteTotals::OUTCOMES.into_iter().enumerate() {
            assert_eq!(place(outcome), index);
        }
    }
}
