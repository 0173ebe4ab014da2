//! The program: parse, run the server or one command, and say how it went. The only place that prints.
//!
//! stdout is for what was asked for: the two lines of a start, or that the cache is cleared. Everything else goes to
//! stderr. Neither may stop the program by being closed, so failures to write are ignored.

mod commands;
mod logging;
mod signals;

use std::{
    error::Error,
    io::{self, ErrorKind, Write},
    mem::ManuallyDrop,
    net::{SocketAddr, TcpListener},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::rt::System;
use bytesize::ByteSize;
use caching_proxy::{
    cli::Cli,
    config::{self, Config, ConfigError, Flags, LogFormat},
    control::{self, ClearReport, Control, ControlError, Instance, UnreachedInstance},
    dashboard::{Dashboard, REQUEST_TIMEOUT},
    error::Chain,
    observe::Saved,
    origin::{self, CaError, OriginUrl},
    server::Server,
};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ClientConfig;
use signals::{Asked, Signals};
use socket2::{Domain, Protocol, Socket, Type};

/// Many small pieces that live long lie between many that do not: most allocators lose a lot of memory by that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Signals that come so close together are one: many a parent signals its child and the child's group.
const SAME_SIGNAL: Duration = Duration::from_millis(500);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// RFC 6335, 6: the ports before are the system's, and on many only administrators may listen on them.
const FIRST_OPEN_PORT: u16 = 1024;
/// Ports after one in use that are tried, to propose a free one.
const PORTS_TRIED: u16 = 20;
/// Descriptors that a proxy and each of its workers hold before anybody asks anything, and some for those who do.
const FILES_BESIDE_WORKERS: u64 = 48;
const FILES_PER_WORKER: u64 = 4;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version come this way too, with code 0 and for stdout.
        Err(error) => {
            commands::tell_misuse(&error);
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match cli.command {
        Some(command) => {
            logging::start(LogFormat::Text);
            commands::run(command)
        }
        None if cli.clear_cache => {
            logging::start(LogFormat::Text);
            clear(&cli.settings.flags())
        }
        None => serve(cli.settings.flags()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say_error(&failure);
            failure.exit_code()
        }
    }
}

/// Everything that ends the program with a code other than 0.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("origin-ca")]
    OriginCa(#[from] CaError),
    #[error("{}", in_use(*.port, .holder.as_ref(), *.free))]
    PortInUse {
        port: u16,
        holder: Option<Instance>,
        free: Option<u16>,
    },
    #[error(
        "port {port} may be listened on by administrators only; another one will do, such as --port {free}"
    )]
    PortReserved { port: u16, free: u16 },
    #[error(
        "{0} is not an address of this machine; try --bind 127.0.0.1, or --bind 0.0.0.0 for all it has"
    )]
    NoSuchAddress(std::net::IpAddr),
    #[error("cannot listen on {address}")]
    Bind {
        address: SocketAddr,
        source: io::Error,
    },
    #[error(
        "the dashboard cannot listen on {address}: {cause}; try another one, such as --dashboard 127.0.0.1:8002"
    )]
    Dashboard {
        address: SocketAddr,
        cause: io::Error,
    },
    #[error(
        "no more than {limit} files may be open, and with --workers {workers} at least {least} are needed; \
         raise the limit, for example: ulimit -n 1024"
    )]
    FewFiles {
        limit: u64,
        workers: usize,
        least: u64,
    },
    #[error("the server cannot be started")]
    Start(#[source] io::Error),
    #[error("the server has ended by itself")]
    Ended(#[source] io::Error),
    #[error("--clear-cache would not reach this proxy")]
    Control(#[source] ControlError),
    #[error("stopped by a second signal, before everything was finished")]
    Impatient,
    #[error("not every cache is cleared")]
    Unreached,
    /// No one running proxy is the one that a command is about.
    #[error(transparent)]
    ChooseError(#[from] control::ChooseError),
    /// The proxy that a command is about did not answer it.
    #[error("the running proxy")]
    Unanswered(#[source] ControlError),
    /// It answered that the question is not right.
    #[error(transparent)]
    Refused(ControlError),
    #[error("the answer cannot be written")]
    Print(#[source] io::Error),
    #[error(transparent)]
    Warm(#[from] commands::WarmError),
    #[error(transparent)]
    UnknownTopic(#[from] commands::UnknownTopic),
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Refused { .. } => Self::Refused(error),
            error => Self::Unanswered(error),
        }
    }
}

impl Failure {
    /// From a server that nobody has stopped.
    fn ended(how: io::Result<()>) -> Self {
        Self::Ended(match how {
            Ok(()) => io::Error::other("nobody asked it to"),
            Err(error) => error,
        })
    }

    /// The codes are part of the contract with scripts.
    fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::FewFiles { .. }
            | Self::Start(_)
            | Self::Ended(_)
            | Self::Control(_)
            | Self::Impatient
            | Self::Print(_) => 1,
            Self::Config(_) | Self::OriginCa(_) | Self::Refused(_) | Self::UnknownTopic(_) => 2,
            Self::PortInUse { .. }
            | Self::PortReserved { .. }
            | Self::NoSuchAddress(_)
            | Self::Bind { .. }
            | Self::Dashboard { .. } => 3,
            Self::Unreached | Self::ChooseError(_) | Self::Unanswered(_) => 4,
            Self::Warm(error) => error.exit_code(),
        })
    }
}

fn in_use(port: u16, holder: Option<&Instance>, free: Option<u16>) -> String {
    let by = match holder {
        Some(Instance { origin, pid, .. }) => {
            format!("another caching-proxy for {origin} (process {pid})")
        }
        None => "another program".to_owned(),
    };
    match free {
        Some(free) => format!("port {port} is in use by {by}; {free} is free: --port {free}"),
        None => format!("port {port} is in use by {by}; choose another with --port"),
    }
}

fn serve(flags: Flags) -> Result<(), Failure> {
    let config = Arc::new(Config::load(&flags, &|variable| {
        std::env::var_os(variable)
    })?);
    logging::start(config.log_format);
    let tls = tls_for(&config)?;
    raise_file_limit();
    check_file_limit(config.workers)?;
    let listener = bind(SocketAddr::new(config.bind, config.port))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Start)?;
    // Not dropped: that would wait for threads, and one may hang in looking up a name.
    let system = ManuallyDrop::new(System::with_tokio_rt(|| runtime));
    system.block_on(run(flags, config, tls, listener))
}

/// What is trusted. Also for an http origin a wrong file is an error now, and not on the day the origin moves to https.
fn tls_for(config: &Config) -> Result<Option<Arc<ClientConfig>>, Failure> {
    Ok(match (config.origin.is_tls(), &config.origin_ca) {
        (false, None) => None,
        (_, ca) => Some(origin::tls_config(ca.as_deref())?),
    })
}

/// An origin that is not there yet keeps nobody from starting; it may be started next.
async fn warn_unless_reached(url: OriginUrl, tls: Option<Arc<ClientConfig>>) {
    if let Err(error) = origin::reach(url, tls).await {
        log::warn!(
            "the origin is not there yet: {error}; what is not stored is answered with 502 or 504 until it is"
        );
    }
}

/// Where there is simply no place for a control socket, in a read-only container for instance, the proxy still serves.
fn reachable(control: Result<Control, ControlError>) -> Result<Option<Control>, Failure> {
    match control {
        Ok(control) => Ok(Some(control)),
        Err(error) if error.is_distrust() => Err(Failure::Control(error)),
        Err(error) => {
            let why = Chain(&error);
            say(&format!(
                "warning: --clear-cache will not reach this proxy: {why}"
            ));
            Ok(None)
        }
    }
}

async fn run(
    flags: Flags,
    config: Arc<Config>,
    tls: Option<Arc<ClientConfig>>,
    listener: TcpListener,
) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(Failure::Start)?;
    let mut server =
        Server::start(Arc::clone(&config), tls.clone(), listener).map_err(Failure::Start)?;
    // The workers start when the server first gets its turn; not before is it true that it serves.
    tokio::select! {
        biased;
        ended = server.ended() => return Err(Failure::ended(ended)),
        () = tokio::task::yield_now() => {}
    }
    let reload = server.reload(flags);
    let control = reachable(control::listen(server.shared(), reload.clone()))?;
    let dashboard = match config.dashboard {
        Some(address) => Some(
            Dashboard::start(address, server.shared(), REQUEST_TIMEOUT)
                .map_err(|cause| Failure::Dashboard { address, cause })?,
        ),
        None => None,
    };
    print(&format!(
        "Proxy starting on port {}\nOrigin: {}\n",
        config.port, config.origin
    ));
    actix_web::rt::spawn(warn_unless_reached(config.origin.clone(), tls));
    if let Some(dashboard) = &dashboard {
        say(&format!("Dashboard: {}", dashboard.link()));
    }

    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::End => break,
                // What is wrong is in the log.
                Asked::Reload => drop(reload.run().await),
            },
            ended = server.ended() => return Err(Failure::ended(ended)),
        }
    }
    log::info!("stopping when what runs is finished; a second signal stops at once");
    let shared = server.shared();
    let stopped = async {
        server.stop().await;
        // Last: as long as anything is served from the cache, it can be cleared.
        if let Some(control) = control {
            control.stop().await;
        }
    };
    tokio::select! {
        () = stopped => {
            if let Some(sentence) = Saved::of(&shared.observer.totals()).sentence() {
                log::info!("{sentence}");
            }
            Ok(())
        }
        () = signals.end_after(Instant::now() + SAME_SIGNAL) => Err(Failure::Impatient),
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let port = address.port();
    listen(address).map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => Failure::PortInUse {
            port,
            holder: control::holder(address),
            free: free_port(address),
        },
        ErrorKind::PermissionDenied if port < FIRST_OPEN_PORT => Failure::PortReserved {
            port,
            free: port + 8000,
        },
        ErrorKind::AddrNotAvailable => Failure::NoSuchAddress(address.ip()),
        _ => Failure::Bind { address, source },
    })
}

/// Address reuse lets a restart pass connections that are still closing. Not port reuse: two proxies on one port would
/// share its requests without knowing of each other.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn free_port(address: SocketAddr) -> Option<u16> {
    (1..=PORTS_TRIED)
        .filter_map(|more| address.port().checked_add(more))
        .find(|port| listen(SocketAddr::new(address.ip(), *port)).is_ok())
}

/// Each request takes up to two descriptors; many systems start programs with 1024, and let them ask for more.
fn raise_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        )
    {
        log::debug!("the limit of open files stays at {current:?}: {error}");
    }
}

/// The libraries panic when they get no descriptor for a thread of theirs; better said before.
fn check_file_limit(workers: usize) -> Result<(), Failure> {
    let least = FILES_BESIDE_WORKERS + FILES_PER_WORKER * workers as u64;
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < least => Err(Failure::FewFiles {
            limit,
            workers,
            least,
        }),
        _ => Ok(()),
    }
}

/// Neither the file nor the environment is looked at: a mistake there must not keep anybody from clearing.
fn clear(flags: &Flags) -> Result<(), Failure> {
    let port = config::port_flag(flags)?;
    let report = control::clear(port);
    if !report.cleared.is_empty() {
        say(&totals(&report));
    }
    for UnreachedInstance {
        port,
        instance,
        error,
    } in &report.failed
    {
        let whom = match instance {
            Some(Instance { origin, pid, .. }) => format!(" for {origin} (process {pid})"),
            None => String::new(),
        };
        let why = Chain(error);
        say(&format!(
            "error: the caching-proxy on port {port}{whom} could not be cleared: {why}"
        ));
    }
    for error in &report.refused {
        say_error(error);
    }
    if !report.failed.is_empty() || !report.refused.is_empty() {
        return Err(Failure::Unreached);
    }
    if report.cleared.is_empty() {
        let there = port.map_or_else(String::new, |port| format!(" on port {port}"));
        say(&format!("no running caching-proxy found{there}"));
    }
    print("Cache cleared\n");
    Ok(())
}

fn totals(ClearReport { cleared, .. }: &ClearReport) -> String {
    let entries = cleared.iter().map(|instance| instance.entries).sum();
    let bytes = ByteSize(cleared.iter().map(|instance| instance.bytes).sum());
    let entries = counted(entries, "entry", "entries");
    let instances = counted(cleared.len() as u64, "instance", "instances");
    format!("{entries}, {bytes}, {instances}")
}

fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn say_error(error: &dyn Error) {
    say(&format!("error: {}", Chain(error)));
}
