//! HAR 1.2: exchanges of requests and responses as a file, as browsers' network panels export and import it.
//!
//! | file | what it holds |
//! |---|---|
//! | `read` | [`read_entries`]: the entries of a file, one at a time |
//! | `long_text` | [`LongTexts`]: long strings, which stay in the file |
//! | `body` | [`HarBody`]: the body of a response |
//! | `entry` | [`HarEntry`]: an entry as it is in a file |
//! | `convert` | [`convert`]: an entry as an exchange that can be stored, or why it is none |
//! | `exchange` | [`RecordedExchange`], and what an export of this program says beside it |
//! | `write` | an exchange as the text of an entry |
//! | `text` | a body as the text of a JSON string, piece by piece |
//! | `scrub` | what an export leaves out: credentials, cookies, secret parameters |

mod body;
mod convert;
mod entry;
mod exchange;
mod long_text;
mod read;
mod scrub;
mod text;
mod write;

pub use self::{
    body::HarBody,
    convert::{SkipReason, convert},
    entry::HarEntry,
    exchange::{ExportMark, HeaderLine, RecordedExchange},
    long_text::{LongText, LongTexts},
    read::{HarError, MAX_ENTRY_BYTES, Stop, open_file, read_entries},
    scrub::{ScrubReport, Scrubber},
    text::{BodyText, Utf8Check, is_text},
    write::{ExportedEntry, FILE_BEGIN, file_end},
};
