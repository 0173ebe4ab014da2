//! What a test's origin is given to answer one request, in any way at all, and what it remembers of it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Arc, Condvar, Mutex},
};

use crate::harness::DEADLINE;

/// Something a test opens and an origin waits for (or the other way round).
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets everybody through, now and later.
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
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

/// One request as it came over the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Request line and fields, byte for byte, with the empty line.
    pub(crate) head: Vec<u8>,
    /// The body, decoded if it came in chunks.
    pub(crate) body: Vec<u8>,
    /// Which connection it came over, counted from 0.
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

    /// All values of a field, in order, as latin-1.
    pub(crate) fn fields(&self, name: &str) -> Vec<String> {
        let head = latin1(&self.head);
        let lines = head.split("\r\n").skip(1);
        let pairs = lines.filter_map(|line| line.split_once(':'));
        pairs
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim().to_owned())
            .collect()
    }

    /// The only value of a field; fails when there are several.
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

/// Bytes as text, one character a byte.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// A connection, with or without TLS.
pub(crate) trait Wire: Read + Write {
    /// Says in the wire's own words that nothing more comes.
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

/// What becomes of the connection after an answer.
pub(crate) enum After {
    KeepAlive,
    Close,
    Cut,
    Reset,
}

/// One request and the means to answer it in any way at all.
pub(crate) struct Exchange<'a> {
    /// What was asked.
    pub(crate) request: Seen,
    /// How many requests for the same target came before this one.
    pub(crate) nth: usize,
    /// What becomes of the connection.
    pub(crate) after: After,
    wire: &'a mut dyn Wire,
    gone: bool,
}

impl<'a> Exchange<'a> {
    /// The request as it was read from this wire.
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

    /// Writes exactly these bytes. Once the proxy has hung up nothing more happens.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        if !self.gone {
            self.gone = self
                .wire
                .write_all(bytes.as_ref())
                .and_then(|()| self.wire.flush())
                .is_err();
        }
    }

    /// Writes the bytes one at a time, each in a segment of its own.
    pub(crate) fn trickle(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.send([*byte]);
        }
    }

    /// A complete answer with Content-Length; `fields` are whole lines, each ended by CRLF.
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

    /// A complete 200.
    pub(crate) fn ok(&mut self, fields: &str, body: impl AsRef<[u8]>) {
        self.answer("200 OK", fields, body);
    }

    /// One chunk of a chunked body.
    pub(crate) fn chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.send([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat());
    }

    /// Sends `total` bytes of filler, made on the fly.
    pub(crate) fn filler(&mut self, total: usize) {
        let piece = vec![b'x'; 256 * 1024];
        let mut left = total;
        while left > 0 && !self.gone {
            let size = left.min(piece.len());
            self.send(&piece[..size]);
            left -= size;
        }
    }

    /// Closes the connection in good order when the handler returns.
    pub(crate) fn close(&mut self) {
        self.after = After::Close;
    }

    /// Ends the TCP stream when the handler returns, without the close_notify that TLS wants.
    pub(crate) fn cut(&mut self) {
        self.after = After::Cut;
    }

    /// Resets the connection when the handler returns.
    pub(crate) fn reset(&mut self) {
        self.after = After::Reset;
    }

    /// Says nothing until the proxy hangs up.
    pub(crate) fn stall(&mut self) {
        while matches!(self.wire.read(&mut [0; 4096]), Ok(read) if read > 0) {}
        self.after = After::Close;
    }
}
