//! Printing: stdout is for the result, stderr for everything else.
//!
//! Errors while writing are ignored: a closed stdout or stderr must not stop the program.

use std::{
    error::Error,
    io::{self, Write as _},
};

use caching_proxy::error::Chain;

/// A number with its noun: `1 entry`, `2 entries`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Prints text to stdout.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a line to stderr.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints an error with its causes to stderr.
pub(crate) fn say_error(error: &dyn Error) {
    say(&format!("error: {}", Chain(error)));
}
