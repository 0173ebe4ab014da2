//! Entry point for fuzzing: the JSON bodies of the commands.

use super::routes::parse;
use crate::{
    admin::{ListRequest, PurgeRequest, ShowRequest, WhyRequest, parse_why},
    cache::{EntryFilter, FilterSpec},
    policy::{Routes, Rules},
};

/// Any body of a command is understood or refused.
pub fn control_message(bytes: &[u8]) {
    if let Ok(ask) = parse::<WhyRequest>(bytes) {
        let _ = parse_why(&ask);
    }
    if let Ok(ask) = parse::<PurgeRequest>(bytes) {
        let _ = EntryFilter::new(&ask.names, (&Routes::default(), &Rules::default()), false);
    }
    let listed = parse::<ListRequest>(bytes).ok().and_then(|ask| ask.path);
    let shown = parse::<ShowRequest>(bytes).ok().map(|ask| ask.path);
    for path in listed.into_iter().chain(shown) {
        let names = FilterSpec {
            paths: vec![path],
            ..FilterSpec::default()
        };
        let _ = EntryFilter::new(&names, (&Routes::default(), &Rules::default()), true);
    }
}
