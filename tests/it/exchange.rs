//! One exchange at the test origin: the request as recorded, and the means to respond to it byte by byte.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::{Arc, Condvar, Mutex},
};

use crate::{client::latin1, waiting::DEADLINE};

/// A gate that a test opens and an origin waits for, or the other way round.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Opens the gate for all present and later waits.
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// True if the gate is open.
    pub(crate) fn is_open(&self) -> bool {
        *self.0.0.lock().unwrap()
    }

    /// Waits until the gate is open.
    pub(crate) fn wait(&self) {
        let open = self.0.0.lock().unwrap();
        let (open, _) = self
            .0
            .1
            .wait_timeout_while(open, DEADLINE, |open| !*open)
            .unwrap();
        assert!(*open, "a gate was not opened within {DEADLINE:?}");
    }
}

/// One request as the origin received it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Request line and headers, byte for byte, with the empty line.
    pub(crate) head: Vec<u8>,
    /// The body, decoded if it was chunked.
    pub(crate) body: Vec<u8>,
    /// The number of the connection, from 0.
    pub(crate) connection: usize,
}

impl Seen {
    fn part(&self, index: usize) -> String {
        let line = self
            .head
            .split(|byte| *byte == b'\r')
            .next()
            .unwrap_or_default();
        latin1(line)
            .split(' ')
            .nth(index)
            .unwrap_or_default()
            .to_owned()
    }

    /// The method.
    pub(crate) fn method(&self) -> String {
        self.part(0)
    }

    /// The request target as it was sent.
    pub(crate) fn target(&self) -> String {
        self.part(1)
    }

    /// All values of a header, in order, as Latin-1.
    pub(crate) fn fields(&self, name: &str) -> Vec<String> {
        let head = latin1(&self.head);
        let lines = head.split("\r\n").skip(1);
        let pairs = lines.filter_map(|line| line.split_once(':'));
        pairs
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim().to_owned())
            .collect()
    }

    /// The value of a header, `None` without it. Panics if there are several.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let mut values = self.fields(name);
        assert!(
            values.len() <= 1,
            "{name} came {} times: {values:?}",
            values.len()
        );
        values.pop()
    }
}

/// A connection, with or without TLS.
pub(crate) trait Wire: Read + Write {
    /// Signals the end: close_notify over TLS, nothing over plain TCP.
    fn end(&mut self);
}

impl Wire for TcpStream {
    fn end(&mut self) {}
}

impl Wire for rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    fn end(&mut self) {
        self.conn.send_close_notify();
        self.flush().ok();
    }
}

/// What happens to the connection after a response.
pub(crate) enum After {
    KeepAlive,
    Close,
    Cut,
    Reset,
}

/// One request, and the means to respond to it in any way.
pub(crate) struct Exchange<'a> {
    /// The request.
    pub(crate) request: Seen,
    /// The number of earlier requests for the same target.
    pub(crate) nth: usize,
    /// What happens to the connection when the handler returns.
    pub(crate) after: After,
    wire: &'a mut dyn Wire,
    gone: bool,
}

impl<'a> Exchange<'a> {
    /// An exchange for a request that was read from `wire`.
    pub(crate) fn new(request: Seen, nth: usize, wire: &'a mut dyn Wire) -> Self {
        Self {
            request,
            nth,
            after: After::KeepAlive,
            wire,
            gone: false,
        }
    }

    /// The request target.
    pub(crate) fn target(&self) -> String {
        self.request.target()
    }

    /// Writes exactly these bytes. Does nothing after the proxy has closed the connection.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        if !self.gone {
            self.gone = self
                .wire
                .write_all(bytes.as_ref())
                .and_then(|()| self.wire.flush())
                .is_err();
        }
    }

    /// True if the proxy has closed the connection, as far as a write has shown it.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Writes the bytes one at a time, each with its own write.
    pub(crate) fn trickle(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.send([*byte]);
        }
    }

    /// Sends a complete response with Content-Length. `fields` are header lines, each with CRLF.
    pub(crate) fn answer(&mut self, status: &str, fields: &str, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let head = format!(
            "HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let whole: &[&[u8]] = if self.request.method() == "HEAD" {
            &[head.as_bytes()]
        } else {
            &[head.as_bytes(), body]
        };
        self.send(whole.concat());
    }

    /// Sends a complete 200.
    pub(crate) fn ok(&mut self, fields: &str, body: impl AsRef<[u8]>) {
        self.answer("200 OK", fields, body);
    }

    /// Sends one chunk of a chunked body.
    pub(crate) fn chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.send([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat());
    }

    /// Sends `total` bytes of filler without holding them in memory.
    pub(crate) fn filler(&mut self, total: usize) {
        let piece = vec![b'x'; 256 * 1024];
        let mut left = total;
        while left > 0 && !self.gone {
            let size = left.min(piece.len());
            self.send(&piece[..size]);
            left -= size;
        }
    }

    /// Closes the connection cleanly when the handler returns.
    pub(crate) fn close(&mut self) {
        self.after = After::Close;
    }

    /// Closes the TCP stream when the handler returns, without the close_notify of TLS.
    pub(crate) fn cut(&mut self) {
        self.after = After::Cut;
    }

    /// Resets the connection when the handler returns.
    pub(crate) fn reset(&mut self) {
        self.after = After::Reset;
    }

    /// Reads so many bytes of the body; fewer at the end of the connection.
    pub(crate) fn read(&mut self, bytes: u64) -> Vec<u8> {
        let mut read = Vec::new();
        (&mut self.wire).take(bytes).read_to_end(&mut read).ok();
        read
    }

    /// Sends nothing until the proxy closes the connection.
    pub(crate) fn stall(&mut self) {
        // The proxy may reset the connection.
        let _ = io::copy(&mut self.wire, &mut io::sink());
        self.after = After::Close;
    }
}
