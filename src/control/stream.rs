//! A response over a socket that is read while it arrives.

use std::{
    io::{self, BufRead as _, BufReader, Read},
    os::unix::net::UnixStream,
};

use super::{
    ControlError,
    client::{ControlRequest, refusal},
};

/// The longest head of a response, and the longest refusal, in bytes.
const MAX_HEAD_BYTES: u64 = 64 * 1024;
const MAX_HEADERS: usize = 32;

/// The body of a response in chunked coding (RFC 9112, 7.1), which ends only with its last chunk.
#[derive(Debug)]
pub struct ResponseStream {
    from: BufReader<UnixStream>,
    /// What is left of the chunk, in bytes; `None` after the last one.
    left: Option<u64>,
}

impl ResponseStream {
    /// Reads the head of the response to a request that was sent over `stream`.
    pub(super) fn begin(stream: UnixStream) -> Result<Self, ControlError> {
        let mut from = BufReader::new(stream);
        let head = read_head(&mut from).map_err(|_| ControlError::Answer)?;
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut fields);
        if !response
            .parse(&head)
            .is_ok_and(|parsed| parsed.is_complete())
        {
            return Err(ControlError::Answer);
        }
        let status = response.code.ok_or(ControlError::Answer)?;
        let is_chunked = response.headers.iter().any(|field| {
            field.name.eq_ignore_ascii_case("transfer-encoding")
                && field.value.eq_ignore_ascii_case(b"chunked")
        });
        if status == 200 && is_chunked {
            return Ok(Self {
                from,
                left: Some(0),
            });
        }
        let mut body = Vec::new();
        let read = from.take(MAX_HEAD_BYTES).read_to_end(&mut body);
        read.map_err(|_| ControlError::Answer)?;
        Err(refusal(status, &body).unwrap_or(ControlError::Answer))
    }

    /// Reads the line before the next chunk, and the end of the one before.
    fn next_chunk(&mut self) -> io::Result<()> {
        let mut line = self.line()?;
        if line.is_empty() {
            // The end of the chunk before.
            line = self.line()?;
        }
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16);
        let size = size.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        self.left = (size > 0).then_some(size);
        Ok(())
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.from
            .by_ref()
            .take(MAX_HEAD_BYTES)
            .read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Read for ResponseStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == Some(0) {
            self.next_chunk()?;
        }
        let Some(left) = self.left else {
            return Ok(0);
        };
        let most = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = self.from.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = Some(left - read as u64);
        Ok(read)
    }
}

fn read_head(from: &mut impl io::BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut from = from.take(MAX_HEAD_BYTES);
    while !head.ends_with(b"\r\n\r\n") {
        if from.read_until(b'\n', &mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// Sends a request, whose response is read while it arrives.
pub(super) fn open(
    socket: &std::path::Path,
    command: ControlRequest<'_>,
    limit: std::time::Duration,
) -> Result<ResponseStream, ControlError> {
    ResponseStream::begin(super::client::send(socket, command, limit)?)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn answered(answer: &[u8]) -> Result<io::Result<Vec<u8>>, ControlError> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(answer).unwrap();
        drop(theirs);
        let mut stream = ResponseStream::begin(ours)?;
        let mut body = Vec::new();
        Ok(stream.read_to_end(&mut body).map(|_| body))
    }

    #[test]
    fn chunks_are_joined_and_a_missing_end_is_an_error() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (body, expected) in [
            ("3\r\nabc\r\n1;x\r\nd\r\n0\r\n\r\n", Some("abcd")),
            ("0\r\n\r\n", Some("")),
            ("3\r\nabc\r\n", None),
            ("3\r\nab", None),
            ("x\r\n", None),
            ("", None),
        ] {
            let read = answered(format!("{head}{body}").as_bytes()).unwrap().ok();
            assert_eq!(read.as_deref(), expected.map(str::as_bytes), "{body:?}");
        }
    }

    #[test]
    fn a_refusal_is_an_error_with_its_sentence() {
        let refused = answered(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nwhy");
        let Err(ControlError::Refused { sentence }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(sentence, "why");
        for other in ["", "HTTP/1.1 200 OK\r\n\r\n", "hello\r\n\r\n"] {
            let answered = answered(other.as_bytes());
            assert!(matches!(answered, Err(ControlError::Answer)), "{other:?}");
        }
    }
}
