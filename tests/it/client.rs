//! A raw HTTP client: sends exact bytes and reads exact responses.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use crate::waiting::DEADLINE;

/// Bytes as Latin-1 text, one character per byte.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As its framing says; a close-delimited body by an orderly close.
    Whole,
    /// By a closed or reset connection, before the end that the framing gives.
    Cut,
}

/// Status and headers.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// The status code.
    pub(crate) status: u16,
    /// Names as sent and values as Latin-1, in order.
    pub(crate) fields: Vec<(String, String)>,
}

impl Head {
    fn parse(bytes: &[u8]) -> Self {
        let text = latin1(bytes);
        let mut lines = text.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let rest = status_line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..));
        let rest = rest.unwrap_or_else(|| panic!("no status line: {text:?}"));
        let status = rest.get(..3).and_then(|code| code.parse().ok());
        let pairs = lines.filter_map(|line| line.split_once(':'));
        Self {
            status: status.unwrap_or_else(|| panic!("no status: {text:?}")),
            fields: pairs
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                .collect(),
        }
    }

    /// All values of a header, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
            .collect()
    }
}

/// A response with its body.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Heads of the 1xx responses before the final one.
    pub(crate) interim: Vec<Head>,
    /// The final head.
    pub(crate) head: Head,
    /// The body, decoded if it was chunked.
    pub(crate) body: Vec<u8>,
    /// How the response ended.
    pub(crate) ending: Ending,
}

impl Answer {
    /// The status code.
    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    /// All values of a header, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.head.all(name)
    }

    /// The value of a header, `None` without it. Panics if there are several.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(
            values.len() <= 1,
            "{name} came {} times: {:?}",
            values.len(),
            self.head
        );
        values.first().copied()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        latin1(&self.body)
    }

    /// `HIT` or `MISS`.
    pub(crate) fn x_cache(&self) -> &str {
        self.field("x-cache")
            .unwrap_or_else(|| panic!("no X-Cache: {:?}", self.head))
    }

    /// Panics unless the response is whole and has this status, cache outcome and body.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16, x_cache: &str, body: &str) -> &Self {
        let found = (self.status(), self.x_cache(), self.text(), self.ending);
        assert_eq!(
            found,
            (status, x_cache, body.to_owned(), Ending::Whole),
            "{:?}",
            self.head
        );
        self
    }
}

/// One connection to the proxy.
pub(crate) struct Client {
    stream: Box<dyn ClientWire>,
    received: Vec<u8>,
    ended: bool,
    /// The proxy has ended the connection in order: with close_notify, if it has TLS.
    ended_in_order: bool,
}

/// What carries the bytes of a connection.
trait ClientWire: Read + Write + Send {
    /// The socket beneath.
    fn tcp(&self) -> &TcpStream;
}

impl ClientWire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl ClientWire for StreamOwned<ClientConnection, TcpStream> {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}

impl Client {
    /// Connects to a port on 127.0.0.1.
    pub(crate) fn connect(port: u16) -> Self {
        Self::over(TcpStream::connect(("127.0.0.1", port)).unwrap())
    }

    /// Uses a connection that the test has opened.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self::with(stream)
    }

    /// Connects to a port on 127.0.0.1, and performs the TLS handshake with `localhost`. The error is that of the handshake.
    pub(crate) fn connect_tls(port: u16, config: Arc<ClientConfig>) -> io::Result<Self> {
        let mut tcp = Self::over(TcpStream::connect(("127.0.0.1", port)).unwrap());
        tcp.start_tls(config)?;
        Ok(tcp)
    }

    /// Performs the TLS handshake with `localhost`, on a connection that has no TLS yet.
    pub(crate) fn start_tls(&mut self, config: Arc<ClientConfig>) -> io::Result<()> {
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = ClientConnection::new(config, name).unwrap();
        let mut tcp = self.stream.tcp().try_clone().unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        *self = Self::with(StreamOwned::new(tls, tcp));
        Ok(())
    }

    fn with(stream: impl ClientWire + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            received: Vec::new(),
            ended: false,
            ended_in_order: false,
        }
    }

    /// Waits so long for bytes of a peer that is slower than the proxy.
    pub(crate) fn wait_up_to(&mut self, limit: Duration) -> &mut Self {
        self.stream.tcp().set_read_timeout(Some(limit)).unwrap();
        self
    }

    /// Sends exactly these bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Sends bytes, and ignores an error: the proxy may stop reading.
    pub(crate) fn send_until_refused(&mut self, bytes: &[u8]) -> &mut Self {
        self.stream.write_all(bytes).ok();
        self
    }

    /// Sends a GET for the target. `fields` are header lines, each with CRLF.
    pub(crate) fn ask(&mut self, target: &str, fields: &str) -> &mut Self {
        self.send(format!(
            "GET {target} HTTP/1.1\r\nHost: proxy.test\r\n{fields}\r\n"
        ))
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(self.stream.tcp());
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Sends no more. Responses can still be read.
    pub(crate) fn end_input(&mut self) {
        self.stream.tcp().shutdown(Shutdown::Write).unwrap();
    }

    /// Reads more bytes. False at the end of the stream.
    fn fill(&mut self) -> bool {
        if self.ended {
            return false;
        }
        let mut piece = vec![0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => (self.ended, self.ended_in_order) = (true, true),
            Ok(read) => self.received.extend_from_slice(&piece[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let start = latin1(&self.received[..self.received.len().min(600)]);
                panic!(
                    "nothing came for {DEADLINE:?}; so far {} bytes: {start:?}",
                    self.received.len()
                );
            }
            // A process under test has ended.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.ended = true,
        }
        !self.ended
    }

    /// Waits until these bytes have arrived. Does not consume them.
    pub(crate) fn wait_for(&mut self, needle: &str) -> &mut Self {
        while memchr::memmem::find(&self.received, needle.as_bytes()).is_none() {
            assert!(
                self.fill(),
                "the connection ended before {needle:?}: {:?}",
                latin1(&self.received)
            );
        }
        self
    }

    /// Waits until the first bytes of a body have arrived. Does not consume them.
    pub(crate) fn wait_for_body(&mut self) -> &mut Self {
        self.wait_for("\r\n\r\n");
        let head = memchr::memmem::find(&self.received, b"\r\n\r\n").unwrap() + 4;
        while self.received.len() <= head {
            assert!(self.fill(), "the connection ended before the body");
        }
        self
    }

    /// Waits until so many bytes have arrived. Does not consume them.
    pub(crate) fn wait_for_bytes(&mut self, count: usize) -> &mut Self {
        while self.received.len() < count {
            assert!(self.fill(), "the connection ended before {count} bytes");
        }
        self
    }

    /// Waits for the next event of an event stream. False at its end.
    pub(crate) fn next_event(&mut self) -> bool {
        self.through(b"\n\n").is_some()
    }

    /// Waits for the end of the connection. True if no unread bytes are left.
    pub(crate) fn is_closed(&mut self) -> bool {
        while self.fill() {}
        self.received.is_empty()
    }

    /// The same, for an end in order: not by a reset, and with close_notify if the connection has TLS.
    pub(crate) fn is_closed_in_order(&mut self) -> bool {
        self.is_closed() && self.ended_in_order
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.received.split_off(count);
        std::mem::replace(&mut self.received, rest)
    }

    fn through(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.received, end) {
                return Some(self.take(at + end.len()));
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn exactly(&mut self, count: usize, body: &mut Vec<u8>) -> Ending {
        while self.received.len() < count && self.fill() {}
        let there = self.received.len().min(count);
        body.extend(self.take(there));
        if there == count {
            Ending::Whole
        } else {
            Ending::Cut
        }
    }

    /// Reads exactly so many bytes, as text.
    pub(crate) fn read(&mut self, count: usize) -> String {
        let mut bytes = Vec::new();
        let ending = self.exactly(count, &mut bytes);
        assert_eq!(ending, Ending::Whole, "only {:?}", latin1(&bytes));
        latin1(&bytes)
    }

    /// Waits for the next head. False if the connection has ended without one.
    pub(crate) fn has_head(&mut self) -> bool {
        while memchr::memmem::find(&self.received, b"\r\n\r\n").is_none() {
            if !self.fill() {
                return false;
            }
        }
        true
    }

    /// Reads the next head, final or interim.
    pub(crate) fn head(&mut self) -> Head {
        let bytes = self.through(b"\r\n\r\n");
        Head::parse(
            &bytes.unwrap_or_else(|| panic!("no answer, only {:?}", latin1(&self.received))),
        )
    }

    /// Reads the response to a GET.
    pub(crate) fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    /// Reads the response to a request with this method.
    pub(crate) fn answer_to(&mut self, method: &str) -> Answer {
        let mut interim = Vec::new();
        let mut head = self.head();
        while (100..200).contains(&head.status) && head.status != 101 {
            interim.push(std::mem::replace(&mut head, self.head()));
        }
        let mut body = Vec::new();
        let chunked = head
            .all("transfer-encoding")
            .iter()
            .any(|value| value.eq_ignore_ascii_case("chunked"));
        let ending = if method == "HEAD" || matches!(head.status, 204 | 304) {
            Ending::Whole
        } else if chunked {
            self.chunks(&mut body)
        } else if let Some(length) = head.all("content-length").first() {
            self.exactly(length.parse().unwrap(), &mut body)
        } else {
            while self.fill() {}
            body = std::mem::take(&mut self.received);
            Ending::Whole
        };
        Answer {
            interim,
            head,
            body,
            ending,
        }
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> Ending {
        loop {
            let Some(line) = self.through(b"\r\n") else {
                return Ending::Cut;
            };
            let text = latin1(&line);
            let size = text.trim().split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16)
                .unwrap_or_else(|_| panic!("not a chunk size: {text:?}"));
            if size == 0 {
                // Trailers, then the empty line.
                while self
                    .through(b"\r\n")
                    .is_some_and(|trailer| trailer != b"\r\n")
                {}
                return Ending::Whole;
            }
            if self.exactly(size, body) == Ending::Cut
                || self.exactly(2, &mut Vec::new()) == Ending::Cut
            {
                return Ending::Cut;
            }
        }
    }

    /// Reads a head, and counts the bytes after it up to the end of the connection without storing them.
    pub(crate) fn count_body(&mut self) -> (Head, u64) {
        let head = self.head();
        let mut bytes = u64::try_from(std::mem::take(&mut self.received).len()).unwrap();
        while self.fill() {
            bytes += u64::try_from(self.received.len()).unwrap();
            self.received.clear();
        }
        (head, bytes)
    }
}
