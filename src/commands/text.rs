//! Text for a terminal: control characters escaped, times and sizes short, long paths cut in the middle.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _},
};

use bytesize::ByteSize;
use serde::Serialize;

use crate::{failure::Failure, terminal::print};

/// Prints one JSON document.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(&json_document(value)?);
    Ok(())
}

/// A JSON document on several lines, with a line end.
pub(super) fn json_document(value: &impl Serialize) -> Result<String, Failure> {
    ended(serde_json::to_string_pretty(value))
}

/// A JSON document on one line, with a line end.
pub(super) fn json_line(value: &impl Serialize) -> Result<String, Failure> {
    ended(serde_json::to_string(value))
}

fn ended(document: serde_json::Result<String>) -> Result<String, Failure> {
    let document = document.map_err(|error| Failure::Print(error.into()))?;
    Ok(harmless(&document) + "\n")
}

/// The same JSON document without characters that control a terminal or disguise text. In JSON they occur in strings only,
/// where they can be escaped (RFC 8259, 7).
fn harmless(document: &str) -> String {
    let mut harmless = String::with_capacity(document.len());
    let mut units = [0; 2];
    for letter in document.chars() {
        if letter != '\n' && is_shown_amiss(letter) {
            for unit in letter.encode_utf16(&mut units) {
                let _ = write!(harmless, "\\u{unit:04x}");
            }
        } else {
            harmless.push(letter);
        }
    }
    harmless
}

/// The width of the terminal on stdout; `None` if stdout is not a terminal.
pub(super) fn width() -> Option<usize> {
    size_of_terminal().map(|(columns, _)| columns)
}

/// Columns and rows of the terminal on stdout; `None` if stdout is not a terminal, or its size is not known.
pub(super) fn size_of_terminal() -> Option<(usize, usize)> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&out).ok()?;
    let size = (usize::from(size.ws_col), usize::from(size.ws_row));
    (size.0 > 0 && size.1 > 0).then_some(size)
}

/// True for a character that moves the cursor, changes how others are shown, or is invisible.
fn is_shown_amiss(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

/// `text` with such characters escaped.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_shown_amiss(letter) {
            plain.extend(letter.escape_default());
        } else {
            plain.push(letter);
        }
    }
    plain
}

/// Lines of a name and a value, for a terminal.
pub(super) struct Sheet(String);

impl Sheet {
    /// A sheet with this first line.
    pub(super) fn begun(first: &str) -> Self {
        Self(format!("{}\n", plain(first)))
    }

    pub(super) fn line(&mut self, name: &str, value: &str) {
        self.0.push_str(&format!("  {name:<12}{}\n", plain(value)));
    }

    /// A header of a message, indented below the lines.
    pub(super) fn field(&mut self, name: &str, value: &str) {
        self.0
            .push_str(&format!("    {}: {}\n", plain(name), plain(value)));
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// `text` in at most `width` characters: cut in the middle, because paths differ at their ends.
pub(super) fn cut(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width || width < 3 {
        return text.to_owned();
    }
    let room = width - 1;
    let begin: String = text.chars().take(room.div_ceil(2)).collect();
    let end: String = text.chars().skip(length - room / 2).collect();
    format!("{begin}\u{2026}{end}")
}

/// `text` in at most `width` characters: cut at its end.
pub(super) fn begin(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => text.to_owned(),
        Some(_) => {
            let shown = text.chars().take(width.saturating_sub(1));
            shown.chain(['\u{2026}']).collect()
        }
    }
}

/// A noun, with an "s" unless there is one of it.
pub(super) fn noun(number: u64, one: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{one}{ending}")
}

/// A duration in its two largest units: `3m 20s`.
pub(super) fn seconds(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let index = UNITS.iter().position(|(unit, _)| seconds >= *unit);
    let Some((index, (unit, name))) = index.and_then(|at| Some((at, UNITS.get(at)?))) else {
        return "0s".to_owned();
    };
    let rest = seconds % unit;
    match UNITS.get(index + 1) {
        Some((next, next_name)) if rest / next > 0 => {
            format!("{}{name} {}{next_name}", seconds / unit, rest / next)
        }
        _ => format!("{}{name}", seconds / unit),
    }
}

/// How long something is fresh: `stale`, `3m 20s`, or `until cleared`.
pub(super) fn fresh(seconds_left: Option<i64>, is_stale: bool) -> String {
    match seconds_left {
        _ if is_stale => "stale".to_owned(),
        None => "until cleared".to_owned(),
        Some(left) => seconds(left.unsigned_abs()),
    }
}

/// A size: `12.0 KiB`.
pub(super) fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_text_never_moves_the_cursor() {
        assert_eq!(plain("/a\u{1b}[2J\r\u{202e}b"), "/a\\u{1b}[2J\\r\\u{202e}b");
    }

    #[test]
    fn a_json_document_has_no_escape_sequences_and_keeps_its_meaning() {
        let value = serde_json::json!({
            "\u{9b}2J": ["\u{202e}gnp.exe", "\u{7f}\u{1b}[2J\n", "\u{61c}\u{200b}\u{feff}\u{2066}", "\\u009b"],
            "gr\u{fc}n \u{1f600}": "\u{65e5}\u{672c}",
        });
        for text in [json_document(&value).ok(), json_line(&value).ok()] {
            let text = text.unwrap();
            let amiss = |letter: char| letter != '\n' && is_shown_amiss(letter);
            assert!(!text.contains(amiss), "{text:?}");
            for escape in ["\\u009b2J", "\\u202e", "\\u007f\\u001b[2J\\n", "\\u061c"] {
                assert!(text.contains(escape), "{escape}: {text}");
            }
            assert!(text.contains("gr\u{fc}n \u{1f600}"), "{text}");
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(read, value);
        }
    }

    #[test]
    fn a_line_is_cut_at_its_end() {
        assert_eq!(begin("abc", 3), "abc");
        assert_eq!(begin("abcd", 3), "ab\u{2026}");
        assert_eq!(begin("abcd", 1), "\u{2026}");
    }

    #[test]
    fn a_long_path_is_cut_in_the_middle() {
        assert_eq!(cut("/products/12345", 9), "/pro\u{2026}2345");
        assert_eq!(cut("/a", 2), "/a");
        assert_eq!(cut("/\u{e4}\u{f6}\u{fc}xyz", 5), "/\u{e4}\u{2026}yz");
    }

    #[test]
    fn a_time_has_its_two_largest_units() {
        for (count, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (200, "3m 20s"),
            (3601, "1h"),
            (90_000, "1d 1h"),
        ] {
            assert_eq!(seconds(count), text);
        }
        assert_eq!(fresh(None, false), "until cleared");
        assert_eq!(fresh(Some(-3), true), "stale");
    }
}
