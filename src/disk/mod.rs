//! The disk tier: what is stored is written into files, and found there again after a restart.
//!
//! This room knows nothing of HTTP. It takes and gives back bytes: an [`Address`], a head and a body.
//!
//! | place | what it holds |
//! |---|---|
//! | `address` | [`Address`]: what a response is looked up and ended by; its hashes |
//! | `record` | [`Record`]: a response to write down |
//! | `ends` | [`End`], [`Ending`]: what ends stored responses, and when that is durable |
//! | `results`, `unavailable` | [`StoredRecord`], [`ScanPage`], [`DiskStats`]: what the disk answers, or why it does not |
//! | `engine` | [`Disk`]: the handle that the rest of the program uses |
//! | `handle` | its calls, as messages to the threads |
//! | `open`, `open_error` | opening a store: what is there is found, the threads start |
//! | `limits` | [`DiskLimits`]: how much the disk tier may use, how long it may take |
//! | `availability` | whether the disk is in use |
//! | `shared` | what the threads share |
//! | `contents` | what is stored, as the threads change it, one at a time |
//! | `index`, `place` | where each stored response is; workers read it without a lock |
//! | `layout`, `segment` | a record in bytes; a file of records |
//! | `open_segments` | the segments that are open |
//! | `messages`, `writer` | the thread that writes: records, what has ended, eviction |
//! | `waiting_keys` | the keys of responses that wait to be written |
//! | `readers`, `lookup`, `scan` | the threads that read |
//! | `sweeper`, `loader` | the thread that loads the index, and removes what rules name |
//! | `read_buffer` | the buffers that they read into |
//! | `upkeep` | the thread that removes files |
//! | `large` | [`LargeBody`], [`LargeReader`], [`LargeWriter`]: bodies in files of their own |
//! | `large_file`, `large_thread` | such a file in bytes; the thread that writes it while it arrives |
//! | `reservation` | the space that is set aside for such a body |
//! | `ended` | what has ended, and stays so after a restart |
//! | `directory` | the directory: its lock, its secret, who may read it |
//! | `files` | the operations on files that the store needs; tests replace them by faulty ones |
//! | `checksum` | the checksum of all that is written |
//!
//! # What holds
//!
//! - Each record has a sequence number. It grows from record to record, also over restarts. What ends responses ends
//!   those with a number up to the newest one at that time (`ended`).
//! - `put` and `end` go through one queue. Their writer does them in order: first it writes what has ended and makes it
//!   durable, then it changes the index, then it answers.
//! - A record that is found is checked: its bytes, its whole address, and after it was read that it has not ended
//!   meanwhile.
//! - A response that cannot be stored takes the one that it would have replaced with it.
//! - Handlers read the index and the numbers without locks, and a record or a block of a body where the system has it in
//!   memory: such a read does not wait for the disk. For all else they reach the threads by messages. Only the threads
//!   share a lock, and none holds it while it reads or writes.

mod address;
mod availability;
mod checksum;
mod contents;
mod directory;
mod ended;
mod ends;
mod engine;
mod files;
mod handle;
mod index;
mod large;
mod large_file;
mod large_thread;
mod layout;
mod limits;
mod loader;
mod lookup;
mod messages;
mod open;
mod open_error;
mod open_segments;
mod outages;
mod place;
mod read_buffer;
mod readers;
mod record;
mod reservation;
mod results;
mod scan;
mod segment;
mod shared;
mod sweeper;
#[cfg(test)]
mod tests;
mod unavailable;
mod upkeep;
mod waiting_keys;
mod writer;

pub use address::Address;
pub use ends::{DiskRule, End, Ended, Ending, NotDurable, ParseRule, RuleAction, Swept};
pub use engine::{Disk, Opened};
pub use large::{LargeBody, LargeReader, LargeWriter};
pub use limits::DiskLimits;
pub use open_error::OpenError;
pub use record::{Record, RecordBody};
pub use results::{DiskStats, ScanCursor, ScanPage, ScannedRecord, StoredBody, StoredRecord};
pub use unavailable::DiskUnavailable;
