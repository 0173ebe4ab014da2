//! The words of a command line, as they were typed.

use clap::{Arg, Command};

use super::text::plain;

/// `--port` of `--port=8000`.
pub(super) fn flag_of(word: &str) -> &str {
    word.split('=').next().unwrap_or(word)
}

pub(super) fn has_flag(command: &Command, word: &str) -> bool {
    command
        .get_arguments()
        .any(|argument| is_spelled(argument, flag_of(word)))
}

/// True if `flag` is the long or the short form of an option.
pub(super) fn is_spelled(argument: &Arg, flag: &str) -> bool {
    let long = argument.get_long().map(|long| format!("--{long}"));
    let short = argument.get_short().map(|short| format!("-{short}"));
    long.as_deref() == Some(flag) || short.as_deref() == Some(flag)
}

/// Quoted for a shell, if needed.
pub(super) fn quoted(word: &str) -> String {
    let is_simple = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,@%+".contains(letter);
    match !word.is_empty() && word.chars().all(is_simple) {
        true => word.to_owned(),
        false => plain(&format!("'{}'", word.replace('\'', "'\\''"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposed_command_can_be_pasted() {
        assert_eq!(quoted("/a?b"), "'/a?b'");
        assert_eq!(quoted("a'b"), "'a'\\''b'");
        assert_eq!(quoted("--port=1"), "--port=1");
    }
}
