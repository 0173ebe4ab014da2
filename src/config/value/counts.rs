//! Parsers of numbers.

use super::{Given, ValueError};

/// More connections than that no system has for one program.
pub(in crate::config) const MAX_CONNECTIONS: usize = 1_000_000;
/// The most workers.
pub(in crate::config) const MAX_WORKERS: usize = 512;

/// A number of threads. `None` for `auto`, one per core.
pub(in crate::config) fn workers(given: &Given) -> Result<Option<usize>, ValueError> {
    if given.text() == Some("auto") {
        return Ok(None);
    }
    given
        .integer()
        .and_then(|number| usize::try_from(number).ok())
        .filter(|number| (1..=MAX_WORKERS).contains(number))
        .map(Some)
        .ok_or_else(|| {
            given.is_not(format!(
                "a number of threads from 1 to {MAX_WORKERS}, or \"auto\""
            ))
        })
}

/// A number of connections.
pub(in crate::config) fn connections(given: &Given) -> Result<usize, ValueError> {
    count(given, "connections", MAX_CONNECTIONS)
}

/// A number from 1 to `max` of what `name` says.
pub(in crate::config) fn count(given: &Given, name: &str, max: usize) -> Result<usize, ValueError> {
    let number = given.integer();
    let number = number.and_then(|number| usize::try_from(number).ok());
    let number = number.filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| given.is_not(format!("a number of {name} from 1 to {max}")))
}
