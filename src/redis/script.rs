//! The scripts that Redis runs. Each is one step that no other client can come between.

use std::sync::LazyLock;

use ::redis::{Cmd, ErrorKind, ServerErrorKind, Value, cmd};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::redis::servers::{Line, SendError, Servers};

/// A script with its name in Redis, the SHA-1 of its text.
pub(super) struct Script {
    text: String,
    name: String,
}

impl Script {
    fn new(text: String) -> Self {
        let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
        let name = digits.collect();
        Self { text, name }
    }

    fn command(&self, name: &str, script: &str, call: &ScriptCall) -> Cmd {
        let mut command = cmd(name);
        command.arg(script).arg(call.keys.len());
        for key in &call.keys {
            command.arg(key);
        }
        for argument in &call.arguments {
            command.arg(argument.as_slice());
        }
        command
    }

    /// Runs it. The first key says which node does.
    pub(super) async fn run(
        &self,
        servers: &Servers,
        line: Line,
        call: &ScriptCall,
    ) -> Result<Value, SendError> {
        let key = call.keys.first().map(String::as_str).unwrap_or_default();
        let command = self.command("EVALSHA", &self.name, call);
        match servers.send(key, line, &command).await {
            Err(SendError::Redis(error))
                if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) =>
            {
                let command = self.command("EVAL", &self.text, call);
                servers.send(key, line, &command).await
            }
            result => result,
        }
    }
}

/// What a script is called with.
#[derive(Debug, Default)]
pub(super) struct ScriptCall {
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl ScriptCall {
    /// All keys are in one slot.
    pub(super) fn new(keys: impl IntoIterator<Item = String>) -> Self {
        Self {
            keys: keys.into_iter().collect(),
            arguments: Vec::new(),
        }
    }

    pub(super) fn arg(mut self, argument: impl Into<Vec<u8>>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(super) fn number(self, number: u64) -> Self {
        self.arg(number.to_string())
    }
}

/// Keys: epoch, events, instances, acks. Arguments: a random epoch, the epoch that the caller knows, the position up to
/// which it has read, how long all is kept (ms).
///
/// Makes a new epoch with an empty stream if one of both is not there, or is not as it was written; if the server is
/// another one than that which has made it; or if the stream has gone back. The first command is a write that needs no
/// memory: after it Redis allows the other writes, even if its memory is used up.
const OPEN: &str = "
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
local function is(key, wanted)
  local found = redis.call('TYPE', key).ok
  if found ~= wanted and found ~= 'none' then redis.call('DEL', key) end
  return found == wanted
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or '-'
local epoch, of, created, last
if is(KEYS[1], 'string') and is(KEYS[2], 'stream') and redis.call('STRLEN', KEYS[1]) < 200 then
  epoch, of, created = string.match(redis.call('GET', KEYS[1]), '^(%x+) (%S+) (%d+)$')
  local entry = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
  last = entry and entry[2][1] == 'n' and tonumber(entry[2][2])
end
local is_another_server = of ~= run and of ~= '-' and run ~= '-'
if not epoch or #epoch ~= 32 or not last or is_another_server
    or (epoch == ARGV[2] and last < tonumber(ARGV[3])) then
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[4])
  epoch, created, last = ARGV[1], now, 1
  redis.call('SET', KEYS[1], epoch .. ' ' .. run .. ' ' .. string.format('%d', now), 'PX', ARGV[4])
  redis.call('XADD', KEYS[2], '*', 'n', 1, 'i', '', 't', 0, 'e', '')
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
";

/// Keys and arguments as [`OPEN`], then: id, name, acknowledged position in the epoch that the caller knows, how long
/// the registration holds (ms); then id, name and ms of each instance that the caller knows from an earlier epoch.
///
/// Answers: epoch, last position, time (ms), when the epoch was made (ms), whether another server would be noticed, the
/// registered instances, and what they have acknowledged.
const HEARTBEAT: &str = "
is(KEYS[3], 'zset')
is(KEYS[4], 'hash')
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
redis.call('ZADD', KEYS[3], now + ARGV[8], ARGV[5])
local position = epoch == ARGV[2] and ARGV[7] or '0'
redis.call('HSET', KEYS[4], ARGV[5], position .. ' ' .. ARGV[6])
for at = 9, #ARGV, 3 do
  if not redis.call('ZSCORE', KEYS[3], ARGV[at]) then
    redis.call('ZADD', KEYS[3], now + ARGV[at + 2], ARGV[at])
    redis.call('HSET', KEYS[4], ARGV[at], '0 ' .. ARGV[at + 1])
  end
end
if redis.call('HLEN', KEYS[4]) > redis.call('ZCARD', KEYS[3]) then
  for _, id in ipairs(redis.call('HKEYS', KEYS[4])) do
    if not redis.call('ZSCORE', KEYS[3], id) then redis.call('HDEL', KEYS[4], id) end
  end
end
redis.call('PEXPIRE', KEYS[3], ARGV[4])
redis.call('PEXPIRE', KEYS[4], ARGV[4])
return {epoch, last, now, tonumber(created), run ~= '-' and 1 or 0,
  redis.call('ZRANGE', KEYS[3], 0, 999), redis.call('HGETALL', KEYS[4])}
";

/// Keys and arguments as [`OPEN`], then: id, the length of the stream, and token and bytes of each event. Answers the
/// epoch and the position of the last event.
const PUBLISH: &str = "
for at = 7, #ARGV, 2 do
  last = last + 1
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], '*',
    'n', string.format('%d', last), 'i', ARGV[5], 't', ARGV[at], 'e', ARGV[at + 1])
end
return {epoch, last}
";

/// Keys as [`OPEN`]. Answers the value of the epoch, the time (ms), the registered instances, and what they have
/// acknowledged.
const ACKNOWLEDGED: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return {redis.call('GET', KEYS[1]), now,
  redis.call('ZRANGEBYSCORE', KEYS[3], now, '+inf', 'LIMIT', 0, 1000), redis.call('HGETALL', KEYS[4])}
";

/// Keys as [`OPEN`]. Arguments: the id of an instance that ends.
const LEAVE: &str = "
redis.pcall('ZREM', KEYS[3], ARGV[1])
redis.pcall('HDEL', KEYS[4], ARGV[1])
return 1
";

/// Keys: heads. Arguments: variant, value, ms, the most variants. Answers the beginning of the value that was replaced.
const STORE: &str = "
local found = redis.call('TYPE', KEYS[1]).ok
if found ~= 'hash' and found ~= 'none' then redis.call('DEL', KEYS[1]) end
local old = redis.call('HGET', KEYS[1], ARGV[1])
if not old and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return old and string.sub(old, 1, 64) or ''
";

/// Keys: any. Arguments: ms. None of them is kept for less.
const LENGTHEN: &str = "
for _, key in ipairs(KEYS) do
  local left = redis.call('PTTL', key)
  if left >= 0 and left < tonumber(ARGV[1]) then redis.call('PEXPIRE', key, ARGV[1]) end
end
return 1
";

/// Keys: lease, waited. Arguments: token, ms. Answers 1 if the lease is given, 0 if somebody else has it.
const ACQUIRE: &str = "
local found = redis.call('TYPE', KEYS[1]).ok
local left = redis.call('PTTL', KEYS[1])
if found ~= 'none' and (found ~= 'string' or left < 0 or left > tonumber(ARGV[2])) then
  redis.call('DEL', KEYS[1])
end
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  redis.call('DEL', KEYS[2])
  return 1
end
redis.call('SET', KEYS[2], 1, 'PX', ARGV[2])
return 0
";

/// Keys: lease, waited. Arguments: token, ms. Answers 1 if the lease is still the caller's.
const EXTEND: &str = "
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
";

/// Keys: lease, waited. Arguments: token, channel, name of the record.
const RELEASE: &str = "
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if redis.call('DEL', KEYS[2]) == 1 then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
return 1
";

/// See [`HEARTBEAT`].
pub(super) static HEARTBEAT_SCRIPT: LazyLock<Script> =
    LazyLock::new(|| Script::new(format!("{OPEN}{HEARTBEAT}")));
/// See [`PUBLISH`].
pub(super) static PUBLISH_SCRIPT: LazyLock<Script> =
    LazyLock::new(|| Script::new(format!("{OPEN}{PUBLISH}")));
/// See [`ACKNOWLEDGED`].
pub(super) static ACKNOWLEDGED_SCRIPT: LazyLock<Script> =
    LazyLock::new(|| Script::new(ACKNOWLEDGED.into()));
/// See [`LEAVE`].
pub(super) static LEAVE_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(LEAVE.into()));
/// See [`STORE`].
pub(super) static STORE_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(STORE.into()));
/// See [`LENGTHEN`].
pub(super) static LENGTHEN_SCRIPT: LazyLock<Script> =
    LazyLock::new(|| Script::new(LENGTHEN.into()));
/// See [`ACQUIRE`].
pub(super) static ACQUIRE_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(ACQUIRE.into()));
/// See [`EXTEND`].
pub(super) static EXTEND_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(EXTEND.into()));
/// See [`RELEASE`].
pub(super) static RELEASE_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(RELEASE.into()));
