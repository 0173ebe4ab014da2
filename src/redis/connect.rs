//! A connection to one server.

use std::{io, sync::Arc, time::Duration};

use ::redis::{
    AsyncConnectionConfig, Cmd, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo,
    RedisError, Value, aio::MultiplexedConnection,
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    sync::Notify,
    task::AbortHandle,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::redis::{
    replies,
    reply_limit::LimitedReplies,
    url::{RedisUrl, ServerPlace},
};

/// How many commands wait for the connection to take them.
const WAITING_COMMANDS: usize = 256;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server cannot be reached.
    #[error("cannot connect to {place}: {source}")]
    Unreachable {
        /// Where it should be.
        place: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The server does not accept the connection: wrong password, no RESP3, or no Redis at all.
    #[error("{place} does not accept the connection: {reason}")]
    Refused {
        /// Where it is.
        place: String,
        /// What the server says.
        reason: String,
    },
    /// It has taken too long.
    #[error("{place} does not answer")]
    Late {
        /// Where it should be.
        place: String,
    },
    /// It is a cluster that does not say which node has which keys.
    #[error("{place} is not a node of a working cluster: {reason}")]
    NoCluster {
        /// Where it is.
        place: String,
        /// What the server says.
        reason: String,
    },
}

/// What all connections have in common.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) url: RedisUrl,
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// How long connecting may take.
    pub(super) limit: Duration,
}

/// Called with the channel's message.
pub(super) type OnMessage = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// A connection. Clones share it; it is closed when the last one is dropped.
#[derive(Clone)]
pub(super) struct ServerConnection {
    multiplexed: MultiplexedConnection,
    _driver: Arc<Driver>,
}

/// The task that reads and writes.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Connector {
    /// Connects to a server. `lost` is notified when the connection has ended.
    pub(super) async fn connect(
        &self,
        place: &ServerPlace,
        lost: &Arc<Notify>,
        on_message: Option<OnMessage>,
    ) -> Result<ServerConnection, ConnectError> {
        let connected = timeout(self.limit, self.open(place, lost, on_message)).await;
        connected.unwrap_or_else(|_| {
            Err(ConnectError::Late {
                place: place.to_string(),
            })
        })
    }

    async fn open(
        &self,
        place: &ServerPlace,
        lost: &Arc<Notify>,
        on_message: Option<OnMessage>,
    ) -> Result<ServerConnection, ConnectError> {
        let stream = self.stream(place).await;
        let stream = stream.map_err(|source| ConnectError::Unreachable {
            place: place.to_string(),
            source,
        })?;
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WAITING_COMMANDS);
        if let Some(on_message) = on_message {
            config = config.set_push_sender(move |push: PushInfo| {
                pass_on(&on_message, push);
                Ok::<(), ()>(())
            });
        }
        let stream = LimitedReplies::new(stream);
        let opened = MultiplexedConnection::new_with_config(&self.login(), stream, config).await;
        let (multiplexed, driver) = opened.map_err(|error| ConnectError::Refused {
            place: place.to_string(),
            reason: replies::reason(&error),
        })?;
        let lost = Arc::clone(lost);
        let driver = tokio::spawn(async move {
            driver.await;
            lost.notify_one();
        });
        Ok(ServerConnection {
            multiplexed,
            _driver: Arc::new(Driver(driver.abort_handle())),
        })
    }

    fn login(&self) -> RedisConnectionInfo {
        let mut info = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("caching-proxy", env!("CARGO_PKG_VERSION"))
            .set_db(i64::from(self.url.database));
        if let Some(user) = &self.url.user {
            info = info.set_username(user);
        }
        if let Some(password) = &self.url.password {
            info = info.set_password(password);
        }
        info
    }

    async fn stream(&self, place: &ServerPlace) -> io::Result<Box<dyn Stream>> {
        let (host, port) = match place {
            ServerPlace::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
            ServerPlace::Tcp { host, port } => (host.as_str(), *port),
        };
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        if !self.url.is_tls {
            return Ok(Box::new(stream));
        }
        let tls = self.tls.clone();
        let tls = tls.ok_or_else(|| io::Error::other("TLS is not set up"))?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(
            TlsConnector::from(tls).connect(name, stream).await?,
        ))
    }
}

fn pass_on(on_message: &OnMessage, push: PushInfo) {
    if push.kind == PushKind::Message
        && let Some(Value::BulkString(message)) = push.data.into_iter().nth(1)
    {
        on_message(&message);
    }
}

impl ServerConnection {
    /// Sends a command and waits for its reply, without a limit.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        let mut connection = self.multiplexed.clone();
        let reply = connection.send_packed_command(command).await?;
        reply.extract_error()
    }
}
