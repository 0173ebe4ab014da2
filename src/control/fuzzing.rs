//! Entry point for fuzzing: the JSON bodies of the commands.

use actix_web::web::Bytes;

use super::steer::{ListRequest, PurgeRequest, ShowRequest, WhyRequest, described, read};
use crate::{
    cache::{EntryFilter, FilterSpec},
    policy::Rules,
};

/// Any body of a command is understood or refused.
pub fn control_message(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    if let Ok(ask) = read::<WhyRequest>(&body) {
        let _ = described(&ask);
    }
    if let Ok(ask) = read::<PurgeRequest>(&body) {
        let _ = EntryFilter::new(&ask.names, &Rules::default(), false);
    }
    let listed = read::<ListRequest>(&body).ok().and_then(|ask| ask.path);
    let shown = read::<ShowRequest>(&body).ok().map(|ask| ask.path);
    for path in listed.into_iter().chain(shown) {
        let names = FilterSpec {
            paths: vec![path],
            ..FilterSpec::default()
        };
        let _ = EntryFilter::new(&names, &Rules::default(), true);
    }
}
