//! The limits of a reply of Redis. The crate `redis` buffers a reply as long as the server says that it is, so the
//! bytes are looked at before the crate gets them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest reply in bytes. It holds all heads at an address, and a page of the stream of events.
pub(super) const MAX_REPLY_BYTES: u64 = 16 * 1024 * 1024;
/// The most elements of an array.
const MAX_ELEMENTS: u64 = 65_536;
/// How deep arrays are nested.
const MAX_DEPTH: usize = 8;
/// The longest line that has a length, in bytes.
const MAX_LENGTH_LINE: usize = 24;

/// Why a reply is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Redis sent a reply that is too long or malformed")]
pub(super) struct ReplyRefused;

/// Follows the replies of a server, and refuses those that are too long. It does not check that a reply is valid.
#[derive(Debug, Default)]
pub(super) struct ReplyScanner {
    /// The beginning of the line that is read: its type and its length.
    line: Vec<u8>,
    /// The type of this line. `None` at its beginning.
    kind: Option<u8>,
    is_after_return: bool,
    /// The bytes of a string that are still to come.
    string_left: u64,
    /// The elements of each array that are still to come.
    open: Vec<u64>,
    /// The bytes of the present reply, as far as they are known.
    reply_bytes: u64,
}

impl ReplyScanner {
    /// Looks at the next bytes.
    ///
    /// # Errors
    /// The reply that they belong to is refused.
    pub(super) fn scan(&mut self, mut bytes: &[u8]) -> Result<(), ReplyRefused> {
        while !bytes.is_empty() {
            if self.string_left > 0 {
                let length = bytes
                    .len()
                    .min(usize::try_from(self.string_left).unwrap_or(usize::MAX));
                bytes = &bytes[length..];
                self.string_left -= length as u64;
                if self.string_left == 0 {
                    self.element_ends();
                }
                continue;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
            bytes = rest;
            self.add(line.len() as u64)?;
            self.line_part(line, end.is_some())?;
        }
        Ok(())
    }

    /// A part of a line, or its end.
    fn line_part(&mut self, part: &[u8], is_end: bool) -> Result<(), ReplyRefused> {
        let kind = match (self.kind, part.first()) {
            (Some(kind), _) => kind,
            (None, Some(first)) => *self.kind.insert(*first),
            (None, None) => return Ok(()),
        };
        let has_length = matches!(kind, b'$' | b'!' | b'=' | b'*' | b'~' | b'>' | b'%' | b'|');
        if has_length {
            self.line.extend_from_slice(part);
            if self.line.len() > MAX_LENGTH_LINE {
                return Err(ReplyRefused);
            }
        }
        // The crate ends a line at CR LF alone.
        let last = match part {
            [.., last, b'\n'] => Some(*last),
            _ => None,
        };
        let is_line = is_end && (last == Some(b'\r') || (part.len() == 1 && self.is_after_return));
        self.is_after_return = part.last() == Some(&b'\r');
        if !is_line {
            return Ok(());
        }
        self.kind = None;
        match has_length {
            false => self.element_ends(),
            true => self.begin(kind)?,
        }
        Ok(())
    }

    /// A string or an array begins.
    fn begin(&mut self, kind: u8) -> Result<(), ReplyRefused> {
        let line = std::mem::take(&mut self.line);
        let text = std::str::from_utf8(line.get(1..).unwrap_or_default());
        let length = text.ok().and_then(|text| text.trim().parse::<i64>().ok());
        let length = length.ok_or(ReplyRefused)?;
        let Ok(length) = u64::try_from(length) else {
            // Nothing: only strings and arrays have a sign for it.
            return match (kind, length) {
                (b'$' | b'*', -1) => {
                    self.element_ends();
                    Ok(())
                }
                _ => Err(ReplyRefused),
            };
        };
        let elements = match kind {
            b'$' | b'!' | b'=' => {
                self.string_left = length.checked_add(2).ok_or(ReplyRefused)?;
                return self.add(self.string_left);
            }
            b'%' => length.checked_mul(2),
            b'|' => length
                .checked_mul(2)
                .and_then(|double| double.checked_add(1)),
            _ => Some(length),
        };
        match elements {
            Some(0) => self.element_ends(),
            Some(elements) if elements <= MAX_ELEMENTS && self.open.len() < MAX_DEPTH => {
                self.open.push(elements);
            }
            _ => return Err(ReplyRefused),
        }
        Ok(())
    }

    fn element_ends(&mut self) {
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.open.pop();
        }
        self.reply_bytes = 0;
    }

    fn add(&mut self, bytes: u64) -> Result<(), ReplyRefused> {
        self.reply_bytes = self.reply_bytes.saturating_add(bytes);
        match self.reply_bytes > MAX_REPLY_BYTES {
            true => Err(ReplyRefused),
            false => Ok(()),
        }
    }
}

/// A connection whose replies are limited. After one that is refused it is broken.
#[derive(Debug)]
pub(super) struct LimitedReplies<S> {
    stream: S,
    scanner: ReplyScanner,
}

impl<S> LimitedReplies<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            scanner: ReplyScanner::default(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LimitedReplies<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        let scanned = self.scanner.scan(read);
        // The crate takes this kind as the end of the connection.
        Poll::Ready(
            scanned.map_err(|refused| io::Error::new(io::ErrorKind::ConnectionAborted, refused)),
        )
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LimitedReplies<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scans in pieces of each length.
    fn scan(bytes: &[u8]) -> Result<(), ReplyRefused> {
        let mut results = (1..=bytes.len().min(40)).map(|length| {
            let mut scanner = ReplyScanner::default();
            let result = bytes.chunks(length).try_for_each(|part| scanner.scan(part));
            if result.is_ok() {
                assert_eq!(
                    (scanner.reply_bytes, scanner.open.len()),
                    (0, 0),
                    "{bytes:?}"
                );
            }
            result
        });
        let first = results.next().unwrap_or(Ok(()));
        results.for_each(|result| assert_eq!(result, first));
        first
    }

    #[test]
    fn replies_of_all_kinds_pass() {
        for reply in [
            "+OK\r\n",
            "-ERR no\r\n",
            ":17\r\n",
            "$3\r\na\r\n\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "*0\r\n",
            "_\r\n",
            "*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
            "%1\r\n+a\r\n~2\r\n:1\r\n:2\r\n",
            "|1\r\n+a\r\n+b\r\n+OK\r\n",
            ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n+OK\r\n",
            "=7\r\ntxt:abc\r\n",
            "+a\nb\r\n",
            "$10\r\n$99999999\n\r\n",
        ] {
            assert_eq!(scan(reply.as_bytes()), Ok(()), "{reply:?}");
        }
    }

    #[test]
    fn replies_that_are_too_long_are_refused_before_they_have_come() {
        for reply in [
            "$2000000000\r\n",
            "*2000000000\r\n",
            "%40000\r\n",
            "|9223372036854775807\r\n",
            "=-1\r\n",
            "%-1\r\n",
            "$x\r\n",
            "$99999999999999999999999999999999\r\n",
            &"*2\r\n".repeat(9),
            &format!(
                "*2\r\n$9000000\r\n{}\r\n$9000000\r\n",
                "a".repeat(9_000_000)
            ),
        ] {
            let mut scanner = ReplyScanner::default();
            assert_eq!(scanner.scan(reply.as_bytes()), Err(ReplyRefused));
        }
        let mut scanner = ReplyScanner::default();
        let endless = (0..17 * 1024).try_for_each(|_| scanner.scan(&[b'+'; 1024]));
        assert_eq!(endless, Err(ReplyRefused));
    }

    #[test]
    fn many_replies_are_not_one_long_reply() {
        let mut scanner = ReplyScanner::default();
        let reply = format!("$1000000\r\n{}\r\n", "a".repeat(1_000_000));
        for _ in 0..40 {
            assert_eq!(scanner.scan(reply.as_bytes()), Ok(()));
        }
    }
}
