//! How a process takes over the port of a running proxy.
//!
//! 1. The new process listens on a socket of its own beside that of the running proxy, and sends `POST /hand-over`.
//! 2. The running proxy connects there, and passes its listening sockets, its control socket and the lock file of that
//!    (SCM_RIGHTS, unix(7)). It goes on serving.
//! 3. The new process sends [`TAKE`] when it is ready to serve. Before that it may end, and nothing has changed.
//! 4. The running proxy sends [`ACCEPTED`], accepts no more connections, closes what the new process opens, and sends
//!    [`RELEASED`].
//! 5. It finishes its requests and sends the ends of stored responses that they cause. The new process confirms each. After
//!    the last one an empty one follows; if the connection is closed without it, anything may have ended.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fs::{self, File},
    future::Future,
    io::{self, IoSlice, Write as _},
    mem::MaybeUninit,
    net::TcpListener,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    pin::{Pin, pin},
    sync::{Arc, Weak},
    time::Duration,
};

use actix_web::rt;
use futures_util::future::{FusedFuture as _, FutureExt as _};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, Interest},
    net::{
        self,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::cache::PassedEnd;

/// Sent with the sockets.
pub(super) const SOCKETS: &[u8] = b"s";
/// The new process takes over.
pub(super) const TAKE: &[u8] = b"t";
/// The running proxy lets the new process take over: from now on nothing but its end keeps it from closing all.
pub(super) const ACCEPTED: &[u8] = b"y";
/// Nothing is in use any more that the new process opens.
pub(super) const RELEASED: &[u8] = b"r";
/// The new process has applied an end.
pub(super) const APPLIED: &[u8] = b"a";
/// In the place of the length of an end: there are no more.
const LAST: [u8; size_of::<u32>()] = [0; size_of::<u32>()];
/// Most sockets and files that are passed.
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

/// What a process that takes over gets: duplicates of the listening sockets, then of the control socket and of its lock file.
#[derive(Debug, Default)]
pub struct OfferedFiles(Vec<OwnedFd>);

impl OfferedFiles {
    pub(super) fn new(sockets: Vec<TcpListener>, control: UnixListener, lock: File) -> Self {
        let sockets = sockets.into_iter().map(OwnedFd::from);
        Self(sockets.chain([control.into(), lock.into()]).collect())
    }
}

/// What a running proxy offers to a process that takes over.
#[derive(Clone, Debug)]
pub(super) struct HandOverOffer {
    /// The sockets. They are gone when the proxy stops.
    pub(super) files: Weak<OfferedFiles>,
    /// Where the control socket is.
    pub(super) dir: PathBuf,
    /// Where a process that has taken over is announced.
    pub(super) taken: mpsc::Sender<HandOver>,
}

impl HandOverOffer {
    /// Passes the sockets to a process. It is announced when it takes over.
    pub(super) async fn make(&self, pid: u32) -> io::Result<()> {
        let files = self.files.upgrade();
        let files = files.ok_or_else(|| io::Error::other("the proxy is shutting down"))?;
        let path = socket_of(&self.dir, pid);
        let stream = timeout(STEP_LIMIT, net::UnixStream::connect(&path)).await??;
        // That process may be killed before it removes it.
        let _ = fs::remove_file(&path);
        timeout(STEP_LIMIT, pass(&stream, &files)).await??;
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

/// Passes the sockets.
async fn pass(stream: &net::UnixStream, files: &OfferedFiles) -> io::Result<()> {
    let descriptors: Vec<BorrowedFd<'_>> = files.0.iter().map(|it| it.as_fd()).collect();
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

    /// Tells the process that it may take over. False if it has ended.
    pub fn accept(&mut self) -> bool {
        self.stream.write_all(ACCEPTED).is_ok()
    }

    /// Tells the process that nothing is in use any more that it opens, and then the `ends` of stored responses that requests in
    /// progress cause, until `finished`. That says whether these are all; if not, that process ends everything.
    ///
    /// # Errors
    /// The process has ended, or does not read. `finished` was waited for.
    pub async fn release(
        self,
        ends: mpsc::UnboundedReceiver<PassedEnd>,
        finished: impl Future<Output = bool>,
    ) -> io::Result<()> {
        let mut finished = pin!(finished.fuse());
        let told = async {
            let stream = net::UnixStream::from_std(self.stream)?;
            let (reader, writer) = stream.into_split();
            let passed = RefCell::default();
            tokio::select! {
                biased;
                told = tell(writer, ends, &passed, finished.as_mut()) => told,
                error = confirm(reader, &passed) => Err(error),
            }
        };
        let told = told.await;
        if !finished.is_terminated() {
            finished.await;
        }
        told
    }
}

/// The ends that the new process has not applied yet, in their order.
type PassedEnds = RefCell<VecDeque<oneshot::Sender<()>>>;

/// Tells the new process the ends.
async fn tell(
    mut stream: OwnedWriteHalf,
    mut ends: mpsc::UnboundedReceiver<PassedEnd>,
    passed: &PassedEnds,
    mut finished: Pin<&mut impl Future<Output = bool>>,
) -> io::Result<()> {
    write(&mut stream, RELEASED).await?;
    let are_all = loop {
        tokio::select! {
            Some(end) = ends.recv() => pass_end(&mut stream, end, passed).await?,
            are_all = &mut finished => break are_all,
        }
    };
    while let Ok(end) = ends.try_recv() {
        pass_end(&mut stream, end, passed).await?;
    }
    match are_all {
        true => write(&mut stream, &LAST).await,
        false => Ok(()),
    }
}

async fn pass_end(
    stream: &mut OwnedWriteHalf,
    end: PassedEnd,
    passed: &PassedEnds,
) -> io::Result<()> {
    passed.borrow_mut().push_back(end.applied);
    write(stream, &framed(&end.bytes)).await
}

/// Confirms the ends that the new process has applied, until it has ended.
async fn confirm(mut stream: OwnedReadHalf, passed: &PassedEnds) -> io::Error {
    let mut bytes = [0; 64];
    loop {
        let applied = match stream.read(&mut bytes).await {
            Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
            Ok(read) => read / APPLIED.len(),
            Err(error) => return error,
        };
        for _ in 0..applied {
            if let Some(applied) = passed.borrow_mut().pop_front() {
                // The request may have ended.
                let _ = applied.send(());
            }
        }
    }
}

/// Writes within a time.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
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
    files: &Arc<OfferedFiles>,
    dir: PathBuf,
) -> (HandOverOffer, mpsc::Receiver<HandOver>) {
    let (taken, announced) = mpsc::channel(1);
    let offer = HandOverOffer {
        files: Arc::downgrade(files),
        dir,
        taken,
    };
    (offer, announced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_ended_cannot_take_over() {
        let (stream, other) = UnixStream::pair().unwrap();
        let mut process = HandOver { stream, pid: 7 };
        assert!(process.accept());
        drop(other);
        assert!(!process.accept());
    }
}
