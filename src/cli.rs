//! The command line as it was written: raw, every value still text. [`crate::config`] makes sense of it.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::config::Flags;

const EXAMPLES: &str = "\
Each option but --clear-cache, which is a command, is also an environment variable
(CACHING_PROXY_MAX_MEMORY for --max-memory) and, but for --config, a key in config/proxy.toml
(max_memory). A flag goes before the environment, the environment before the file.
Rules for some paths ([[rules]]) stand in the file only.

Exit codes:
  0 done   1 failed while running   2 bad usage or configuration   3 cannot listen on the port
  4 a running caching-proxy could not be reached

Examples:
  caching-proxy --port 8000 --origin https://dummyjson.com
      Forward to dummyjson.com, and never forward the same GET request twice
  caching-proxy --clear-cache
      Empty the cache of every running caching-proxy of yours
  caching-proxy --clear-cache --port 8000
      Empty the cache of the one on port 8000
  caching-proxy stats --watch
      See what it does: hits, misses and why, what was saved
  caching-proxy why /products/1
      Say what the running one would do with a request, and why
  caching-proxy --origin https://dummyjson.com --policy always --ttl 10m
      Keep every answer for ten minutes, whatever the origin says about it
  caching-proxy --origin https://localhost:8443 --origin-ca dev-cert.pem
      Trust the certificate of a development server";

/// An HTTP caching proxy: don't forward the same GET request twice
#[derive(Debug, Parser)]
#[command(
    name = "caching-proxy",
    version,
    about,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    subcommand_value_name = "COMMAND"
)]
pub struct Cli {
    /// What to do in place of serving.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The settings.
    #[command(flatten)]
    pub settings: SettingsArgs,

    /// Empty the cache of the running proxies of this user, and exit
    #[arg(long, display_order = 3)]
    pub clear_cache: bool,
}

/// What a proxy can be told on the command line.
#[derive(Debug, Args)]
pub struct SettingsArgs {
    /// Port to listen on, or with --clear-cache the only one to clear [default: 8000]
    #[arg(
        long,
        display_order = 1,
        value_name = "PORT",
        allow_negative_numbers = true
    )]
    pub port: Option<OsString>,

    /// Where requests are forwarded to: http or https, a host, and if need be a port and a path
    #[arg(long, display_order = 2, value_name = "URL")]
    pub origin: Option<OsString>,

    /// Configuration file [default: config/proxy.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<OsString>,

    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Option<OsString>,

    /// How far the origin's word counts: `standard` obeys it and keeps what it says nothing about,
    /// `strict` is RFC 9111 to the letter, `always` keeps what it forbids too, but no errors [default: standard]
    #[arg(long, value_name = "standard|strict|always")]
    pub policy: Option<OsString>,

    /// How long to keep what the origin says nothing about (with `always`: everything); `none`: until cleared
    /// [default: none]
    #[arg(long, value_name = "DURATION")]
    pub ttl: Option<OsString>,

    /// Longest silence of the origin: while connecting, before the first byte, between two pieces
    /// of a body [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<OsString>,

    /// Memory for the cache [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    pub max_memory: Option<OsString>,

    /// Largest body that is kept [default: a quarter of --max-memory]
    #[arg(long, value_name = "SIZE")]
    pub max_object: Option<OsString>,

    /// How long past its time an answer may be served while the origin cannot be reached
    /// [default: 24h]
    #[arg(long, value_name = "DURATION")]
    pub max_stale: Option<OsString>,

    /// PEM file of certificates to trust beside the system's; also the origin's own, self-signed
    #[arg(long, value_name = "FILE")]
    pub origin_ca: Option<OsString>,

    /// Threads that serve [default: one for each core]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub workers: Option<OsString>,

    /// Forward the client's Host instead of the origin's
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub preserve_host: Option<OsString>,

    /// Request headers that tell one user from another, beside Authorization and Cookie; `*` stands
    /// for anything. What you name takes the place of the default
    /// [default: *api-key*,*apikey*,*-key,*token*,auth*,*-auth*,*session*,*secret*,*jwt*]
    #[arg(long, value_name = "LIST")]
    pub identity_headers: Option<OsString>,

    /// The only cookies that tell one user from another: all others are handled like --ignored-cookies;
    /// empty for none [default: *]
    #[arg(long, value_name = "LIST")]
    pub identity_cookies: Option<OsString>,

    /// Cookies that say nothing about who the user is
    /// [default: __cf_bm,_cfuvid,__cflb,AWSALB*,ARRAffinity*,GCLB,_ga,_ga_*,_gat,_gat_*,_gid,_fbp,__utm*]
    #[arg(long, value_name = "LIST")]
    pub ignored_cookies: Option<OsString>,

    /// How the log is written: `text` for people, `json` with an object a line, `combined` with requests
    /// as Apache and nginx log them [default: text]
    #[arg(long, value_name = "text|json|combined")]
    pub log_format: Option<OsString>,

    /// Where a page shows what the proxy does (and /metrics, for Prometheus), such as
    /// 127.0.0.1:8001, or 8001 alone: only this machine may reach it [default: none]
    #[arg(long, value_name = "ADDRESS")]
    pub dashboard: Option<OsString>,
}

/// Commands beside serving; those about a running proxy ask it over its control socket.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what a running proxy does: hits and misses, what was saved, how the origin is doing
    Stats {
        /// Which one, and how
        #[command(flatten)]
        proxy: ProxyArgs,

        /// Show it again every second, until it is interrupted
        #[arg(long)]
        watch: bool,
    },
    /// Say what the proxy would do with a request now, and why; the origin is not asked
    Why(WhyArgs),
    /// List what is stored
    Ls(LsArgs),
    /// Show what is stored for a path, and how it was understood
    Show(ShowArgs),
    /// Take answers out of the cache of a running proxy: by path, by pattern, by tag
    Purge(PurgeArgs),
    /// Fill the cache: fetch a list of paths, or what a sitemap names, through the running proxy
    Warm(WarmArgs),
    /// Have a running proxy read its configuration again
    Reload(ProxyArgs),
    /// Say whether the configuration is right, what it comes to and where each setting is from; start nothing
    CheckConfig {
        /// As a start would be given them.
        #[command(flatten)]
        settings: Box<SettingsArgs>,

        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

/// What is purged, and how.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true))]
pub struct PurgeArgs {
    /// Path with its query as clients ask for it, or a whole URL, whose host does not count; `*`
    /// stands for anything: '/products/*'
    #[arg(value_name = "PATH", group = "what")]
    pub paths: Vec<String>,

    /// Answers whose Surrogate-Key or Cache-Tag holds this; may be given several times
    #[arg(long, value_name = "NAME", group = "what")]
    pub tag: Vec<String>,

    /// Take a `*` in a path for itself
    #[arg(long)]
    pub exact: bool,

    /// Make stale instead of removing: validated before the next use (or behind it, where the origin
    /// allows stale-while-revalidate), served if the origin fails
    #[arg(long)]
    pub soft: bool,

    /// Only say what would be purged
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a doc here would take the place of the command's own help"
    )]
    pub proxy: ProxyArgs,
}

/// What is listed, and how.
#[derive(Clone, Debug, Args)]
pub struct LsArgs {
    /// Path or pattern, as in '/products/*' [default: all]
    #[arg(value_name = "PATTERN")]
    pub path: Option<String>,

    /// The largest, the youngest, the most used, or what becomes stale soonest first
    #[arg(long, value_name = "BY", default_value = "path")]
    pub sort: Sort,

    /// How many are listed
    #[arg(long, value_name = "NUMBER", default_value = "50")]
    pub limit: usize,

    /// How many are left out before
    #[arg(long, value_name = "NUMBER", default_value = "0")]
    pub offset: usize,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a doc here would take the place of the command's own help"
    )]
    pub proxy: ProxyArgs,
}

/// What is shown.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// Path with its query as clients ask for it, or a whole URL
    #[arg(value_name = "PATH")]
    pub path: String,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a doc here would take the place of the command's own help"
    )]
    pub proxy: ProxyArgs,
}

/// The request that is explained.
#[derive(Clone, Debug, Args)]
pub struct WhyArgs {
    /// Path with its query, or a whole URL
    #[arg(value_name = "PATH")]
    pub path: String,

    /// A header of the request; may be given several times
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,

    /// Its method
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "GET")]
    pub method: String,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a doc here would take the place of the command's own help"
    )]
    pub proxy: ProxyArgs,
}

/// What a list is ordered by.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Sort {
    /// By path
    Path,
    /// The largest first
    Size,
    /// The youngest first
    Age,
    /// The most used first
    Hits,
    /// What becomes stale soonest first
    Fresh,
}

/// What `warm` is told.
#[derive(Debug, Args)]
pub struct WarmArgs {
    /// A file with a path or URL on each line, `-` for stdin, or a sitemap: its URL, or its path on the proxy
    pub source: String,

    /// Requests under way at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,

    /// A field to send with every request: what varies by Accept-Encoding, Cookie, ... is then stored for clients
    /// that send the same (may be repeated)
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub fields: Vec<String>,

    /// Another name of the origin, for URLs of a public site whose origin has a name of its own (may be repeated)
    #[arg(long = "site", value_name = "HOST[:PORT]")]
    pub sites: Vec<String>,

    /// Longest time for one request, from connecting to the last byte
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = humantime::parse_duration)]
    pub timeout: Duration,

    /// A file to note in what could not be stored, so that the same call after an interruption does not fetch it
    /// again; removed when all is done
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,

    /// Which proxy, and how to answer.
    #[command(flatten)]
    pub proxy: ProxyArgs,
}

/// Which running proxy a command is about, and how it is to answer.
#[derive(Clone, Copy, Debug, Args)]
pub struct ProxyArgs {
    /// Port of the proxy to ask; needed only where several run
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,

    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

impl SettingsArgs {
    /// Those that were given, by name.
    pub fn flags(self) -> Flags {
        [
            ("port", self.port),
            ("origin", self.origin),
            ("config", self.config),
            ("bind", self.bind),
            ("policy", self.policy),
            ("ttl", self.ttl),
            ("timeout", self.timeout),
            ("max-memory", self.max_memory),
            ("max-object", self.max_object),
            ("max-stale", self.max_stale),
            ("origin-ca", self.origin_ca),
            ("workers", self.workers),
            ("preserve-host", self.preserve_host),
            ("identity-headers", self.identity_headers),
            ("identity-cookies", self.identity_cookies),
            ("ignored-cookies", self.ignored_cookies),
            ("log-format", self.log_format),
            ("dashboard", self.dashboard),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_carry_only_what_was_given() {
        let cli =
            Cli::try_parse_from(["caching-proxy", "--port", "9000", "--preserve-host"]).unwrap();
        let flags = cli.settings.flags();
        assert_eq!(flags.len(), 2);
        assert_eq!(flags["port"], "9000");
        assert_eq!(flags["preserve-host"], "true");
    }

    #[test]
    fn every_flag_but_clear_cache_reaches_the_configuration() {
        let names: Vec<String> = Cli::command()
            .get_arguments()
            .filter_map(|argument| argument.get_long().map(str::to_owned))
            .filter(|name| name != "clear-cache" && name != "help" && name != "version")
            .collect();
        let mut line = vec!["caching-proxy".to_owned()];
        line.extend(names.iter().map(|name| format!("--{name}=x")));
        let flags = Cli::try_parse_from(line).unwrap().settings.flags();
        for name in &names {
            assert!(flags.contains_key(name.as_str()), "--{name} is lost");
        }
    }

    #[test]
    fn help_shows_the_first_call_as_the_first_example() {
        let help = Cli::command().render_long_help().to_string();
        let examples = help.split("Examples:\n").nth(1).unwrap();
        assert_eq!(
            examples.lines().next().unwrap().trim(),
            "caching-proxy --port 8000 --origin https://dummyjson.com"
        );
    }

    #[test]
    fn help_does_not_promise_a_variable_for_the_command() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("Each option but --clear-cache, which is a command, is also"));
    }

    #[test]
    fn a_command_line_that_is_wrong_exits_with_2() {
        for line in [
            &["--prot", "1"][..],
            &["stray"],
            &["--port"],
            &["--port", "1", "--port", "2"],
        ] {
            let error = Cli::try_parse_from(["caching-proxy"].iter().chain(line)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line:?}");
        }
    }
}
