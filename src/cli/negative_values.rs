//! Values that begin with a minus, such as `--ttl -1s`: clap takes them for options.

use std::ffi::OsString;

use clap::{Arg, Command, CommandFactory as _, Parser as _};

use super::Cli;

impl Cli {
    /// Parses a command line. A negative number or duration is a value of the option before it, so that it is refused with
    /// what would be right.
    ///
    /// # Errors
    /// The command line is invalid, or asks for help or the version.
    pub fn of(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(joined(&Self::command(), arguments))
    }
}

/// The arguments, with each negative value joined to its option: `--ttl=-1s`.
fn joined(command: &Command, arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let mut is_option = true;
    for argument in arguments {
        is_option &= argument != "--";
        match joined.last_mut() {
            Some(option) if is_option && is_negative(&argument) && takes_value(command, option) => {
                option.push("=");
                option.push(argument);
            }
            _ => joined.push(argument),
        }
    }
    joined
}

/// True for a minus and a digit: no option begins so.
fn is_negative(argument: &OsString) -> bool {
    matches!(argument.as_encoded_bytes(), [b'-', b'0'..=b'9' | b'.', ..])
}

/// True for `--name` or `-n` if the program or one of its commands has such an option, and it needs a value.
fn takes_value(command: &Command, option: &OsString) -> bool {
    let Some(option_text) = option.to_str() else {
        return false;
    };
    let mut arguments = command.get_arguments();
    let takes_it = arguments.any(|argument| {
        is_spelled(argument, option_text)
            && argument.get_action().takes_values()
            && !argument.is_require_equals_set()
    });
    takes_it
        || command
            .get_subcommands()
            .any(|command| takes_value(command, option))
}

fn is_spelled(argument: &Arg, option: &str) -> bool {
    match option.strip_prefix("--") {
        Some(name) => argument.get_long() == Some(name),
        None => {
            let short = argument.get_short().map(|letter| format!("-{letter}"));
            short.as_deref() == Some(option)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_value_is_joined_to_its_option() {
        for (line, expected) in [
            ("x --ttl -1s", "x --ttl=-1s"),
            (
                "x --max-memory -5MiB --port -1",
                "x --max-memory=-5MiB --port=-1",
            ),
            ("x -p -1", "x -p=-1"),
            ("x ls --limit -1", "x ls --limit=-1"),
            ("x warm --timeout -.5s", "x warm --timeout=-.5s"),
            ("x --ttl --port 1", "x --ttl --port 1"),
            ("x --clear-cache -1", "x --clear-cache -1"),
            ("x --preserve-host -1", "x --preserve-host -1"),
            ("x --unknown -1", "x --unknown -1"),
            ("x --ttl=1s -1", "x --ttl=1s -1"),
            ("x ls -- --limit -1", "x ls -- --limit -1"),
        ] {
            let arguments = line.split(' ').map(OsString::from);
            let joined = joined(&Cli::command(), arguments);
            assert_eq!(joined, Vec::from_iter(expected.split(' ')), "{line}");
        }
    }

    #[test]
    fn every_option_with_a_value_takes_a_negative_one() {
        for argument in Cli::command().get_arguments() {
            let (Some(name), true) = (argument.get_long(), argument.get_action().takes_values())
            else {
                continue;
            };
            // It is none of the settings.
            if argument.is_require_equals_set() || name == "wait" {
                continue;
            }
            let line = [
                "caching-proxy".into(),
                format!("--{name}").into(),
                "-1s".into(),
            ];
            let flags = Cli::of(line).unwrap().settings.flags();
            assert_eq!(flags[name], "-1s");
        }
    }

    #[test]
    fn a_negative_wait_is_refused_as_a_value() {
        let line = ["caching-proxy", "--clear-cache", "--wait", "-1s"].map(OsString::from);
        let refused = Cli::of(line).unwrap_err();
        assert_eq!(refused.kind(), clap::error::ErrorKind::ValueValidation);
    }
}
