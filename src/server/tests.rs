//! Our decoders of requests compared with actix-http's.
//!
//! Where both accept, headers, content and ends are the same. We refuse more chunked bodies than actix-http, for the reasons
//! that [`Stricter`] lists, and accept none that it refuses.

use actix_codec::Decoder as _;
use actix_http::{
    HttpMessage as _, Payload, ServiceConfig,
    h1::{Codec, Message},
};
use bytes::BytesMut;
use futures_util::{FutureExt as _, StreamExt as _};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};

use super::{
    http1::ReceivedBody,
    request_head::{self, HeadScan},
};
use crate::origin::{Chunked, Malformed};

const CHUNKED_HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

thread_local! {
    // Made within an actix system because it starts a clock, which the decoder does not need.
    static SERVICE_CONFIG: ServiceConfig =
        actix_rt::System::new().block_on(async { ServiceConfig::default() });
}

fn codec() -> Codec {
    Codec::new(SERVICE_CONFIG.with(ServiceConfig::clone))
}

/// A chunked body as far as it was decoded.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decoded {
    content: Vec<u8>,
    /// How many bytes the body takes with its framing; `None` if it has not ended.
    end: Option<usize>,
}

/// Why we refuse a chunked body that actix-http accepts.
#[derive(Debug, PartialEq, Eq)]
enum Stricter {
    /// A line feed without a carriage return in the trailers. Parsers that take it for the end of a line see another end
    /// of the body (RFC 9112, 11.2: request smuggling).
    BareLineFeed,
    /// A chunk-size line or trailers beyond our limits. actix-http has no limit.
    TooLarge,
}

fn ours(pieces: &[&[u8]]) -> Result<Decoded, Malformed> {
    let (mut followed, mut chunked) = (Chunked::new(), Chunked::new());
    let (mut used, mut fed) = (0, 0);
    let mut received = BytesMut::new();
    let mut decoded = Decoded::default();
    for piece in pieces {
        used += followed.feed(piece)?;
        fed += piece.len();
        received.extend_from_slice(piece);
        decoded.content.extend(chunked.decode(&mut received)?);
    }
    if chunked.is_done() {
        decoded.end = Some(fed - received.len());
        assert_eq!(decoded.end, Some(used));
    }
    assert_eq!(chunked.is_done(), followed.is_done());
    Ok(decoded)
}

/// `None` if actix-http refuses the body.
fn theirs(pieces: &[&[u8]]) -> Option<Decoded> {
    let mut codec = codec();
    let mut received = BytesMut::from(CHUNKED_HEAD);
    assert!(matches!(
        codec.decode(&mut received),
        Ok(Some(Message::Item(_)))
    ));
    let mut fed = 0;
    let mut decoded = Decoded::default();
    for piece in pieces {
        fed += piece.len();
        received.extend_from_slice(piece);
        while decoded.end.is_none() {
            match codec.decode(&mut received).ok()? {
                Some(Message::Chunk(Some(bytes))) => decoded.content.extend(bytes),
                Some(Message::Chunk(None)) => decoded.end = Some(fed - received.len()),
                Some(Message::Item(request)) => panic!("{request:?} within a body"),
                None => break,
            }
        }
    }
    Some(decoded)
}

/// Why we refuse these bytes. Panics if no difference is known that explains it.
fn stricter(bytes: &[u8]) -> Stricter {
    let mut chunked = Chunked::new();
    let refused = bytes
        .iter()
        .enumerate()
        .find_map(|(at, byte)| Some((at, chunked.feed(&[*byte]).err()?)));
    let (at, malformed) = refused.unwrap();
    match (malformed, bytes[at]) {
        (Malformed::TooLarge, _) => Stricter::TooLarge,
        (Malformed::Chunk, b'\n') => Stricter::BareLineFeed,
        (malformed, byte) => panic!("{malformed} at byte {at} ({byte:#x}), of {bytes:?}"),
    }
}

fn cut<'b>(bytes: &'b [u8], cuts: &[Index]) -> Vec<&'b [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    let pieces = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
    pieces.collect()
}

#[test]
fn each_known_difference_from_actix_http_exists() {
    for (body, difference) in [
        (
            format!("{}1\r\na\r\n0\r\n\r\n", "0".repeat(5_000)),
            Stricter::TooLarge,
        ),
        ("0\r\nA: b\nC: d\r\n\r\n".to_owned(), Stricter::BareLineFeed),
        (
            format!("0;{}\r\n\r\n", "x".repeat(5_000)),
            Stricter::TooLarge,
        ),
        (
            format!("0\r\nA: {}\r\n\r\n", "x".repeat(20_000)),
            Stricter::TooLarge,
        ),
    ] {
        let pieces = [body.as_bytes()];
        assert!(ours(&pieces).is_err());
        assert_eq!(theirs(&pieces).unwrap().end, Some(body.len()));
        assert_eq!(stricter(body.as_bytes()), difference);
    }
}

/// One change to some bytes: at a place, take away so many and put in others.
type Mutation = (Index, usize, Vec<u8>);

fn mutation() -> impl Strategy<Value = Mutation> {
    let byte = prop_oneof![select(&b"\r\n; \t0aF:=\"\x00\x7f\xff"[..]), any::<u8>()];
    (any::<Index>(), 0_usize..3, vec(byte, 0..3))
}

fn mutate(mut bytes: Vec<u8>, mutations: Vec<Mutation>) -> Vec<u8> {
    for (place, removed, added) in mutations {
        let start = place.index(bytes.len() + 1);
        let end = (start + removed).min(bytes.len());
        bytes.splice(start..end, added);
    }
    bytes
}

/// A valid chunked body: sizes with leading zeros, extensions and trailers.
fn chunked_body() -> impl Strategy<Value = Vec<u8>> {
    let line = "[0-9]{0,2}[ \t]{0,2}(;[a-z =\"\\x80]{0,8})?";
    let chunk = (vec(any::<u8>(), 1..40), "0{0,3}", line);
    let trailers = "([A-Z]: [a-z]{0,3}\r\n){0,3}";
    (vec(chunk, 0..5), "0{1,4}", trailers).prop_map(|(chunks, zeros, trailers)| {
        let mut body = Vec::new();
        for (content, zeros, line) in chunks {
            let extension = line.trim_start_matches(|digit: char| digit.is_ascii_digit());
            body.extend(format!("{zeros}{:X}{extension}\r\n", content.len()).into_bytes());
            body.extend(content);
            body.extend(b"\r\n");
        }
        body.extend(format!("{zeros}\r\n{trailers}\r\n").into_bytes());
        body
    })
}

/// A request as it was decoded.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    target: String,
    fields: Vec<(String, Vec<u8>)>,
    content: Vec<u8>,
    /// Where it ends in all that was sent.
    end: usize,
}

impl Request {
    /// A request whose body is still to come.
    fn with_head(request: &actix_http::Request) -> Self {
        let fields = request.headers().iter();
        let mut fields: Vec<_> = fields
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect();
        fields.sort();
        Self {
            target: request.uri().to_string(),
            fields,
            content: Vec::new(),
            end: 0,
        }
    }
}

/// The complete requests in what actix-http gets at once, and whether it refused the bytes after them.
fn decoded_at_once(bytes: &[u8]) -> (Vec<Request>, bool) {
    let mut codec = codec();
    let mut received = BytesMut::from(bytes);
    let mut requests = Vec::new();
    let mut current: Option<Request> = None;
    loop {
        let message = match codec.decode(&mut received) {
            Ok(Some(message)) => message,
            Ok(None) => return (requests, false),
            Err(_) => return (requests, true),
        };
        let has_body = match message {
            Message::Item(request) => {
                current = Some(Request::with_head(&request));
                codec.message_type() != actix_http::h1::MessageType::None
            }
            Message::Chunk(Some(bytes)) => {
                current.as_mut().unwrap().content.extend(bytes);
                true
            }
            Message::Chunk(None) => false,
        };
        if !has_body {
            let mut request = current.take().unwrap();
            request.end = bytes.len() - received.len();
            requests.push(request);
        }
    }
}

/// What follows the complete requests.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    /// Bytes that are refused.
    Refused,
    /// A head that is not complete, or nothing. It is not judged before it is complete.
    Head,
    /// A body that is not complete.
    Body,
}

/// The complete requests that we decode from these pieces, and what follows them.
fn decoded_by_us(pieces: &[&[u8]]) -> (Vec<Request>, Left) {
    let mut input = BytesMut::new();
    let mut requests = Vec::new();
    let mut current: Option<(Request, ReceivedBody, Payload)> = None;
    let mut received = 0;
    for piece in pieces {
        input.extend_from_slice(piece);
        received += piece.len();
        loop {
            let Some((request, body, payload)) = &mut current else {
                let Some(end) = HeadScan::default().end(&input) else {
                    break;
                };
                let head = input.split_to(end).freeze();
                let mut request = actix_http::Request::new();
                let Ok(parsed) = request_head::parse(&head, request.head_mut()) else {
                    return (requests, Left::Refused);
                };
                let (body, payload) = ReceivedBody::new(parsed.fields.framing);
                current = Some((Request::with_head(&request), body, payload));
                continue;
            };
            body.feed(&mut input);
            while let Some(Some(piece)) = payload.next().now_or_never() {
                match piece {
                    Ok(piece) => request.content.extend(piece),
                    Err(_) => return (requests, Left::Refused),
                }
            }
            if !body.is_complete() {
                break;
            }
            request.end = received - input.len();
            requests.extend(current.take().map(|(request, ..)| request));
        }
    }
    let left = match current {
        Some(_) => Left::Body,
        None => Left::Head,
    };
    (requests, left)
}

/// A valid request, at times after empty lines and with bare line feeds.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let head = |method: &'static str, body: String| {
        ("(\r\n|\n){0,2}", "/[a-z]{0,3}", "\r?\n").prop_map(move |(before, target, end)| {
            let head = format!("{before}{method} {target} HTTP/1.1{end}Host: a{end}{body}{end}");
            head.into_bytes()
        })
    };
    let sized = vec(any::<u8>(), 0..30).prop_flat_map(move |content| {
        head("PUT", format!("Content-Length: {}\r\n", content.len()))
            .prop_map(move |head| [head, content.clone()].concat())
    });
    let chunked = chunked_body().prop_flat_map(move |body| {
        head("POST", "Transfer-Encoding: chunked\r\n".to_owned())
            .prop_map(move |head| [head, body.clone()].concat())
    });
    prop_oneof![
        head("GET", String::new()),
        head("HEAD", "Accept: */*\r\n".to_owned()),
        sized,
        chunked
    ]
}

proptest! {
    #[test]
    fn a_valid_chunked_body_is_decoded_as_actix_http_decodes_it(
        body in chunked_body(),
        surplus: Vec<u8>,
        cuts: Vec<Index>,
    ) {
        let length = body.len();
        let bytes = [body, surplus].concat();
        let pieces = cut(&bytes, &cuts);
        let decoded = theirs(&pieces).unwrap();
        prop_assert_eq!(decoded.end, Some(length));
        prop_assert_eq!(ours(&pieces), Ok(decoded));
    }

    #[test]
    fn a_mutated_chunked_body_is_decoded_as_actix_http_decodes_it_or_refused_for_a_known_reason(
        body in chunked_body(),
        mutations in vec(mutation(), 1..4),
        nearly in "([0-9a-fA-F]{1,17}[ \t;a]{0,2}\r?\n[a-c]{0,5}\r?\n?){0,4}(0\r\n(A: b\r?\n){0,2}\r\n)?G?",
        cuts: Vec<Index>,
    ) {
        for bytes in [mutate(body, mutations), nearly.into_bytes()] {
            let pieces = cut(&bytes, &cuts);
            match (ours(&pieces), theirs(&pieces)) {
                (Ok(ours), theirs) => prop_assert_eq!(Some(ours), theirs),
                (Err(_), None) => {}
                (Err(_), Some(_)) => {
                    stricter(&bytes);
                }
            }
        }
    }

    #[test]
    fn pipelined_requests_end_where_actix_http_ends_them(
        requests in vec(request(), 1..5),
        cuts: Vec<Index>,
    ) {
        let mut ends = Vec::new();
        for request in &requests {
            ends.push(ends.last().unwrap_or(&0) + request.len());
        }
        let bytes = requests.concat();
        let (at_once, refused) = decoded_at_once(&bytes);
        prop_assert!(!refused);
        let found: Vec<usize> = at_once.iter().map(|request| request.end).collect();
        prop_assert_eq!(found, ends);
        prop_assert_eq!(decoded_by_us(&cut(&bytes, &cuts)), (at_once, Left::Head));
    }

    #[test]
    fn mutated_requests_are_decoded_as_actix_http_decodes_them_or_refused(
        requests in vec(request(), 1..4),
        mutations in vec(mutation(), 1..4),
        cuts: Vec<Index>,
    ) {
        let bytes = mutate(requests.concat(), mutations);
        let (at_once, refused) = decoded_at_once(&bytes);
        let (ours, left) = decoded_by_us(&cut(&bytes, &cuts));
        // We refuse some chunked bodies that actix-http accepts, and no request beside them.
        prop_assert!(at_once.starts_with(&ours));
        if left != Left::Refused {
            prop_assert_eq!(ours, at_once);
            prop_assert!(!refused || left == Left::Head);
        }
    }
}
