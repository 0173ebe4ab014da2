//! One HTTP request over a Unix socket, blocking, with limits on time and length.

use std::{
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;
use socket2::{Domain, SockAddr, Socket, Type};

use super::ControlError;

const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;
/// At most this many characters of a refusal are shown.
const MAX_SENTENCE_CHARS: usize = 1000;
const MAX_HEADERS: usize = 32;
/// Timeout of a connect that only checks whether anybody listens.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// A request to an instance: method, path with query, and body in parts (none for no body).
#[derive(Clone, Copy, Debug)]
pub(super) struct ControlRequest<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) body: &'a [&'a [u8]],
}

impl ControlRequest<'static> {
    pub(super) const DESCRIBE: Self = Self {
        method: "GET",
        target: "/instance",
        body: &[],
    };
}

/// Sends a request, and waits for the response at most `limit` in all.
pub(super) fn ask<T: DeserializeOwned>(
    socket: &Path,
    command: ControlRequest<'_>,
    limit: Duration,
) -> Result<T, ControlError> {
    let deadline = Instant::now() + limit;
    let mut stream = connected(socket, limit)?;
    let answer = write_request(&mut stream, command, 0)
        .and_then(|()| answer(&mut stream, deadline))
        .map_err(|source| failed_exchange(socket, source))?;
    understand(&answer)
}

/// Writes a body.
pub(super) type WriteBody<'a> = dyn FnMut(&mut dyn Write) -> io::Result<()> + 'a;

/// A body that follows that of a request, and is written piece by piece.
pub(super) struct WrittenBody<'a> {
    /// Its length, in bytes.
    pub(super) length: u64,
    /// Writes it.
    pub(super) write: &'a mut WriteBody<'a>,
}

/// Sends a request with a body that may be long. Each piece of it may take `limit`, and then the response.
pub(super) fn ask_with_body<T: DeserializeOwned>(
    socket: &Path,
    command: ControlRequest<'_>,
    body: WrittenBody<'_>,
    limit: Duration,
) -> Result<T, ControlError> {
    let mut stream = connected(socket, limit)?;
    let answer = write_request(&mut stream, command, body.length)
        .and_then(|()| (body.write)(&mut stream))
        .and_then(|()| answer(&mut stream, Instant::now() + limit))
        .map_err(|source| failed_exchange(socket, source))?;
    understand(&answer)
}

fn connected(socket: &Path, limit: Duration) -> Result<UnixStream, ControlError> {
    connect(socket, limit).map_err(|source| ControlError::Connect {
        path: socket.to_owned(),
        source,
    })
}

fn failed_exchange(socket: &Path, source: io::Error) -> ControlError {
    ControlError::Exchange {
        path: socket.to_owned(),
        source,
    }
}

/// Whether it is certain that nobody listens on a socket.
pub(super) fn is_abandoned(socket: &Path) -> bool {
    connect(socket, PROBE_LIMIT).is_err_and(|error| is_nobody_listening(&error))
}

/// Whether a failed connect means that nobody listens. Other errors, a limit of this process for instance, say nothing
/// about the other side.
pub(super) fn is_nobody_listening(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
    )
}

/// Connects with a timeout. A connect to a Unix socket waits while the backlog of the listener is full.
fn connect(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(limit))?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(UnixStream::from(OwnedFd::from(socket))),
        // The error of a connect that timed out.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(io::ErrorKind::TimedOut.into())
        }
        Err(error) => Err(error),
    }
}

/// Sends a request, and returns the connection, of which the response can be read. Writing and each reading may take
/// `limit`.
pub(super) fn send(
    socket: &Path,
    command: ControlRequest<'_>,
    limit: Duration,
) -> Result<UnixStream, ControlError> {
    let mut stream = connected(socket, limit)?;
    write_request(&mut stream, command, 0)
        .and_then(|()| stream.set_read_timeout(Some(limit)))
        .map_err(|source| failed_exchange(socket, source))?;
    Ok(stream)
}

/// Writes a request, whose body has `more` bytes that are not written here.
fn write_request(
    stream: &mut UnixStream,
    command: ControlRequest<'_>,
    more: u64,
) -> io::Result<()> {
    let ControlRequest {
        method,
        target,
        body,
    } = command;
    let length: u64 = body.iter().map(|part| part.len() as u64).sum();
    let length = length.saturating_add(more);
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: caching-proxy\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    body.iter().try_for_each(|part| stream.write_all(part))
}

/// Reads until the end of the connection.
fn answer(stream: &mut UnixStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece) {
            Ok(0) => return Ok(answer),
            Ok(read) => answer.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The error of a read that timed out.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
        if answer.len() > MAX_RESPONSE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
}

fn understand<T: DeserializeOwned>(answer: &[u8]) -> Result<T, ControlError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = head.parse(answer) else {
        return Err(ControlError::Answer);
    };
    let body = &answer[length..];
    match head.code.map(|status| refusal(status, body)) {
        Some(None) => serde_json::from_slice(body).map_err(|_| ControlError::Answer),
        Some(Some(error)) => Err(error),
        None => Err(ControlError::Answer),
    }
}

/// The error that a response with this status and body means; `None` for 200.
pub(super) fn refusal(status: u16, body: &[u8]) -> Option<ControlError> {
    match status {
        200 => None,
        // The request is refused; the body gives the reason.
        400 => Some(ControlError::Refused {
            sentence: sentence(body),
        }),
        status => Some(ControlError::Status { status }),
    }
}

/// A text fit for a terminal: without control characters except line ends, and of bounded length.
fn sentence(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text).replace('\t', " ");
    let printable = text
        .trim()
        .chars()
        .filter(|letter| *letter == '\n' || !letter.is_control());
    printable.take(MAX_SENTENCE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// Sends a request to a listener that responds with `answer` and closes.
    fn answered_with(answer: &'static [u8]) -> Result<serde_json::Value, ControlError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("8000.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut piece = [0; 1024];
                let read = stream.read(&mut piece).unwrap();
                assert!(piece[..read].starts_with(b"GET /instance HTTP/1.1\r\n"));
                // The client may have closed the connection.
                let _ = stream.write_all(answer);
            });
            ask(&path, ControlRequest::DESCRIBE, Duration::from_secs(10))
        })
    }

    #[test]
    fn a_response_is_read_to_its_end() {
        let answer = answered_with(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n{\"pid\":7}").unwrap();
        assert_eq!(answer["pid"], 7);
    }

    #[test]
    fn a_refusal_is_named_by_its_status() {
        let error = answered_with(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap_err();
        assert!(matches!(error, ControlError::Status { status: 503 }));
    }

    #[test]
    fn a_response_that_is_cut_off_or_not_http_is_an_error() {
        for answer in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n{\"pid\"",
            b"hello",
        ] {
            assert!(
                matches!(answered_with(answer), Err(ControlError::Answer)),
                "{answer:?}"
            );
        }
    }

    #[test]
    fn a_response_that_is_too_long_is_an_error() {
        static ENDLESS: [u8; 2 * MAX_RESPONSE_BYTES] = [b'x'; 2 * MAX_RESPONSE_BYTES];
        assert!(matches!(
            answered_with(&ENDLESS),
            Err(ControlError::Exchange { .. })
        ));
    }

    #[test]
    fn a_connect_times_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("8000.sock");
        let address = SockAddr::unix(&path).unwrap();
        let stream = || Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let listener = stream();
        listener.bind(&address).unwrap();
        listener.listen(0).unwrap();
        let mut waiting = Vec::new();
        loop {
            let socket = stream();
            socket.set_nonblocking(true).unwrap();
            match socket.connect(&address) {
                Ok(()) => waiting.push(socket),
                Err(error) => break assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        let asked =
            ask::<serde_json::Value>(&path, ControlRequest::DESCRIBE, Duration::from_millis(10));
        let Err(ControlError::Connect { source, .. }) = asked else {
            panic!("{asked:?}")
        };
        assert_eq!(source.kind(), io::ErrorKind::TimedOut);
        assert!(!is_nobody_listening(&source));
    }

    #[test]
    fn a_read_times_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("8000.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        let asked =
            ask::<serde_json::Value>(&path, ControlRequest::DESCRIBE, Duration::from_millis(10));
        let Err(ControlError::Exchange { source, .. }) = asked else {
            panic!("{asked:?}")
        };
        assert_eq!(source.kind(), io::ErrorKind::TimedOut);
    }
}
