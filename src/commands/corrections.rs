//! Command lines as other programs have them, and how they are spelled here.

use std::ffi::OsString;

use caching_proxy::{
    cli::Cli,
    origin::{OriginUrl, UrlError},
};
use clap::{Arg, CommandFactory as _};

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

/// The values of switches.
const BOOLEANS: [&str; 2] = ["true", "false"];

/// The mistake and the right spelling in one line; `None` if the mistake is another one.
pub(super) fn corrected(words: &[String]) -> Option<String> {
    let program = Cli::command();
    let mut mistake = None;
    let mut line: Vec<String> = Vec::new();
    let mut words = words.iter().peekable();
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
        } else if let Some(url) = url_without_scheme(word) {
            line.extend(["--origin".to_owned(), url]);
            mistake.get_or_insert_with(|| "the URL of the origin needs --origin".to_owned());
        } else if word.parse().is_ok_and(|port: u16| port != 0) {
            line.extend(["--port".to_owned(), word.clone()]);
            mistake.get_or_insert_with(|| "the port needs --port".to_owned());
        } else if has_flag(&program, word) {
            let argument = program.get_arguments().find(|it| is_spelled(it, word));
            let takes_values = argument.filter(|it| it.get_action().takes_values());
            line.push(word.clone());
            match takes_values.map(Arg::is_require_equals_set) {
                Some(false) => line.extend(words.next().cloned()),
                Some(true) => {
                    if let Some(value) = words.next_if(|next| BOOLEANS.contains(&next.as_str())) {
                        line.pop();
                        line.push(format!("{word}={value}"));
                        mistake
                            .get_or_insert_with(|| format!("{word} takes its value after \"=\""));
                    }
                }
                None => {}
            }
        } else {
            return None;
        }
    }
    let mistake = mistake?;
    let arguments = std::iter::once("caching-proxy".to_owned()).chain(line.iter().cloned());
    let parsed = Cli::of(arguments.map(OsString::from)).ok()?;
    let settings = &parsed.settings;
    if !parsed.running.clear_cache && settings.origin.is_none() && settings.config.is_none() {
        line.extend(["--origin".to_owned(), "URL".to_owned()]);
    }
    let line: Vec<String> = line.iter().map(|word| quoted(word)).collect();
    let line = cut(&line.join(" "), MAX_LINE_CHARS);
    Some(format!("{mistake}; run: caching-proxy {line}"))
}

/// The likely URL for `localhost:3000` and `dummyjson.com`. `None` for anything else: a word without a dot and a port may be a
/// misspelled command.
fn url_without_scheme(word: &str) -> Option<String> {
    let is_host = !word.starts_with(['-', '/']) && word.contains(['.', ':']);
    match OriginUrl::parse(word) {
        Err(UrlError::NoScheme { suggestion, .. }) if is_host => Some(suggestion),
        _ => None,
    }
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
                "localhost:3000 -p 8000",
                "the URL of the origin needs --origin; run: caching-proxy --origin http://localhost:3000 -p 8000",
            ),
            (
                "8000 https://a.test",
                "the port needs --port; run: caching-proxy --port 8000 --origin https://a.test",
            ),
            (
                "--origin http://a.test --cors true",
                "--cors takes its value after \"=\"; run: caching-proxy --origin http://a.test --cors=true",
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
