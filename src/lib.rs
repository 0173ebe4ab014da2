//! caching-proxy, an HTTP caching reverse proxy: "Don't forward the same GET request twice."
//!
//! # The map
//!
//! | room | what lives there |
//! |---|---|
//! | [`cli`] | the flags, as clap types |
//! | [`config`] | flags, environment and `proxy.toml` become one validated [`config::Config`] |
//! | [`server`] | the listening side: actor, workers, limits of a client's connection, stopping |
//! | [`proxy`] | what one request passes through, from the handler to the log line |
//! | [`clock`] | the one place that reads the clock |
//! | [`policy`] | what HTTP allows a cache: RFC 9111, one file a section; pure functions |
//! | [`cache`] | the [`cache::CacheActor`]: what is stored, and one fetch for many askers |
//! | [`origin`] | all that is spoken to the origin: awc over connections of our own |
//! | [`observe`] | what all of this does, counted: outcomes and reasons, what was saved, how the origin does |
//! | [`dashboard`] | a page that shows it, and figures for Prometheus, on an address of its own |
//! | [`headers`] | the fields a proxy takes away and those it writes; pure functions |
//! | [`explain`] | what is stored, and what would become of a request, in words |
//! | [`guide`] | the guides: Markdown for the terminal and for this documentation |
//! | [`mask`] | what of a target may be shown |
//! | [`error`] | what can go wrong with a request, and the status it becomes |
//! | [`reload`] | the configuration in force, and reading it again while the proxy runs |
//! | [`control`] | how commands reach running proxies: a Unix socket |
//!
//! The program around this library is `main.rs`: it parses, runs the server or one command (`commands/`, one file each),
//! and writes the log (`logging/`). Nothing else prints.
//! Which room may use which is checked by `tests/it/tidy.rs`.
//!
//! # The way of a request
//!
//! 1. [`server`]: actix-web's default service calls [`proxy::handle`].
//! 2. The handler reads the clock and looks at what its worker remembers of the cache ([`cache::WorkerCache`]). A plain hit is
//!    answered from there; else the [`cache::Key`] is made from the request as it is forwarded.
//! 3. What is not remembered is asked of the actor ([`cache::Get`]), which answers with the stored variants: shared, not
//!    copied. For what would lead a fetch the claim (5) asks as well.
//! 4. [`policy::decide`] says what becomes of the request: serve, revalidate, fetch.
//! 5. Unless it serves, the handler sends [`cache::Claim`]. Who gets a [`cache::Ticket`] leads and asks the
//!    [`origin`], and is told of interim responses; the others follow a [`cache::SharedFetch`] and read along. When the head
//!    has come, each follower decides for its own request; whom the answer would not serve looks or fetches again.
//! 6. [`policy::admit`] or [`policy::revalidated`] judges the answer, [`cache::Put`] stores it, [`headers`] writes Age,
//!    X-Cache, Cache-Status and Via, and the answer leaves.
//!
//! # What always holds
//!
//! - Handlers share no locks: they ask the actor, and hold what they got as an immutable `Arc`. A request goes
//!   by one configuration from its beginning to its end.
//! - A body that did not arrive whole is never stored, and its client's connection is cut.
//! - The last byte of an answer leaves only after its `Put` was answered.
//! - After a [`cache::Clear`] was answered, nothing fetched before it is served to a later request: the actor forgets
//!   entries and tickets in one message, and counts a change, by which every worker knows that what it remembers is void.
//! - A purge holds the same way for what it names: fetches that began before it store nothing and are not joined.
//! - Memory is counted with overhead while anything holds it, so the budget also sees fetches and slow readers.
//! - A cache that does not answer is a MISS, never a failure.
//! - Key, identity and Vary are made from the request as it is forwarded: what is not in the key does not shape a stored
//!   answer, and nobody sees an answer made for somebody else's credentials.
//! - Every wait has a limit, and time is a value passed in.

pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod dashboard;
pub mod error;
pub mod explain;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod guide;
pub mod headers;
pub mod mask;
pub mod observe;
pub mod origin;
pub mod policy;
pub mod proxy;
pub mod reload;
pub mod server;
