//! The Date of responses that have none.

use std::cell::RefCell;

use bytes::Bytes;

use crate::{clock, policy};

thread_local! {
    /// A second since the epoch, and its Date.
    static DATE: RefCell<(u64, Bytes)> = const { RefCell::new((0, Bytes::new())) };
}

/// The Date of a response that has none (RFC 9110, 6.6.1). It is made once a second.
pub(super) fn date() -> Bytes {
    let now = clock::now();
    DATE.with_borrow_mut(|(second, date)| {
        if *second != now.unix_seconds() || date.is_empty() {
            *second = now.unix_seconds();
            *date = policy::imf_fixdate(now).into();
        }
        date.clone()
    })
}
