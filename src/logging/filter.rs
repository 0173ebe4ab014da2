//! Which records are logged: the defaults, and RUST_LOG on top of them.
//!
//! RUST_LOG does not replace the defaults. A level without a name is for the proxy's own records. The libraries log
//! warnings and errors whatever that level is, but never more than the proxy itself.

use env_logger::Builder;
use log::LevelFilter;

/// The target of the proxy's own records. It includes all targets below, such as `caching_proxy::access`.
const PROXY: &str = "caching_proxy";
/// actix-http logs every malformed request as an error. The proxy logs these requests itself.
const MUTED_LIBRARY: &str = "actix_http";
/// The level of the proxy's own records by default.
const DEFAULT_LEVEL: LevelFilter = LevelFilter::Info;
/// The level of all other libraries by default.
const LIBRARY_LEVEL: LevelFilter = LevelFilter::Warn;

/// Adds the filter to `builder`, with the value of RUST_LOG. Returns the directives that are not understood; they are
/// ignored.
pub(super) fn add_filter<'a>(builder: &mut Builder, rust_log: &'a str) -> Vec<&'a str> {
    let (directives, text) = match rust_log.split_once('/') {
        Some((directives, text)) => (directives, Some(text)),
        None => (rust_log, None),
    };
    let mut level = DEFAULT_LEVEL;
    let mut named = Vec::new();
    let mut ignored = Vec::new();
    let directives = directives.split(',').map(str::trim);
    for directive in directives.filter(|directive| !directive.is_empty()) {
        match FilterDirective::parse(directive) {
            Some(FilterDirective::Level(bare)) => level = bare,
            Some(FilterDirective::Named(name, level)) => named.push((name, level)),
            None => ignored.push(directive),
        }
    }
    if let Some(text) = text {
        // Only records whose text contains this.
        builder.parse_filters(&format!("/{text}"));
    }
    builder
        .filter_level(level.min(LIBRARY_LEVEL))
        .filter_module(PROXY, level)
        .filter_module(MUTED_LIBRARY, LevelFilter::Off);
    for (name, level) in named {
        builder.filter_module(name, level);
    }
    ignored
}

/// One part of RUST_LOG.
enum FilterDirective<'a> {
    /// `warn`.
    Level(LevelFilter),
    /// `h2=debug`; a name alone means all its records.
    Named(&'a str, LevelFilter),
}

impl<'a> FilterDirective<'a> {
    /// `None` if the text is not a directive.
    fn parse(text: &'a str) -> Option<Self> {
        let Some((name, level)) = text.split_once('=') else {
            let is_level = text.parse().map(Self::Level).ok();
            return is_level.or_else(|| Self::named(text, "trace"));
        };
        Self::named(name.trim(), level.trim())
    }

    /// `None` if `name` cannot be a target, or `level` is not a level.
    fn named(name: &'a str, level: &str) -> Option<Self> {
        let is_target = |letter: char| letter.is_alphanumeric() || "_:-.".contains(letter);
        let is_name = !name.is_empty() && name.chars().all(is_target);
        let level = if level.is_empty() { "trace" } else { level };
        is_name.then_some(Self::Named(name, level.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use log::{Level, Log as _, Metadata};

    use super::*;

    /// Whether these records are logged: our own, actix-server's, actix-http's.
    fn levels(rust_log: &str) -> [Option<Level>; 3] {
        let mut builder = Builder::new();
        let ignored = add_filter(&mut builder, rust_log);
        assert_eq!(ignored, Vec::<&str>::new(), "{rust_log}");
        let logger = builder.build();
        [
            "caching_proxy::access",
            "actix_server::worker",
            "actix_http::h1",
        ]
        .map(|target| {
            Level::iter()
                .take_while(|level| {
                    let metadata = Metadata::builder().target(target).level(*level).build();
                    logger.enabled(&metadata)
                })
                .last()
        })
    }

    #[test]
    fn a_level_is_for_the_proxy_and_bounds_the_libraries() {
        use Level::{Debug, Error, Info, Trace, Warn};
        for (rust_log, expected) in [
            ("", [Some(Info), Some(Warn), None]),
            (" , ", [Some(Info), Some(Warn), None]),
            ("warn", [Some(Warn), Some(Warn), None]),
            ("WARN", [Some(Warn), Some(Warn), None]),
            ("error", [Some(Error), Some(Error), None]),
            ("off", [None, None, None]),
            ("trace", [Some(Trace), Some(Warn), None]),
            ("actix_http=debug", [Some(Info), Some(Warn), Some(Debug)]),
            ("warn,actix_server", [Some(Warn), Some(Trace), None]),
            ("caching_proxy::access=off", [None, Some(Warn), None]),
            ("caching_proxy=debug,warn", [Some(Debug), Some(Warn), None]),
            ("debug/text", [Some(Debug), Some(Warn), None]),
        ] {
            assert_eq!(levels(rust_log), expected, "{rust_log}");
        }
    }

    #[test]
    fn directives_that_are_not_understood_are_returned() {
        let ignored = add_filter(&mut Builder::new(), "h2=loud, warn ,=info,a=b=c,two words");
        assert_eq!(ignored, ["h2=loud", "=info", "a=b=c", "two words"]);
    }
}
