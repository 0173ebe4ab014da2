//! [`take_over`]: a process that takes over from a running proxy. The steps are those of [`super::hand_over`].

use std::{
    fs::{self, File},
    io::{self, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustix::{
    io::{FdFlags, fcntl_setfd},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};
use socket2::SockRef;
use tokio::io::AsyncReadExt as _;

use super::{
    ControlError, Instance,
    client::{ControlRequest, ask},
    commands::{DESCRIBE_TIMEOUT, is_running, names_in},
    directories::SocketDirectories,
    hand_over::{
        ACCEPTED, APPLIED, HandOverRequest, MAX_END_BYTES, MAX_SOCKETS, RELEASED, SOCKETS,
        STEP_LIMIT, TAKE, socket_of, write,
    },
    lock::{InstanceLock, InstanceName},
};
use crate::{cache::Cache, clock};

/// How long the running proxy may take to accept that this process takes over. It may be reloading.
const ACCEPT_LIMIT: Duration = Duration::from_secs(30);
/// How often a warning says that the running proxy is still closing its store.
const REPORT: Duration = Duration::from_secs(10);
/// How often this process looks for the connection of the running proxy.
const PAUSE: Duration = Duration::from_millis(2);

/// A running proxy whose sockets this process has, too.
#[derive(Debug)]
pub struct TakeOver {
    instance: Instance,
    name: InstanceName,
    stream: UnixStream,
    passed: PassedFiles,
}

/// What the proxy has passed.
#[derive(Debug)]
struct PassedFiles {
    sockets: Vec<TcpListener>,
    /// The control socket and its lock file. `None` once they were taken.
    control: Option<(UnixListener, File)>,
}

/// Gets the sockets of the proxy of this user that listens on `address`; `None` if there is none. That proxy goes on serving.
///
/// # Errors
/// The proxy does not pass its sockets.
pub fn take_over(address: SocketAddr) -> Result<Option<TakeOver>, ControlError> {
    take_over_in(&SocketDirectories::of_this_process(), address)
}

pub(super) fn take_over_in(
    surroundings: &SocketDirectories,
    address: SocketAddr,
) -> Result<Option<TakeOver>, ControlError> {
    let (names, _) = names_in(surroundings);
    for name in names {
        if name.port != address.port() || !is_running(&name) {
            continue;
        }
        let instance: Instance = ask(&name.socket, ControlRequest::DESCRIBE, DESCRIBE_TIMEOUT)?;
        if instance.bind == address.ip() {
            return from_instance(&name, instance).map(Some);
        }
    }
    Ok(None)
}

fn from_instance(name: &InstanceName, instance: Instance) -> Result<TakeOver, ControlError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ControlError::Exchange { path, source }
    };
    let dir = name.socket.parent().unwrap_or(Path::new("/"));
    let own = OwnSocket::open(dir).map_err(failed(dir))?;
    let pid = std::process::id();
    let body = serde_json::to_vec(&HandOverRequest { pid }).unwrap_or_default();
    let command = ControlRequest {
        method: "POST",
        target: "/hand-over",
        body: &[&body],
    };
    ask::<()>(&name.socket, command, STEP_LIMIT * 3)?;
    let received = own.accept().and_then(|stream| {
        let passed = receive(&stream)?;
        Ok((stream, passed))
    });
    let (stream, passed) = received.map_err(failed(&name.socket))?;
    Ok(TakeOver {
        instance,
        name: name.clone(),
        stream,
        passed,
    })
}

/// The socket on which this process gets those of the running proxy.
struct OwnSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl OwnSocket {
    fn open(dir: &Path) -> io::Result<Self> {
        let path = socket_of(dir, std::process::id());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // One that an earlier process of this number has left behind.
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        let own = Self { listener, path };
        own.listener.set_nonblocking(true)?;
        Ok(own)
    }

    /// The connection of the running proxy, which has responded that it is made.
    fn accept(&self) -> io::Result<UnixStream> {
        let deadline = Instant::now() + STEP_LIMIT;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    stream.set_read_timeout(Some(STEP_LIMIT))?;
                    stream.set_write_timeout(Some(STEP_LIMIT))?;
                    return Ok(stream);
                }
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline =>
                {
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for OwnSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Receives the sockets.
fn receive(stream: &UnixStream) -> io::Result<PassedFiles> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; SOCKETS.len()];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    recvmsg(stream, &mut bytes, &mut message, RecvFlags::empty())?;
    let mut files: Vec<OwnedFd> = Vec::new();
    for part in message.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = part {
            files.extend(descriptors);
        }
    }
    for file in &files {
        fcntl_setfd(file, FdFlags::CLOEXEC)?;
    }
    let (lock, control) = (files.pop(), files.pop());
    let (Some(lock), Some(control), true) = (lock, control, byte == SOCKETS) else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    for socket in files.iter().chain([&control]) {
        if !SockRef::from(socket).is_listener()? {
            return Err(io::Error::other("it passes what does not listen"));
        }
    }
    Ok(PassedFiles {
        sockets: files.into_iter().map(TcpListener::from).collect(),
        control: Some((control.into(), lock.into())),
    })
}

impl TakeOver {
    /// The proxy.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Its listening sockets.
    pub fn sockets(&mut self) -> Vec<TcpListener> {
        std::mem::take(&mut self.passed.sockets)
    }

    /// Its control socket, with the lock. `None` if it was taken, or has been removed. After [`TakeOver::begin`].
    pub(super) fn control(&mut self) -> Option<(UnixListener, InstanceLock)> {
        let (listener, lock) = self.passed.control.take()?;
        Some((listener, InstanceLock::passed(self.name.clone(), lock)?))
    }

    /// Lets the proxy stop accepting, and waits until it has closed its store and all else that this process opens, or has
    /// ended.
    ///
    /// # Errors
    /// The proxy does not let this process take over: it hangs or stops, or another process takes over. It goes on as before.
    pub fn begin(&mut self) -> io::Result<()> {
        self.stream.write_all(TAKE)?;
        self.stream.set_read_timeout(Some(ACCEPT_LIMIT))?;
        let mut byte = [0; ACCEPTED.len()];
        self.stream.read_exact(&mut byte)?;
        if byte != ACCEPTED {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let pid = self.instance.pid;
        self.stream.set_read_timeout(Some(REPORT))?;
        loop {
            match self.stream.read_exact(&mut byte) {
                Ok(()) if byte == RELEASED => return Ok(()),
                Ok(()) => return Err(io::ErrorKind::InvalidData.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    log::warn!("process {pid} is still closing its store; connections wait");
                }
                Err(error) => {
                    log::warn!("process {pid} ended before it closed its store: {error}");
                    return Ok(());
                }
            }
        }
    }

    /// Ends in `cache` what requests end that the proxy still finishes, until there are no more of them.
    pub async fn apply_ends(self, cache: Cache) {
        let applied = async {
            self.stream.set_nonblocking(true)?;
            let mut stream = tokio::net::UnixStream::from_std(self.stream)?;
            while let Some(end) = next_end(&mut stream).await? {
                let applied = cache.apply_end(end.into(), clock::now()).await;
                applied.map_err(io::Error::other)?;
                write(&mut stream, APPLIED).await?;
            }
            io::Result::Ok(())
        };
        match applied.await {
            Ok(()) => log::info!("the process before this one has ended"),
            Err(error) => {
                log::warn!(
                    "the process before this one did not say all that it has ended, so the cache is cleared: {error}"
                );
                // What is not known ends everything.
                let _ = cache.apply_end(Bytes::new(), clock::now()).await;
            }
        }
    }
}

/// The next end; `None` after the last one.
async fn next_end(stream: &mut tokio::net::UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; size_of::<u32>()];
    stream.read_exact(&mut length).await?;
    let length = u32::from_le_bytes(length);
    if length == 0 {
        return Ok(None);
    }
    if length > MAX_END_BYTES {
        // Too long to be sent, so it may be anything.
        return Ok(Some(Vec::new()));
    }
    let mut end = Vec::new();
    let read = stream.take(length.into()).read_to_end(&mut end).await?;
    match read == length as usize {
        true => Ok(Some(end)),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::rt::System;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// What is read of these bytes, until the end or an error.
    fn ends_of(bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
        System::new().block_on(async {
            let (mut writer, mut reader) = tokio::net::UnixStream::pair().unwrap();
            writer.write_all(bytes).await.unwrap();
            drop(writer);
            let mut ends = Vec::new();
            loop {
                match next_end(&mut reader).await {
                    Ok(Some(end)) => ends.push(end),
                    Ok(None) => return (ends, true),
                    Err(_) => return (ends, false),
                }
            }
        })
    }

    #[test]
    fn ends_are_read_until_an_empty_one() {
        assert_eq!(ends_of(b"\0\0\0\0"), (vec![], true));
        let two = b"\x03\0\0\0abc\x01\0\0\0d\0\0\0\0";
        assert_eq!(ends_of(two), (vec![b"abc".to_vec(), b"d".to_vec()], true));
    }

    #[test]
    fn a_connection_that_is_closed_before_the_empty_end_is_an_error() {
        assert_eq!(ends_of(b""), (vec![], false));
        assert_eq!(ends_of(b"\x01\0\0\0d"), (vec![b"d".to_vec()], false));
    }

    #[test]
    fn what_is_cut_is_an_error_and_what_is_too_long_ends_anything() {
        assert_eq!(ends_of(b"\x03\0"), (vec![], false));
        assert_eq!(ends_of(b"\x03\0\0\0ab"), (vec![], false));
        assert_eq!(ends_of(b"\xff\xff\xff\xff\0\0\0\0"), (vec![vec![]], true));
    }

    /// Takes over from a proxy that sends this and ends.
    fn take_over_from(sent: &[u8]) -> io::Result<()> {
        let (stream, mut proxy) = UnixStream::pair().unwrap();
        proxy.write_all(sent).unwrap();
        proxy.shutdown(std::net::Shutdown::Write).unwrap();
        let path = PathBuf::new();
        let instance =
            r#"{"pid":7,"port":8000,"bind":"::1","origin":"","version":"","started":""}"#;
        let mut other = TakeOver {
            instance: serde_json::from_str(instance).unwrap(),
            name: InstanceName {
                port: 8000,
                lock: path.clone(),
                socket: path,
            },
            stream,
            passed: PassedFiles {
                sockets: Vec::new(),
                control: None,
            },
        };
        other.begin()
    }

    #[test]
    fn a_proxy_that_ends_after_it_has_accepted_is_taken_over() {
        take_over_from(&[ACCEPTED, RELEASED].concat()).unwrap();
        take_over_from(ACCEPTED).unwrap();
        assert!(take_over_from(b"").is_err());
        assert!(take_over_from(b"?").is_err());
        assert!(take_over_from(&[ACCEPTED, b"?"].concat()).is_err());
    }
}
