//! What `h2` makes of frames that went through the filter, and of the same frames without it.

mod damaged_blocks;
mod round_trip;

use std::task::Waker;

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::*;
use crate::server::http2::settings;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// How often a connection is found without input before it ends. Its requests are taken until then.
const WAITS: usize = 50;

/// A connection whose client sends `input` in pieces, and then ends. Each piece arrives when the one before was used.
struct Script {
    input: Vec<u8>,
    piece: usize,
    waits: usize,
}

impl Script {
    fn new(input: &[u8], piece: usize) -> Self {
        Self {
            input: input.to_vec(),
            piece,
            waits: 0,
        }
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = if self.input.is_empty() { WAITS } else { 1 };
        self.waits += 1;
        if self.waits <= most {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.waits = 0;
        let length = self.piece.min(buffer.remaining()).min(self.input.len());
        buffer.put_slice(&self.input[..length]);
        self.input.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A connection behind a filter; the filter is `None` if all passes as it comes.
struct Filtered<T> {
    stream: T,
    filter: Option<FrameFilter>,
    watch: FrameWatch,
}

impl<T> Filtered<T> {
    fn new(stream: T, is_filtered: bool) -> Self {
        Self {
            stream,
            filter: is_filtered.then(|| FrameFilter::new(BytesMut::new())),
            watch: FrameWatch::new(Instant::now()),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Filtered<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match &mut this.filter {
            Some(filter) => filter.poll_read(&mut this.stream, &mut this.watch, context, buffer),
            None => Pin::new(&mut this.stream).poll_read(context, buffer),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Filtered<T> {
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

/// A request as `h2` has read it.
type Read = (String, Vec<(String, Vec<u8>)>, bool);

fn read_of(request: &http::Request<h2::RecvStream>) -> Read {
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    let line = format!("{} {}", request.method(), request.uri());
    (line, fields.collect(), request.body().is_end_stream())
}

/// The requests that `h2` has read, and the error with which the connection has ended.
#[derive(Debug, PartialEq)]
struct Outcome {
    requests: Vec<Read>,
    error: Option<String>,
}

/// What `h2` makes of these bytes of a client.
fn outcome(input: &[u8], piece: usize, is_filtered: bool) -> Outcome {
    let mut found = Outcome {
        requests: Vec::new(),
        error: None,
    };
    wait(async {
        let stream = Filtered::new(Script::new(input, piece), is_filtered);
        let mut open = Vec::new();
        let mut connection = match settings().handshake::<_, Bytes>(stream).await {
            Ok(connection) => connection,
            Err(error) => {
                found.error = Some(error.to_string());
                return;
            }
        };
        while let Some(accepted) = connection.accept().await {
            match accepted {
                Ok((request, response)) => {
                    found.requests.push(read_of(&request));
                    open.push((request, response));
                }
                Err(error) => {
                    found.error = Some(error.to_string());
                    return;
                }
            }
        }
    });
    found
}

fn wait<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

/// What goes to `h2` of these bytes, which arrive in pieces.
fn filtered(input: &[u8], piece: usize) -> Vec<u8> {
    let mut filter = FrameFilter::new(BytesMut::new());
    let mut watch = FrameWatch::new(Instant::now());
    let mut script = Script::new(input, piece);
    let mut context = Context::from_waker(Waker::noop());
    let mut given = Vec::new();
    loop {
        let mut room = [0; 3000];
        let mut buffer = ReadBuf::new(&mut room);
        let read = filter.poll_read(&mut script, &mut watch, &mut context, &mut buffer);
        if read.is_pending() {
            continue;
        }
        if buffer.filled().is_empty() {
            return given;
        }
        given.extend_from_slice(buffer.filled());
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head[..], payload].concat()
}

/// The preface, and HEADERS with these blocks, each with its flags.
fn connection(blocks: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    for (stream, (flags, block)) in (1..).step_by(2).zip(blocks) {
        bytes.extend(frame(HEADERS, *flags, stream, block));
    }
    bytes
}

/// The lines of the requests, and whether the connection had an error.
fn lines(input: &[u8], piece: usize) -> (Vec<String>, bool) {
    let outcome = outcome(input, piece, true);
    let lines = outcome.requests.into_iter().map(|(line, ..)| line);
    (lines.collect(), outcome.error.is_some())
}

const ALL: u8 = END_STREAM | END_HEADERS;

#[test]
fn a_path_is_encoded_wherever_its_block_is_in_pieces() {
    // RFC 7541, appendix A: 2 is GET, 6 is http, 1 is :authority, 4 is :path.
    let plain = &b"\x82\x86\x41\x01a\x44\x02/b"[..];
    let quoted = &b"\x82\x86\xbf\x44\x05/c\"?<"[..];
    let again = &b"\x82\x86\xc0\xbe"[..];
    let never = &b"\x82\x86\xbf\x14\x03/\xc3\xbc"[..];
    let input = connection(&[
        (ALL, plain),
        (ALL, quoted),
        (ALL, again),
        (ALL, plain),
        (ALL, never),
    ]);
    for piece in [1, 2, 7, 9, 30, 1000] {
        let (lines, has_error) = lines(&input, piece);
        let expected = [
            "GET http://a/b",
            "GET http://a/c%22?%3C",
            "GET http://a/c%22?%3C",
            "GET http://a/b",
            "GET http://a/%C3%BC",
        ];
        assert_eq!(
            (&lines[..], has_error),
            (&expected.map(str::to_owned)[..], false)
        );
    }
}

#[test]
fn padding_priority_and_continuations_are_read_before_a_path_is_encoded() {
    let priority = [0, 0, 0, 0, 16];
    let padded = [
        &[3][..],
        &priority,
        b"\x82\x86\x41\x01a\x44\x03/\"a",
        b"\0\0\0",
    ]
    .concat();
    let mut input = connection(&[(ALL | PADDED | PRIORITY, &padded)]);
    input.extend(frame(HEADERS, END_STREAM, 3, b"\x82\x86\xbf\x04\x07/<"));
    input.extend(frame(CONTINUATION, 0, 3, b"def?g\x40\x01"));
    input.extend(frame(CONTINUATION, END_HEADERS, 3, b"b\x01c"));
    for piece in [1, 13, 1000] {
        let outcome = outcome(&input, piece, true);
        let [first, second] = &outcome.requests[..] else {
            panic!("{outcome:?}");
        };
        assert_eq!(first.0, "GET http://a/%22a");
        assert_eq!(second.0, "GET http://a/%3Cdef?g");
        assert_eq!(second.1, [("b".to_owned(), b"c".to_vec())]);
        assert!(first.2 && second.2);
    }
}

#[test]
fn a_list_that_is_large_when_it_is_encoded_has_continuations() {
    let value = "x".repeat(16_000);
    let field = [&b"\0\x01b\x7f\x81\x7c"[..], value.as_bytes()].concat();
    let mut input = connection(&[(END_STREAM, b"\x82\x86\x41\x01a\x04\x02/\"")]);
    for flags in [0, 0, END_HEADERS] {
        input.extend(frame(CONTINUATION, flags, 1, &field));
    }
    let outcome = outcome(&input, 1000, true);
    let [(line, fields, true)] = &outcome.requests[..] else {
        panic!("{:?}", outcome.error);
    };
    assert_eq!(line, "GET http://a/%22");
    let expected = ("b".to_owned(), value.into_bytes());
    assert_eq!(fields[..], [expected.clone(), expected.clone(), expected]);
}

#[test]
fn a_block_that_grows_when_it_is_decoded_is_written_in_part() {
    let field = [&b"\x40\x01a\x7f\xa1\x1e"[..], &[b'x'; 4000]].concat();
    let bomb = [
        &b"\x82\x86\x41\x01a\x04\x02/\""[..],
        &field,
        &[0xbe; 10_000],
    ]
    .concat();
    let input = connection(&[(ALL, &bomb), (ALL, b"\x82\x84\x86\xbf")]);
    let given = filtered(&input, 100_000);
    assert!(given.len() < 72 * 1024, "{}", given.len());
    // `h2` refuses the first, and the table is that of the client all the same.
    assert_eq!(
        lines(&input, 1000),
        (vec!["GET http://a/".to_owned()], false)
    );
}

#[test]
fn a_malformed_block_after_an_encoded_path_ends_the_connection() {
    let quoted = &b"\x82\x86\x41\x01a\x44\x02/\""[..];
    let good = frame(HEADERS, ALL, 5, b"\x82\x84\x86\x41\x01a");
    for malformed in [
        frame(HEADERS, ALL, 3, b"\x82\x84\x86\xc1"),
        frame(HEADERS, ALL, 3, b"\x82\x84\x86\x41\x05a"),
        frame(HEADERS, ALL, 3, b"\x82\x84\x86\x41\x81\x00"),
        frame(HEADERS, ALL, 3, b"\x82\x84\x86\xbe\x20"),
        frame(HEADERS, ALL, 3, b"\x3f\xe2\x1f\x82\x84\x86\xbe"),
        frame(HEADERS, ALL | PADDED, 3, b"\x05\x82\x84\x86\xbe"),
        frame(HEADERS, ALL | PRIORITY, 3, b"\x82\x84\x86\xbe"),
        frame(HEADERS, END_STREAM, 3, b"\x82\x84\x86\xbe"),
        frame(CONTINUATION, END_HEADERS, 3, b"\x82\x84\x86\xbe"),
        frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x02\x82\x84\x86\xbe"),
        frame(HEADERS, ALL, 3, &[0; 20_000]),
    ] {
        let input = [connection(&[(ALL, quoted)]), malformed, good.clone()].concat();
        for piece in [1, 7] {
            let found = lines(&input, piece);
            assert_eq!(found, (vec!["GET http://a/%22".to_owned()], true));
        }
    }
}

#[test]
fn a_frame_that_is_cut_by_the_end_of_the_connection_is_passed_on() {
    let whole = connection(&[(ALL, b"\x82\x84\x86\x41\x01a")]);
    for length in [whole.len() - 1, whole.len() - 10, PREFACE.len() + 3] {
        let input = &whole[..length];
        assert_eq!(filtered(input, 7), input);
    }
}

#[test]
fn small_data_frames_that_arrive_together_are_joined() {
    let small = |flags, stream, length| frame(DATA, flags, stream, &vec![b'x'; length]);
    let input = [
        PREFACE.to_vec(),
        small(0, 1, 1),
        small(0, 1, 255),
        // Another stream, an empty frame, a large and a padded one.
        small(0, 3, 2),
        small(0, 1, 3),
        small(0, 1, 0),
        small(0, 1, 4),
        small(0, 1, 256),
        small(PADDED, 1, 5),
        small(0, 1, 6),
        small(END_STREAM, 1, 7),
        // Not allowed, which `h2` shall see.
        small(0, 1, 8),
    ];
    let joined = [
        PREFACE.to_vec(),
        small(0, 1, 256),
        small(0, 3, 2),
        small(0, 1, 3),
        small(0, 1, 0),
        small(0, 1, 4),
        small(0, 1, 256),
        small(PADDED, 1, 5),
        small(END_STREAM, 1, 13),
        small(0, 1, 8),
    ];
    assert_eq!(filtered(&input.concat(), 10_000), joined.concat());
    // One by one they pass as they come.
    assert_eq!(filtered(&input.concat(), 1), input.concat());
}

#[test]
fn joined_data_frames_are_no_longer_than_a_frame_may_be() {
    let one = frame(DATA, 0, 1, &[b'x'; 200]);
    let given = filtered(&[PREFACE.to_vec(), one.repeat(100)].concat(), 100_000);
    let mut rest = &given[PREFACE.len()..];
    let mut lengths = Vec::new();
    while let Some(start) = FrameStart::parse(rest) {
        lengths.push(start.length);
        rest = &rest[FRAME_HEAD_BYTES + start.length..];
    }
    assert_eq!(lengths.iter().sum::<usize>(), 20_000);
    assert!(
        lengths
            .iter()
            .all(|length| (200..=MAX_PAYLOAD_BYTES).contains(length))
    );
    assert!(lengths.len() < 20, "{lengths:?}");
}
