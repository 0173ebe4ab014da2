//! How a process takes over the port of a running proxy.
//!
//! 1. The new process listens on a socket of its own beside that of the running proxy, and sends `POST /hand-over`.
//! 2. The running proxy connects there, and passes its listening sockets (SCM_RIGHTS, unix(7)). It goes on serving.
//! 3. The new process sends [`TAKE`] when it is ready to serve. Before that it may end, and nothing has changed.
//! 4. The running proxy accepts no more, closes what the new process opens, and sends [`RELEASED`].
//! 5. It finishes its requests, sends the ends of stored responses that they cause, and closes the connection.

use std::{
    fs,
    future::Future,
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::TcpListener,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use actix_web::rt;
use bytes::Bytes;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net,
    sync::mpsc,
    time::timeout,
};

/// Sent with the sockets.
pub(super) const SOCKETS: &[u8] = b"s";
/// The new process takes over.
pub(super) const TAKE: &[u8] = b"t";
/// Nothing is in use any more that the new process opens.
pub(super) const RELEASED: &[u8] = b"r";
/// Most sockets that are passed.
pub(super) const MAX_SOCKETS: usize = 32;
/// How long the new process may take until it is ready, and either process for a step that needs no disk.
pub(super) const STEP_LIMIT: Duration = Duration::from_secs(10);
/// The longest description of an end of stored responses, in bytes.
pub(super) const MAX_END_BYTES: u32 = 16 * 1024 * 1024;

/// The request of `POST /hand-over`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HandOverRequest {
    /// The process id of the new process.
    pub(super) pid: u32,
}

/// The socket of the process that takes over. Its name is no longer than that of an instance.
pub(super) fn socket_of(dir: &Path, pid: u32) -> PathBuf {
    dir.join(format!("t{pid}.sock"))
}

/// What a running proxy offers to a process that takes over.
#[derive(Clone, Debug)]
pub(super) struct HandOverOffer {
    /// The listening sockets. They are gone when the proxy stops.
    pub(super) sockets: Weak<Vec<TcpListener>>,
    /// Where the control socket is.
    pub(super) dir: PathBuf,
    /// Where a process that has taken over is announced.
    pub(super) taken: mpsc::Sender<HandOver>,
}

impl HandOverOffer {
    /// Passes the sockets to a process. It is announced when it takes over.
    pub(super) async fn make(&self, pid: u32) -> io::Result<()> {
        let sockets = self.sockets.upgrade();
        let sockets = sockets.ok_or_else(|| io::Error::other("the proxy is shutting down"))?;
        let path = socket_of(&self.dir, pid);
        let stream = timeout(STEP_LIMIT, net::UnixStream::connect(&path)).await??;
        // That process may be killed before it removes it.
        let _ = fs::remove_file(&path);
        timeout(STEP_LIMIT, pass(&stream, &sockets)).await??;
        let taken = self.taken.clone();
        rt::spawn(async move {
            if let Ok(Ok(stream)) = timeout(STEP_LIMIT, take_requested(stream)).await {
                // Only one process can take over.
                let _ = taken.try_send(HandOver { stream, pid });
            }
        });
        Ok(())
    }
}

/// Passes duplicates of the sockets.
async fn pass(stream: &net::UnixStream, sockets: &[TcpListener]) -> io::Result<()> {
    let descriptors: Vec<BorrowedFd<'_>> = sockets.iter().map(|it| it.as_fd()).collect();
    loop {
        stream.writable().await?;
        let sent = stream.try_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
            let mut message = SendAncillaryBuffer::new(&mut space);
            if !message.push(SendAncillaryMessage::ScmRights(&descriptors)) {
                return Err(io::Error::other("too many sockets"));
            }
            let bytes = [IoSlice::new(SOCKETS)];
            Ok(sendmsg(stream, &bytes, &mut message, SendFlags::empty())?)
        });
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return sent.map(drop),
        }
    }
}

/// Waits until the new process takes over.
async fn take_requested(mut stream: net::UnixStream) -> io::Result<UnixStream> {
    let mut byte = [0; TAKE.len()];
    stream.read_exact(&mut byte).await?;
    match byte == TAKE {
        true => stream.into_std(),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A process that takes over from this one.
#[derive(Debug)]
pub struct HandOver {
    stream: UnixStream,
    pid: u32,
}

impl HandOver {
    /// The process that takes over.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Tells the process that nothing is in use any more that it opens, and then the `ends` of stored responses that requests in
    /// progress cause, until `finished`.
    ///
    /// # Errors
    /// The process has ended, or does not read. `finished` was waited for.
    pub async fn release(
        self,
        mut ends: mpsc::UnboundedReceiver<Bytes>,
        finished: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let mut finished = pin!(finished);
        let told = async {
            let mut stream = net::UnixStream::from_std(self.stream)?;
            write(&mut stream, RELEASED).await?;
            loop {
                tokio::select! {
                    Some(end) = ends.recv() => write(&mut stream, &framed(&end)).await?,
                    () = &mut finished => break,
                }
            }
            while let Ok(end) = ends.try_recv() {
                write(&mut stream, &framed(&end)).await?;
            }
            io::Result::Ok(())
        };
        let told = told.await;
        if told.is_err() {
            finished.await;
        }
        told
    }
}

/// Writes within a time.
async fn write(stream: &mut net::UnixStream, bytes: &[u8]) -> io::Result<()> {
    timeout(STEP_LIMIT, stream.write_all(bytes)).await?
}

/// An end of stored responses, after its length.
fn framed(end: &[u8]) -> Vec<u8> {
    match u32::try_from(end.len()) {
        Ok(length) if length <= MAX_END_BYTES => [&length.to_le_bytes(), end].concat(),
        _ => u32::MAX.to_le_bytes().to_vec(),
    }
}

/// The sockets to offer, and where a process that has taken over is announced.
pub(super) fn offer(
    sockets: &Arc<Vec<TcpListener>>,
    dir: PathBuf,
) -> (HandOverOffer, mpsc::Receiver<HandOver>) {
    let (taken, announced) = mpsc::channel(1);
    let offer = HandOverOffer {
        sockets: Arc::downgrade(sockets),
        dir,
        taken,
    };
    (offer, announced)
}
