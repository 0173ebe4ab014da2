//! What a configuration check says of a server.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use ::redis::{Cmd, Value, cmd};
use rustls::ClientConfig;
use tokio::time::timeout;

use crate::redis::{
    address::KeyNames,
    connect::{ConnectError, Connector, OnMessage},
    replies,
    servers::{Line, SendError, Servers},
    settings::RedisSettingsError,
    url::RedisUrl,
};

/// Calls the commands that the scripts of this room use. Answers why some were refused.
const COMMANDS: &str = "
local refused = {}
local function try(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then refused[#refused + 1] = reply.err end
end
local key = KEYS[1]
try('TIME')
try('TYPE', key)
try('DEL', key)
try('HSET', key, 'f', 'v') try('HGET', key, 'f') try('HGETALL', key) try('HKEYS', key) try('HLEN', key)
try('HDEL', key, 'f')
try('DEL', key)
try('ZADD', key, 1, 'm') try('ZSCORE', key, 'm') try('ZCARD', key) try('ZRANGE', key, 0, 0)
try('ZRANGEBYSCORE', key, 1, 1) try('ZREMRANGEBYSCORE', key, 0, 0) try('ZREM', key, 'm')
try('DEL', key)
try('XADD', key, '*', 'f', 'v') try('XREVRANGE', key, '+', '-', 'COUNT', 1)
try('DEL', key)
try('SET', key, 1, 'PX', 1000) try('GET', key) try('GETRANGE', key, 0, 1) try('STRLEN', key)
try('PEXPIRE', key, 1000) try('PTTL', key)
try('PUBLISH', ARGV[1], '')
return refused
";

/// What a server is, and what has to be set there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisReport {
    /// Such as `Redis 7.0.15` or `Valkey 8.0.1`. `None` if the server does not say it.
    pub version: Option<String>,
    /// How long the fastest of some commands took.
    pub latency: Duration,
    /// The memory that it may use, in bytes. 0: unlimited. `None` if the server does not say it.
    pub max_memory_bytes: Option<u64>,
    /// What it does when its memory is used up. `None` if the server does not say it.
    pub max_memory_policy: Option<String>,
    /// What the user of the connection may not do, as the server says it.
    pub refused: Vec<String>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RedisCheckError {
    /// The settings are refused.
    #[error(transparent)]
    Settings(#[from] RedisSettingsError),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It answers no commands.
    #[error("{0} does not answer")]
    Silent(String),
}

/// How often the latency is measured.
const MEASUREMENTS: usize = 5;
/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(2);

/// Connects to a server, and asks what it is. It writes one key for a second.
///
/// # Errors
/// The server cannot be reached, or does not answer.
pub async fn check(
    url: &RedisUrl,
    namespace: &str,
    tls: Option<Arc<ClientConfig>>,
) -> Result<RedisReport, RedisCheckError> {
    let keys = KeyNames::new(namespace).ok_or(RedisSettingsError::Namespace)?;
    if url.is_tls && tls.is_none() {
        return Err(RedisSettingsError::Tls.into());
    }
    let connector = Connector {
        url: url.clone(),
        tls,
        limit: LIMIT,
    };
    let ignore: OnMessage = Arc::new(|_| {});
    let key = keys.check();
    let servers = Servers::connect(&connector, &key, &ignore).await?;
    let asked = CheckedServer {
        servers: &servers,
        key: &key,
    };
    let latency = asked.latency().await;
    let latency = latency.ok_or_else(|| RedisCheckError::Silent(url.to_string()))?;
    let server = asked.info("server").await;
    let memory = asked.info("memory").await;
    let name =
        |field: &str, name: &str| server.get(field).map(|version| format!("{name} {version}"));
    Ok(RedisReport {
        version: name("valkey_version", "Valkey").or_else(|| name("redis_version", "Redis")),
        latency,
        max_memory_bytes: memory.get("maxmemory").and_then(|bytes| bytes.parse().ok()),
        max_memory_policy: memory.get("maxmemory_policy").cloned(),
        refused: asked.refused(&keys).await,
    })
}

/// A server that is asked.
struct CheckedServer<'s> {
    servers: &'s Servers,
    key: &'s str,
}

impl CheckedServer<'_> {
    async fn send(&self, command: &Cmd) -> Option<Result<Value, SendError>> {
        let reply = self.servers.send(self.key, Line::Quick, command);
        timeout(LIMIT, reply).await.ok()
    }

    async fn latency(&self) -> Option<Duration> {
        let mut least = None;
        for _ in 0..MEASUREMENTS {
            let begun = Instant::now();
            self.send(&cmd("PING")).await?.ok()?;
            let took = begun.elapsed();
            least = Some(least.map_or(took, |least: Duration| least.min(took)));
        }
        least
    }

    /// A section of INFO. Empty if it is not allowed.
    async fn info(&self, section: &str) -> BTreeMap<String, String> {
        let mut command = cmd("INFO");
        command.arg(section);
        let text = match self.send(&command).await {
            Some(Ok(reply)) => replies::text(reply).unwrap_or_default(),
            _ => String::new(),
        };
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let is_shown = |letter: &char| !letter.is_control();
        let shown = |text: &str| text.chars().filter(is_shown).take(100).collect();
        lines
            .map(|(name, value)| (name.to_owned(), shown(value)))
            .collect()
    }

    /// What is needed and not allowed.
    async fn refused(&self, keys: &KeyNames) -> Vec<String> {
        let mut script = cmd("EVAL");
        script
            .arg(COMMANDS)
            .arg(1)
            .arg(self.key)
            .arg(keys.released());
        let mut subscribe = cmd("SUBSCRIBE");
        subscribe.arg(keys.released());
        let mut read = cmd("XREAD");
        read.arg("COUNT")
            .arg(1)
            .arg("STREAMS")
            .arg(keys.events())
            .arg("0");
        let mut info = cmd("INFO");
        info.arg("server");
        let mut refused = Vec::new();
        for command in [script, read, subscribe, info] {
            match self.send(&command).await {
                // The script answers the commands that were refused.
                Some(Ok(reply)) => {
                    let reasons = replies::list(reply).unwrap_or_default();
                    let reasons = reasons.into_iter().filter_map(replies::text);
                    refused.extend(reasons.filter(|reason| reason.contains("NOPERM")));
                }
                Some(Err(SendError::Redis(error))) => refused.push(replies::reason(&error)),
                Some(Err(SendError::NoNode)) | None => refused.push("no answer".into()),
            }
        }
        refused
    }
}
