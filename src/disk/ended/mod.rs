//! What has ended: a log on the disk, so that nothing of it comes back after a restart.
//!
//! Each stored response has a sequence number. Whatever ends responses gets the newest number S at that time, and ends
//! those that it names with a number up to S.
//!
//! | place | what it holds |
//! |---|---|
//! | `log` | [`EndedLog`]: the file `ended.log`, appended to and synced, rewritten when it is long |
//! | `log_file` | making, filling and reading that file |
//! | `read_log` | a log as it is read when it is opened, and whether it is whole |
//! | `scan` | the rows in the bytes of a log, and whether some are lost |
//! | `header` | the first two sectors: the identity of the log, and what is overwritten in place |
//! | `row` | one row: kind, number, content, checksum |
//! | `state` | what the rows together say; the rows that say it again |
//! | `set` | [`EndedSet`]: which responses have ended |
//! | `logged_rules` | the rules that are not done, in a bounded number |
//! | `rules` | [`RulesInForce`]: rules that each read is tested by |

mod header;
mod log;
mod log_file;
mod logged_rules;
mod read_log;
mod row;
mod rules;
mod scan;
mod set;
mod state;
#[cfg(test)]
mod tests;

pub(super) use header::LogMark;
pub(super) use log::{AppendError, EndedBefore, EndedLog};
pub(super) use logged_rules::RuleId;
pub(super) use row::EndedRow;
pub(super) use rules::{RemovingRule, RuleVerdict, RulesInForce};
pub(super) use set::{EndedAddress, EndedSet};
