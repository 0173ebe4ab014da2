//! The command line: options and commands. Values of settings stay text here; [`crate::config`] parses them.

mod deployment_args;
mod entry_args;
mod examples;
mod limit_args;
mod negative_values;
mod offline_args;
mod running_args;
mod sharing_args;
mod store_args;
mod tls_args;
mod warm_args;

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use self::examples::{LONG_EXAMPLES, SHORT_EXAMPLES};
pub use self::{
    deployment_args::DeploymentArgs,
    entry_args::{LsArgs, PurgeArgs, ShowArgs, Sort},
    limit_args::LimitArgs,
    offline_args::{ExportArgs, ImportArgs, OfflineArgs, OfflineSettingsArgs, Switch},
    running_args::RunningArgs,
    sharing_args::SharedTierArgs,
    store_args::StoreArgs,
    tls_args::TlsArgs,
    warm_args::WarmArgs,
};
use crate::config::Flags;

const USAGE: &str = "\
caching-proxy --origin URL [OPTIONS]
       caching-proxy --clear-cache [--port PORT]
       caching-proxy COMMAND [OPTIONS]";

/// A caching HTTP reverse proxy: forwards requests to one or more origins and caches their responses
///
/// It stores responses in memory and serves repeated requests from there, so that the same GET request is not
/// forwarded twice.
#[derive(Debug, Parser)]
#[command(
    name = "caching-proxy",
    version,
    override_usage = USAGE,
    after_help = SHORT_EXAMPLES,
    after_long_help = LONG_EXAMPLES,
    args_conflicts_with_subcommands = true,
    subcommand_value_name = "COMMAND"
)]
pub struct Cli {
    /// The command to run instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The settings of the proxy.
    #[command(flatten)]
    pub settings: SettingsArgs,

    /// What to do with running proxies.
    #[command(flatten)]
    pub running: RunningArgs,
}

const BASICS: &str = "Basics";
const CACHING: &str = "Caching";
const USERS: &str = "Users and cookies";
const ORIGIN: &str = "Origin";
const LIMITS: &str = "Limits";
const LOGGING: &str = "Logging and dashboard";

/// The settings, as options.
///
/// `-h` shows only the options that most people need; the others have `hide_short_help`.
#[derive(Debug, Args)]
pub struct SettingsArgs {
    /// Port to listen on; 0 for any free one [default: 8000]
    #[arg(
        short,
        long,
        help_heading = BASICS,
        display_order = 1,
        value_name = "PORT"
    )]
    pub port: Option<OsString>,

    /// Server to forward requests to: an http or https URL, or unix:/path.sock; required to serve
    #[arg(short, long, help_heading = BASICS, display_order = 2, value_name = "URL")]
    pub origin: Option<OsString>,

    /// Another server for some paths: a pattern, `=` and a URL, such as '/api/*=http://localhost:3001'; may be repeated
    ///
    /// The first route that matches applies. Requests that no route matches go to --origin. Routes with settings of their own
    /// are in the configuration file.
    #[arg(long, help_heading = BASICS, hide_short_help = true, value_name = "PATTERN=URL")]
    pub route: Vec<OsString>,

    /// IP address to listen on, or localhost for 127.0.0.1 and ::1; 0.0.0.0 accepts requests from other machines [default: 127.0.0.1]
    #[arg(long, help_heading = BASICS, hide_short_help = true, value_name = "ADDRESS")]
    pub bind: Option<OsString>,

    /// Configuration file [default: config/proxy.toml, if it exists]
    #[arg(short, long, help_heading = BASICS, hide_short_help = true, value_name = "FILE")]
    pub config: Option<OsString>,

    /// How closely to follow the origin's caching headers [default: standard]
    ///
    /// `standard` follows them; responses without any are cached until cleared (see --ttl).
    /// `strict` follows RFC 9111 to the letter.
    /// `always` ignores them: it caches successful responses, redirects, 404 and 410.
    #[arg(
        long,
        help_heading = CACHING,
        verbatim_doc_comment,
        value_name = "standard|strict|always"
    )]
    pub policy: Option<OsString>,

    /// How long to cache responses without caching headers, such as 10m [default: none, until cleared]
    ///
    /// With `--policy always`: how long to cache every response.
    /// A number with its unit (ms, s, m, h, d), or `none`.
    #[arg(long, help_heading = CACHING, value_name = "DURATION")]
    pub ttl: Option<OsString>,

    /// How long after expiry a response may still be served if the origin fails, such as 1h [default: 24h]
    #[arg(long, help_heading = CACHING, hide_short_help = true, value_name = "DURATION")]
    pub max_stale: Option<OsString>,

    /// Request headers that identify a user, besides Authorization and Cookie [default: *api-key*,*apikey*,*accesskey*,*-key,!*idempotency-key,!sec-websocket-key,*token*,auth*,*-auth*,*session*,*secret*,*password*,*jwt*,remote-user,x-remote-*,x-webauth-*,x-user*,x-tenant*,x-account*,x-org*,x-hasura-*,x-amzn-oidc-*,x-goog-authenticated-user-*,x-ms-client-principal*,cf-access-*,*client-cert*,*ssl-client-*,impersonate-*,sudo]
    ///
    /// A comma-separated list; `*` matches any characters, `!` begins an exception. The list replaces the default.
    #[arg(long, help_heading = USERS, hide_short_help = true, value_name = "LIST")]
    pub identity_headers: Option<OsString>,

    /// The only cookies that identify a user; all others are treated like --ignored-cookies [default: *]
    ///
    /// A comma-separated list; `*` matches any characters, `!` begins an exception: `*,!lang` names all but `lang`.
    /// An empty list means that no cookie identifies a user.
    #[arg(long, help_heading = USERS, hide_short_help = true, value_name = "LIST")]
    pub identity_cookies: Option<OsString>,

    /// Cookies that do not identify a user, such as those of analytics [default: __cf_bm,_cfuvid,__cflb,AWSALB*,ARRAffinity*,GCLB,_ga,_ga_*,_gat,_gat_*,_gid,_fbp,__utm*]
    ///
    /// A comma-separated list; `*` matches any characters. The list replaces the default.
    #[arg(long, help_heading = USERS, hide_short_help = true, value_name = "LIST")]
    pub ignored_cookies: Option<OsString>,

    /// Timeout waiting for the origin: to connect, for the first byte, and between two parts of a body [default: 30s]
    #[arg(long, help_heading = ORIGIN, hide_short_help = true, value_name = "DURATION")]
    pub timeout: Option<OsString>,

    /// Timeout waiting for the first byte of a response, for slow reports and language models [default: auto, that of --timeout]
    #[arg(long, help_heading = ORIGIN, hide_short_help = true, value_name = "DURATION")]
    pub first_byte_timeout: Option<OsString>,

    /// Timeout waiting for a client: between two parts of its body, and between two parts of the response that it takes [default: 30s]
    #[arg(long, help_heading = LIMITS, hide_short_help = true, value_name = "DURATION")]
    pub client_timeout: Option<OsString>,

    /// How long a request waits for the headers of an equal request's fetch before it goes to the origin itself [default: 5s]
    #[arg(long, help_heading = ORIGIN, hide_short_help = true, value_name = "DURATION")]
    pub coalesce_wait: Option<OsString>,

    /// PEM file with certificates to trust in addition to the system's, such as a self-signed one of the origin [default: none]
    #[arg(long, help_heading = ORIGIN, hide_short_help = true, value_name = "FILE")]
    pub origin_ca: Option<OsString>,

    /// Accept any certificate of an https origin, whoever signed it and for whatever name [default: false]
    #[arg(long, help_heading = ORIGIN, hide_short_help = true, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub insecure: Option<OsString>,

    /// Reach the origin through this HTTP proxy; `none` for no proxy [default: as HTTP_PROXY, HTTPS_PROXY and NO_PROXY say]
    #[arg(long, help_heading = ORIGIN, hide_short_help = true, value_name = "URL|none")]
    pub proxy: Option<OsString>,

    /// Most requests to an origin, such as 10/s, 100/m or 1000/h, with a burst 10/s,20 [default: none]
    ///
    /// Requests above it get a stale response where that is allowed, or wait for up to 5 seconds, or get 503.
    #[arg(long, help_heading = ORIGIN, hide_short_help = true, value_name = "RATE")]
    pub max_rate: Option<OsString>,

    /// Forward the client's Host header instead of the origin's host name [default: false]
    #[arg(long, help_heading = ORIGIN, hide_short_help = true, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub preserve_host: Option<OsString>,

    /// Leave the origin's addresses in responses, and the proxy's in requests [default: false]
    ///
    /// Without it, redirects to the origin lead to the proxy, and its cookies become those of the proxy.
    #[arg(long, help_heading = ORIGIN, hide_short_help = true, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub no_rewrite: Option<OsString>,

    /// Let pages of all sites read responses: answer CORS preflights, and add CORS headers [default: false]
    ///
    /// Any site that is open in a browser that reaches the proxy can then read what it serves.
    #[arg(long, help_heading = ORIGIN, hide_short_help = true, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub cors: Option<OsString>,

    /// Request headers that are not forwarded, besides X-Forwarded-* and others that only a proxy may set [default: none]
    ///
    /// A comma-separated list; `*` matches any characters. Name headers that change a response and are not part of the key.
    #[arg(long, help_heading = ORIGIN, hide_short_help = true, value_name = "LIST")]
    pub drop_headers: Option<OsString>,

    /// Serve a dashboard on this loopback address or port, such as 8001 [default: none]
    ///
    /// The proxy prints the link to open when it starts. /metrics has metrics for Prometheus.
    #[arg(long, help_heading = LOGGING, value_name = "ADDRESS")]
    pub dashboard: Option<OsString>,

    /// Query parameters whose values are shown as `***` in logs and lists [default: *token*,*secret*,*passw*,*passphrase*,*signature*,*credential*,*apikey*,*accesskey*,*privatekey*,key,*-key,sig,*-sig,code,*-code,jwt,*-jwt,pwd,*-pwd,pass,*-pass,auth,*-auth,authorization,*session*,sid,*-sid,otp,pin,ticket,assertion,samlresponse]
    ///
    /// A comma-separated list of names; `*` matches any characters, `!` begins an exception. The list replaces the default.
    #[arg(long, help_heading = LOGGING, hide_short_help = true, value_name = "LIST")]
    pub masked_parameters: Option<OsString>,

    /// Log format: `text`, `json` (an object per line), or `combined` (requests as Apache and nginx log them) [default: text]
    #[arg(long, help_heading = LOGGING, hide_short_help = true, value_name = "text|json|combined")]
    pub log_format: Option<OsString>,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a doc comment here would replace the help of the command"
    )]
    pub deployment: DeploymentArgs,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a doc comment here would replace the help of the command"
    )]
    pub limits: LimitArgs,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a doc comment here would replace the help of the command"
    )]
    pub offline: OfflineSettingsArgs,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a doc comment here would replace the help of the command"
    )]
    pub store: StoreArgs,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a doc comment here would replace the help of the command"
    )]
    pub shared_tier: SharedTierArgs,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a doc comment here would replace the help of the command"
    )]
    pub tls: TlsArgs,
}

/// Commands. Those about a running proxy talk to it over its control socket.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show statistics of a running proxy: hits, misses, time saved, latency of the origin
    Stats {
        /// The proxy and the output format.
        #[command(flatten)]
        proxy: ProxyArgs,

        /// Update every second until interrupted
        #[arg(long)]
        watch: bool,
    },
    /// Explain whether a request would be a hit or a miss, and why; sends nothing to the origin
    Why(WhyArgs),
    /// List cached responses
    Ls(LsArgs),
    /// Show the cached responses of one path: headers, lifetime, who may receive them
    Show(ShowArgs),
    /// Remove responses from the cache by path, pattern or tag
    Purge(PurgeArgs),
    /// Fill the cache by fetching a list of paths or the pages of a sitemap
    Warm(WarmArgs),
    /// Disconnect a running proxy from its origins, or connect it again
    Offline(OfflineArgs),
    /// Write cached responses to a HAR file, as browsers import it
    Export(ExportArgs),
    /// Cache the responses of a HAR file, such as an export of a browser's network panel
    Import(ImportArgs),
    /// Reload the configuration of a running proxy
    Reload(ProxyArgs),
    /// Check the configuration and print every setting with its source; starts nothing
    CheckConfig {
        /// The settings of the proxy.
        #[command(flatten)]
        settings: Box<SettingsArgs>,

        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Try the proxy: start a small slow API and the proxy in front of it
    ///
    /// The API runs in the same process and needs about 300 ms for each response. The commands to try are printed.
    /// The demo reads no configuration file and no CACHING_PROXY_... variables, so it works in any directory.
    Demo {
        /// Port to listen on [default: any free port]
        #[arg(short, long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
        port: Option<u16>,
    },
    /// Print a guide: policies, configuration, applications, commands, offline, http, store, sharing, tls, service, troubleshooting, internals
    Guide {
        /// What it is about; without a topic, the guides are listed
        topic: Option<String>,
    },
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

/// The request to explain.
#[derive(Clone, Debug, Args)]
pub struct WhyArgs {
    /// Path with its query, or a URL
    #[arg(value_name = "PATH")]
    pub path: String,

    /// A request header; may be repeated
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,

    /// Request method
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "GET")]
    pub method: String,

    /// Address that sends the request, for --trusted-proxies [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<std::net::IpAddr>,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a doc comment here would replace the help of the command"
    )]
    pub proxy: ProxyArgs,
}

/// The running proxy that a command talks to, and the output format.
#[derive(Clone, Copy, Debug, Args)]
pub struct ProxyArgs {
    /// Port of the running proxy; required only if several run
    #[arg(short, long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl SettingsArgs {
    /// The options that were given, by name.
    pub fn flags(self) -> Flags {
        [
            ("port", self.port),
            ("origin", self.origin),
            ("config", self.config),
            ("bind", self.bind),
            ("policy", self.policy),
            ("ttl", self.ttl),
            ("timeout", self.timeout),
            ("first-byte-timeout", self.first_byte_timeout),
            ("client-timeout", self.client_timeout),
            ("coalesce-wait", self.coalesce_wait),
            ("max-stale", self.max_stale),
            ("max-rate", self.max_rate),
            ("origin-ca", self.origin_ca),
            ("insecure", self.insecure),
            ("proxy", self.proxy),
            ("preserve-host", self.preserve_host),
            ("no-rewrite", self.no_rewrite),
            ("cors", self.cors),
            ("identity-headers", self.identity_headers),
            ("identity-cookies", self.identity_cookies),
            ("ignored-cookies", self.ignored_cookies),
            ("drop-headers", self.drop_headers),
            ("masked-parameters", self.masked_parameters),
            ("log-format", self.log_format),
            ("dashboard", self.dashboard),
            ("route", one_on_a_line(self.route)),
        ]
        .into_iter()
        .chain(self.deployment.options())
        .chain(self.limits.options())
        .chain(self.store.options())
        .chain(self.shared_tier.options())
        .chain(self.tls.options())
        .chain(self.offline.options())
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

/// The values of an option that may be repeated, as one; `None` if it was not given.
fn one_on_a_line(values: Vec<OsString>) -> Option<OsString> {
    values.into_iter().reduce(|mut lines, value| {
        lines.push("\n");
        lines.push(value);
        lines
    })
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
    fn every_setting_reaches_the_configuration() {
        let names: Vec<String> = Cli::command()
            .get_arguments()
            .filter_map(|argument| argument.get_long().map(str::to_owned))
            .filter(|name| {
                !["clear-cache", "take-over", "wait", "help", "version"].contains(&name.as_str())
            })
            .collect();
        let mut line = vec!["caching-proxy".to_owned()];
        line.extend(names.iter().map(|name| format!("--{name}=x")));
        let flags = Cli::try_parse_from(line).unwrap().settings.flags();
        for name in &names {
            assert!(flags.contains_key(name.as_str()), "--{name} is lost");
        }
    }

    #[test]
    fn options_have_the_same_headings_in_help_and_file() {
        let file = include_str!("../config/proxy.toml")
            .split("# ---- Routes")
            .next();
        let mut heading = "";
        let mut in_file = Vec::new();
        for line in file.unwrap().lines() {
            if let Some(text) = line.strip_prefix("# ---- ") {
                heading = text;
            } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") {
                in_file.push((key.replace('_', "-"), heading.to_owned()));
            }
        }
        assert!(in_file.len() > 20);
        let command = Cli::command();
        for (name, heading) in in_file {
            let mut arguments = command.get_arguments();
            let option = arguments.find(|option| option.get_long() == Some(&name));
            assert_eq!(
                option.unwrap().get_help_heading(),
                Some(&*heading),
                "{name}"
            );
        }
    }

    #[test]
    fn help_begins_its_examples_with_the_first_call() {
        let help = Cli::command().render_long_help().to_string();
        let examples = help.split("Examples:\n").nth(1).unwrap();
        assert_eq!(
            examples.lines().next().unwrap().trim(),
            "caching-proxy --port 8000 --origin https://dummyjson.com"
        );
    }

    #[test]
    fn short_help_shows_only_the_options_that_most_people_need() {
        const OF_CLAP: [&str; 2] = ["help", "version"];
        let help = Cli::command().render_help().to_string();
        let options = help.lines().filter_map(|line| {
            let line = line.trim();
            let long = line.get(4..).filter(|_| line.get(2..4) == Some(", "));
            long.unwrap_or(line).strip_prefix("--")
        });
        let names = options.filter_map(|line| line.split(' ').next());
        let names: Vec<&str> = names.filter(|name| !OF_CLAP.contains(name)).collect();
        assert_eq!(
            names,
            [
                "port",
                "origin",
                "clear-cache",
                "policy",
                "ttl",
                "dashboard",
                "store"
            ]
        );
    }

    #[test]
    fn help_promises_no_variable_for_clear_cache() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("Each option except --clear-cache, --wait and --take-over can"));
    }

    #[test]
    fn an_invalid_command_line_exits_with_2() {
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
