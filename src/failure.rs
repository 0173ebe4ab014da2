//! Everything that ends the program with an error, and its exit code.

use std::{io, net::SocketAddr, process::ExitCode};

use caching_proxy::{
    config::ConfigError,
    control::{self, ControlError, Instance},
    disk::OpenError,
    origin::CaError,
    server::{StartError, TierError},
    tls::TlsError,
};

use crate::commands;

/// Everything that ends the program with an exit code other than 0.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("--origin-ca")]
    OriginCa(#[from] CaError),
    #[error("the certificate for HTTPS cannot be used")]
    Certificate(#[from] TlsError),
    #[error("a socket that the program was started with (LISTEN_FDS) cannot be used")]
    Inherited(#[source] io::Error),
    #[error(
        "a socket that the program was started with has the name tls-port, but there is no --tls-port"
    )]
    UnusedTlsSocket,
    #[error("the proxy on port {port} does not hand over its sockets; it goes on serving")]
    TakeOver { port: u16, source: ControlError },
    #[error(
        "process {pid} has not handed over: it has ended or hangs, or another process has taken over from it"
    )]
    NotHandedOver { pid: u32 },
    #[error("{}", in_use((.flag, *.port), .holder.as_ref(), *.free))]
    PortInUse {
        flag: &'static str,
        port: u16,
        holder: Option<Instance>,
        free: Option<u16>,
    },
    #[error(
        "{}, which listens on {}; --take-over needs the --bind of that proxy",
        in_use_by(*.port, Some(.holder)), .holder.bind
    )]
    OtherBind { port: u16, holder: Instance },
    #[error(
        "ports below 1024 need administrator rights, and port {port} is one of them; use another port: {flag} {free}"
    )]
    PortReserved {
        flag: &'static str,
        port: u16,
        free: u16,
    },
    #[error(
        "{0} is not an address of this machine; use --bind 127.0.0.1, or --bind 0.0.0.0 for all its addresses"
    )]
    NoSuchAddress(std::net::IpAddr),
    #[error("cannot listen on {address}")]
    Bind {
        address: SocketAddr,
        source: io::Error,
    },
    #[error(
        "the dashboard cannot listen on {address}: {cause}; use another port, such as --dashboard 127.0.0.1:8002"
    )]
    Dashboard {
        address: SocketAddr,
        cause: io::Error,
    },
    #[error(
        "cannot listen on {address} for --metrics: {cause}; use another port, such as --metrics 127.0.0.1:9091"
    )]
    Metrics {
        address: SocketAddr,
        cause: io::Error,
    },
    #[error(
        "the limit of open files is {limit}, but --workers {workers} needs at least {least}; \
         raise it, for example with: ulimit -n 1024"
    )]
    FewFiles {
        limit: u64,
        workers: usize,
        least: u64,
    },
    #[error("cannot start the server")]
    Start(#[source] io::Error),
    #[error("--store")]
    Store(#[source] OpenError),
    /// The cache cannot be shared.
    #[error("the shared cache cannot be used")]
    SharedTier(#[source] TierError),
    #[error("the server stopped unexpectedly")]
    Ended(#[source] io::Error),
    #[error("--clear-cache could not reach this proxy")]
    Control(#[source] ControlError),
    #[error("stopped by a second signal before all requests were finished")]
    Killed,
    #[error("not all caches were cleared")]
    Unreached,
    /// Other instances may still have what was purged.
    #[error("the proxy has changed its own cache. {0}")]
    Unconfirmed(String),
    /// The command's running proxy could not be determined.
    #[error(transparent)]
    ChooseError(#[from] control::ChooseError),
    /// The running proxy did not answer a command.
    #[error("the running proxy did not complete the command")]
    Unanswered(#[source] ControlError),
    /// The running proxy rejected a command as invalid.
    #[error(transparent)]
    Refused(ControlError),
    #[error("cannot write the output")]
    Print(#[source] io::Error),
    #[error(transparent)]
    Warm(#[from] commands::WarmError),
    #[error(transparent)]
    Export(#[from] commands::ExportError),
    #[error(transparent)]
    Import(#[from] commands::ImportError),
    #[error(transparent)]
    UnknownTopic(#[from] commands::UnknownTopic),
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Io(error) => Self::Start(error),
            StartError::Tier(TierError::Store(error)) => Self::Store(error),
            StartError::Tier(error) => Self::SharedTier(error),
        }
    }
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
    /// This failure, of a proxy that was to take over from another one, and has found none on its address.
    pub(crate) fn of_take_over(self) -> Self {
        match self {
            Self::PortInUse {
                port,
                holder: Some(holder),
                ..
            } => Self::OtherBind { port, holder },
            other => other,
        }
    }

    /// Scripts rely on these codes.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::FewFiles { .. }
            | Self::Start(_)
            | Self::Ended(_)
            | Self::Control(_)
            | Self::Killed
            | Self::Export(_)
            | Self::Print(_) => 1,
            Self::Store(OpenError::Locked { .. }) => 3,
            Self::Store(OpenError::Io { .. } | OpenError::ReadOnly { .. }) => 1,
            Self::Store(_) => 2,
            Self::SharedTier(_) => 2,
            Self::Config(_)
            | Self::OriginCa(_)
            | Self::Certificate(_)
            | Self::UnusedTlsSocket
            | Self::Refused(_)
            | Self::UnknownTopic(_) => 2,
            Self::Inherited(_)
            | Self::PortInUse { .. }
            | Self::OtherBind { .. }
            | Self::PortReserved { .. }
            | Self::NoSuchAddress(_)
            | Self::Bind { .. }
            | Self::Dashboard { .. }
            | Self::Metrics { .. }
            | Self::TakeOver { .. }
            | Self::NotHandedOver { .. } => 3,
            Self::Unreached | Self::Unconfirmed(_) | Self::ChooseError(_) | Self::Unanswered(_) => {
                4
            }
            Self::Warm(error) => error.exit_code(),
            Self::Import(error) => error.exit_code(),
        })
    }
}

fn in_use((flag, port): (&str, u16), holder: Option<&Instance>, free: Option<u16>) -> String {
    let in_use = in_use_by(port, holder);
    match free {
        Some(free) => format!("{in_use}; port {free} is free: {flag} {free}"),
        None => format!("{in_use}; use another one with {flag}"),
    }
}

fn in_use_by(port: u16, holder: Option<&Instance>) -> String {
    let by = match holder {
        Some(Instance { origin, pid, .. }) => {
            format!("another caching-proxy for {origin} (process {pid})")
        }
        None => "another program".to_owned(),
    };
    format!("port {port} is in use by {by}")
}
