//! The guides: Markdown files that `caching-proxy guide` prints and that are modules here, for `cargo doc`.

/// One guide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guide {
    /// Its topic, as it is typed behind `caching-proxy guide`.
    pub topic: &'static str,
    /// What it is about, in one line.
    pub summary: &'static str,
    /// Its text in Markdown.
    pub text: &'static str,
}

macro_rules! guides {
    ($($topic:ident: $summary:literal,)*) => {
        /// All guides, in the order in which they are listed.
        pub const GUIDES: &[Guide] = &[$(Guide {
            topic: stringify!($topic),
            summary: $summary,
            text: include_str!(concat!(stringify!($topic), ".md")),
        }),*];

        $(
            #[doc = $summary]
            ///
            // The first definition of a link counts: here they lead to the modules, in the files to the files.
            /// [policies]: crate::guide::policies
            /// [configuration]: crate::guide::configuration
            /// [applications]: crate::guide::applications
            /// [commands]: crate::guide::commands
            /// [offline]: crate::guide::offline
            /// [http]: crate::guide::http
            /// [store]: crate::guide::store
            /// [sharing]: crate::guide::sharing
            /// [tls]: crate::guide::tls
            /// [service]: crate::guide::service
            /// [troubleshooting]: crate::guide::troubleshooting
            /// [internals]: crate::guide::internals
            #[doc = ""]
            #[doc = include_str!(concat!(stringify!($topic), ".md"))]
            pub mod $topic {}
        )*
    };
}

guides! {
    policies: "What is cached, for how long, and for whom",
    configuration: "Flags, environment variables, proxy.toml and rules",
    applications: "Your application behind caching-proxy: Vite, Django, Rails, GraphQL, pip, npm, nginx, ...",
    commands: "Every command: stats, why, ls, show, purge, warm, reload, ...",
    offline: "Record an API once, test against it for ever, in CI too",
    http: "What the proxy does with HTTP, point by point",
    store: "The cache on disk: restarts, space, what the files are, failures",
    sharing: "Several proxies, one cache: Redis, clears that hold everywhere",
    tls: "HTTPS for your clients: certificates, development, renewals, the internet",
    service: "Running it as a service: systemd, Docker, logs, signals, exit codes",
    troubleshooting: "Questions people have: always a MISS, old data, 502, cookies, ...",
    internals: "How the proxy is built, and what always holds",
}

impl Guide {
    /// The guide for a topic; `None` if there is none.
    pub fn find(topic: &str) -> Option<&'static Self> {
        GUIDES.iter().find(|guide| guide.topic == topic)
    }

    /// The text as it is shown on a terminal: without the definitions of links at its end.
    pub fn plain(&self) -> String {
        let is_definition = |line: &str| line.starts_with('[') && line.contains("]: ");
        let mut text = String::with_capacity(self.text.len());
        for line in self.text.lines().filter(|line| !is_definition(line)) {
            text.push_str(line);
            text.push('\n');
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }
}
