//! The disk tier: what is stored is written into files, and found there again after a restart.
//!
//! This room knows nothing of HTTP. It takes and gives back bytes: an [`Address`], a head and a body.
//!
//! | place | what it holds |
//! |---|---|
//! | `address` | [`Address`]: what a response is looked up and ended by |
//! | `record` | [`Record`]: a response to write down |
//! | `ends` | [`End`], [`Ending`]: what ends stored responses, and when that is durable |
//! | `results` | [`StoredRecord`], [`ScanPage`], [`DiskStats`]: what the disk answers |
//! | `open_error` | [`OpenError`] |
//! | `large` | [`LargeBody`], [`LargeReader`], [`LargeWriter`]: bodies in files of their own |
//! | `directory` | the directory: whose it is, the lock, the secret |
//! | `ended` | what has ended, and stays so after a restart
//! | `files` | the operations on files that the store needs; tests replace them by faulty ones |
//! | `checksum` | the checksum of all that is written |
//! | `engine` | [`Disk`]: the handle that the rest of the program uses |

mod address;
#[allow(dead_code)]
mod checksum;
#[allow(dead_code)]
mod directory;
#[allow(dead_code)]
mod ended;
mod ends;
mod engine;
#[allow(dead_code)]
mod files;
mod large;
mod open_error;
mod record;
mod results;

pub use address::Address;
pub use ends::{DiskRule, End, Ended, Ending, NotDurable, ParseRule, RuleAction, Swept};
pub use engine::{Disk, DiskLimits, Opened};
pub use large::{LargeBody, LargeReader, LargeWriter};
pub use open_error::OpenError;
pub use record::{Record, RecordBody};
pub use results::{
    DiskStats, DiskUnavailable, ScanCursor, ScanPage, ScannedRecord, StoredBody, StoredRecord,
};
