//! Command lines as other programs have them, and how they are spelled here.

use std::ffi::OsString;

use caching_proxy::cli::Cli;
use clap::CommandFactory as _;

use super::{
    command_line::{flag_of, has_flag, is_spelled, quoted},
    text::cut,
};

/// The longest corrected command line that is shown, in characters.
const MAX_LINE_CHARS: usize = 200;
/// What others call --origin.
const ORIGIN_FLAGS: [&str; 8] = [
    "--target",
    "--upstream",
    "--backend",
    "--url",
    "--server",
    "--to",
    "--proxy-to",
    "--remote",
];
/// What others call --clear-cache.
const CLEAR_WORDS: [&str; 6] = [
    "clear-cache",
    "clear",
    "clearcache",
    "clear_cache",
    "--clear",
    "--clearcache",
];
/// Commands that others have to serve.
const SERVE_WORDS: [&str; 5] = ["start", "serve", "server", "run", "up"];

/// The mistake and the right spelling in one line; `None` if the mistake is another one.
pub(super) fn corrected(words: &[String]) -> Option<String> {
    let program = Cli::command();
    let mut mistake = None;
    let mut line: Vec<String> = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let flag = flag_of(word);
        let is_url = word.starts_with("http://") || word.starts_with("https://");
        if ORIGIN_FLAGS.contains(&flag) {
            line.push(word.replacen(flag, "--origin", 1));
            mistake.get_or_insert_with(|| format!("there is no {flag}, it is --origin"));
            if flag == word {
                line.extend(words.next().cloned());
            }
        } else if CLEAR_WORDS.contains(&word.as_str()) {
            line.push("--clear-cache".to_owned());
            mistake.get_or_insert_with(|| format!("there is no `{word}`, it is --clear-cache"));
        } else if SERVE_WORDS.contains(&word.as_str()) {
            mistake.get_or_insert_with(|| format!("`{word}` is not a command: leave it out"));
        } else if is_url {
            line.extend(["--origin".to_owned(), word.clone()]);
            mistake.get_or_insert_with(|| "the URL of the origin needs --origin".to_owned());
        } else if has_flag(&program, word) {
            line.push(word.clone());
            let takes_value = program.get_arguments().any(|argument| {
                is_spelled(argument, word)
                    && argument.get_action().takes_values()
                    && !argument.is_require_equals_set()
            });
            if takes_value {
                line.extend(words.next().cloned());
            }
        } else {
            return None;
        }
    }
    let mistake = mistake?;
    let arguments = std::iter::once("caching-proxy".to_owned()).chain(line.iter().cloned());
    let parsed = Cli::of(arguments.map(OsString::from)).ok()?;
    let settings = &parsed.settings;
    if !parsed.clear_cache && settings.origin.is_none() && settings.config.is_none() {
        line.extend(["--origin".to_owned(), "URL".to_owned()]);
    }
    let line: Vec<String> = line.iter().map(|word| quoted(word)).collect();
    let line = cut(&line.join(" "), MAX_LINE_CHARS);
    Some(format!("{mistake}; run: caching-proxy {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn correction(line: &str) -> Option<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        corrected(&words)
    }

    #[test]
    fn the_words_of_other_programs_are_translated() {
        for (line, expected) in [
            (
                "--port 8000 --target http://a.test",
                "there is no --target, it is --origin; run: caching-proxy --port 8000 --origin http://a.test",
            ),
            (
                "--upstream=http://a.test",
                "there is no --upstream, it is --origin; run: caching-proxy --origin=http://a.test",
            ),
            (
                "clear",
                "there is no `clear`, it is --clear-cache; run: caching-proxy --clear-cache",
            ),
            (
                "clear-cache -p 8000",
                "there is no `clear-cache`, it is --clear-cache; run: caching-proxy --clear-cache -p 8000",
            ),
            (
                "http://a.test --port 8000",
                "the URL of the origin needs --origin; run: caching-proxy --origin http://a.test --port 8000",
            ),
            (
                "serve",
                "`serve` is not a command: leave it out; run: caching-proxy --origin URL",
            ),
            (
                "start -p 8000 https://a.test/v2",
                "`start` is not a command: leave it out; run: caching-proxy -p 8000 --origin https://a.test/v2",
            ),
            (
                "run --config my.toml",
                "`run` is not a command: leave it out; run: caching-proxy --config my.toml",
            ),
        ] {
            assert_eq!(correction(line).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn other_mistakes_are_left_to_the_parser() {
        for line in [
            "--prot 1 start",
            "--origin http://a.test http://b.test",
            "--target http://a.test --upstream http://b.test",
            "ls clear",
            "check-config --target http://a.test",
            "stray",
            "--port",
            "--config start --config start",
        ] {
            assert_eq!(correction(line), None, "{line}");
        }
    }
}
