//! caching-proxy: an HTTP caching reverse proxy. "Don't forward the same GET request twice."
//!
//! # Rooms
//!
//! A request passes through these, in this order:
//!
//! | room | what it holds |
//! |---|---|
//! | [`server`] | the listening side: workers, limits of a client's connection, shutdown |
//! | [`proxy`] | the steps of a request; `proxy/handler.rs` reads like the list below |
//! | [`tls`] | certificates towards clients, and TLS with them |
//! | [`headers`] | headers that a proxy removes, adds or replaces |
//! | [`policy`] | what HTTP allows a cache (RFC 9110, 9111, 9213, 5861): pure functions, no clock, no IO |
//! | [`cache`] | the [`cache::CacheActor`]: what is stored, and one fetch for many requests |
//! | [`disk`] | what is stored on disk: records in files, found again after a restart |
//! | [`redis`] | what is stored in Redis or Valkey, for several instances |
//! | [`origin`] | requests to the origin: awc over connections of our own |
//! | [`error`] | why a request fails, and the status of its response |
//! | [`observe`] | counters: outcomes, reasons, latency of the origin |
//!
//! These set it up and steer it:
//!
//! | room | what it holds |
//! |---|---|
//! | [`cli`] | the command line, as clap types |
//! | [`config`] | flags, environment and `proxy.toml`, validated into one [`config::Config`] |
//! | [`reload`] | the configuration in force, and reading it again at run time |
//! | [`control`] | the Unix socket by which commands reach running proxies |
//! | [`dashboard`] | the page that shows the proxy at work, and metrics for Prometheus |
//! | [`admin`] | list, purge, clear, show, why, stats: the actions that `control` and `dashboard` carry |
//! | [`explain`] | the texts of `why` and `show` |
//! | [`har`] | HAR files: what is stored, as browsers export and import it |
//! | [`mask`] | which parts of a target may be shown |
//! | [`clock`] | the one place that reads the clock |
//! | [`guide`] | the guides for users |
//!
//! The program around this library is `main.rs`, the files that it names, and `commands/`, one file for each command.
//! The library prints nothing. `tests/it/tidy` checks which room may use which.
//!
//! # The steps of a request
//!
//! 1. actix-web's default service calls [`proxy::handle`], which reads the clock and takes the configuration in force.
//! 2. A plain hit is served from the index of the cache ([`cache::WorkerCache`]). For any other request the handler makes the
//!    request as it is forwarded, and from that the [`cache::Key`]. A WebSocket handshake leaves here: it is forwarded, and
//!    its connection becomes a tunnel (`proxy/tunnel`).
//! 3. It looks the key up in the index. A GET that is not there and may lead a fetch goes straight to step 5, for
//!    the claim looks it up as well. Any other retrieval sends [`cache::Get`].
//! 4. [`policy::decide`] decides: serve, revalidate, fetch, or pass through.
//! 5. To fetch, it sends [`cache::Claim`]. One request gets the [`cache::FetchTicket`] and leads. The others follow, and read
//!    the body while it arrives. For a key whose responses are not stored, the worker knows the result of the claim for a
//!    second ([`cache::KnownMisses`]).
//! 6. The leader asks the disk first, if there is a store on disk, and then what several instances share: what they have is put
//!    into memory, and the request looks up again. Else it fetches from the [`origin`]. [`policy::admit`] or
//!    [`policy::revalidated`] judges the response, and [`cache::Put`] stores it.
//! 7. The response, which has its Age, gets X-Cache, Cache-Status and Via, and is sent.
//!
//! # Three decisions
//!
//! - **actix-web** serves: its default service gets every request. `server/accept` accepts the connections in the threads
//!   of the workers, and `server/http1` and `server/http2` read and write them, in the place of actix-server and of
//!   actix-http's dispatchers.
//! - **awc** carries every request to the origin: its client, its request builder, its middleware. Its HTTP/1 transport
//!   is replaced by ours through the hook that awc has for that. See [`origin`] for the reasons.
//! - **The actor** owns every change of the cache. It alone writes the index of what is stored; workers read it without a
//!   lock, so a hit needs no message. [`cache`] says why a Clear holds all the same. Workers can be told to send
//!   [`cache::Get`] instead; the tests run both ways.
//!
//! # What always holds
//!
//! - Handlers share no locks. They ask the actor, and hold what they got as an immutable `Arc`. A request goes by one
//!   configuration from its beginning to its end.
//! - A body that did not arrive whole is never stored, and its client's connection is cut.
//! - The last byte of a response leaves only after its `Put` was answered.
//! - After a [`cache::Clear`] was answered, no response that was fetched before it is served to a later request. A purge
//!   holds in the same way for what it names.
//! - Memory is counted with its overhead as long as anything holds it, so the budget includes fetches under way and slow
//!   readers.
//! - A cache that does not answer is a miss, never a failure; so is a disk that fails. Nothing of the disk is read or written
//!   in the thread of a worker.
//! - Key, identity and Vary are made from the request as it is forwarded. What is not in the key does not shape a stored
//!   response, and nobody gets a response made for somebody else's credentials.
//! - Every wait has a limit, and time is a value passed in.
//!
//! # Where later work goes
//!
//! Another version of HTTP towards clients: in [`server`], before the same default service.

pub mod admin;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod dashboard;
pub mod disk;
pub mod error;
pub mod explain;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod guide;
pub mod har;
pub mod headers;
pub mod mask;
pub mod observe;
pub mod origin;
pub mod policy;
pub mod proxy;
pub mod redis;
mod regular_file;
pub mod reload;
pub mod server;
pub mod tls;
