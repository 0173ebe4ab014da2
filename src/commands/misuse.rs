//! Invalid command lines, and a hint about what was probably meant.

use caching_proxy::cli::Cli;
use clap::{
    CommandFactory as _, Error,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{
    command_line::{flag_of, has_flag, quoted},
    corrections::corrected,
    text::cut,
};
use crate::terminal::say;

/// The longest command line in a hint, in characters.
const MAX_LINE_CHARS: usize = 200;

/// Prints the error, or the requested help.
pub(crate) fn tell(error: &Error) {
    let words: Option<Vec<String>> = std::env::args_os()
        .skip(1)
        .map(|word| word.into_string().ok())
        .collect();
    if error.use_stderr()
        && let Some(line) = words.as_deref().and_then(corrected)
    {
        say(&format!("error: {line}"));
        return;
    }
    let _ = error.print();
    if let Some(hint) = words.and_then(|words| misplaced(error, &words)) {
        say(&format!("\nhint: {hint}"));
    }
}

/// The hint for flags before a command. `None` for other mistakes.
fn misplaced(error: &Error, words: &[String]) -> Option<String> {
    let named = |kind| match error.get(kind) {
        Some(ContextValue::String(name)) => Some(name.as_str()),
        _ => None,
    };
    let program = Cli::command();
    let is_command = |word: &String| match named(ContextKind::InvalidSubcommand) {
        Some(name) => word == name,
        None => program.find_subcommand(word).is_some(),
    };
    let at = words.iter().position(is_command)?;
    let command = program.find_subcommand(words.get(at)?)?;
    let (before, behind) = (words.get(..at)?, words.get(at + 1..)?);
    let is_before = |flag| before.iter().any(|word| flag_of(word) == flag);
    let is_misplaced = match error.kind() {
        ErrorKind::ArgumentConflict => named(ContextKind::InvalidSubcommand).is_some(),
        ErrorKind::UnknownArgument => named(ContextKind::InvalidArg).is_some_and(is_before),
        _ => false,
    };
    if !is_misplaced {
        return None;
    }
    let name = command.get_name();
    let foreign = before
        .iter()
        .find(|word| word.starts_with('-') && !has_flag(command, word));
    if let Some(foreign) = foreign {
        // An unknown flag is another kind of mistake.
        let flag = flag_of(foreign);
        return has_flag(&program, flag).then(|| {
            format!(
                "`caching-proxy {name}` has no {flag}; for its options: caching-proxy {name} --help"
            )
        });
    }
    let line: Vec<String> = behind
        .iter()
        .chain(before)
        .map(|word| quoted(word))
        .collect();
    let line = cut(&line.join(" "), MAX_LINE_CHARS);
    Some(format!(
        "put flags after the command: caching-proxy {name} {line}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[test]
    fn a_value_with_the_name_of_a_command_is_not_a_command() {
        let hint = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let error =
                Cli::try_parse_from(std::iter::once("caching-proxy").chain(line.split(' ')));
            misplaced(&error.unwrap_err(), &words)
        };
        for line in [
            "--config stats --prot 1",
            "--config stats --port 1 --port 2",
            "--prot 1 stats",
            "stats --prot",
            "stray stats",
        ] {
            assert_eq!(hint(line), None, "{line}");
        }
        assert!(hint("--config stats stats").is_some());
    }
}
