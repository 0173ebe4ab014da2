//! Heads and bodies, without a connection.

use actix_web::http::{
    Method,
    header::{self, HeaderName},
};
use bytes::BytesMut;
use proptest::prelude::*;

use super::peer::values;
use crate::origin::{
    Expectation, body_decoder::BodyDecoder, framing::*, heads::HeadSearch, malformed::Malformed,
};

fn head_for(method: &Method, text: &str) -> Result<ResponseHead, Malformed> {
    match parse_head(text.as_bytes(), 0, method)? {
        Parsed::Final { head, head_bytes } => {
            assert_eq!(head_bytes, text.len());
            Ok(head)
        }
        other => panic!("{text:?} is {other:?}"),
    }
}

fn head(fields: &str) -> Result<ResponseHead, Malformed> {
    head_for(&Method::GET, &format!("HTTP/1.1 200 OK\r\n{fields}\r\n"))
}

#[test]
fn the_end_of_the_head_is_found_in_single_byte_steps() {
    let text = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody";
    for length in 0..text.len() {
        let expected = (length >= 25).then_some(25);
        for searched in 0..=length.min(24) {
            assert_eq!(
                head_end(&text[..length], searched),
                expected,
                "{length} after {searched}"
            );
        }
    }
    assert_eq!(head_end(b"HTTP/1.1 200\nA: b\n\nx", 0), Some(19));
}

#[test]
fn framing_follows_rfc_9112_6_3() {
    use BodyFraming::*;
    use Persistence::*;
    for (fields, framing, persistence) in [
        ("Content-Length: 5\r\n", Length(5), Reusable),
        (
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            Length(5),
            Reusable,
        ),
        ("Content-Length: 5, 05\r\n", Length(5), Reusable),
        ("Content-Length: 0\r\n", Length(0), Reusable),
        (
            "Content-Length: 5\r\nConnection: foo, Close\r\n",
            Length(5),
            Close,
        ),
        ("Transfer-Encoding: Chunked\r\n", Chunked, Reusable),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            Chunked,
            Close,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: x\r\n",
            Chunked,
            Close,
        ),
        (
            "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
            Length(5),
            Close,
        ),
        ("", UntilClose, Close),
    ] {
        let head = head(fields).unwrap();
        assert_eq!(
            (head.framing, head.persistence),
            (framing, persistence),
            "{fields:?}"
        );
        let lengths: Vec<_> = head.headers.get_all(&header::CONTENT_LENGTH).collect();
        match framing {
            Length(bytes) => assert_eq!(lengths, [bytes.to_string().as_bytes()]),
            _ => assert!(lengths.is_empty(), "{fields:?}"),
        }
    }
}

#[test]
fn http_1_0_is_never_reused() {
    let head = head_for(
        &Method::GET,
        "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n",
    );
    assert_eq!(head.unwrap().persistence, Persistence::Close);
}

#[test]
fn head_204_and_304_have_no_body_and_keep_their_length() {
    for (method, line) in [
        (Method::HEAD, "200 OK"),
        (Method::GET, "204 No Content"),
        (Method::GET, "304 Not Modified"),
    ] {
        let text =
            format!("HTTP/1.1 {line}\r\nContent-Length: 500\r\nTransfer-Encoding: chunked\r\n\r\n");
        let head = head_for(&method, &text).unwrap();
        assert_eq!(
            (head.framing, head.persistence),
            (BodyFraming::None, Persistence::Reusable)
        );
        assert_eq!(values(&head.headers, "content-length"), ["500"]);
    }
}

#[test]
fn ambiguous_lengths_and_codings_are_refused() {
    for (fields, malformed) in [
        (
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            Malformed::ContentLength,
        ),
        ("Content-Length: 5, 6\r\n", Malformed::ContentLength),
        ("Content-Length: +5\r\n", Malformed::ContentLength),
        ("Content-Length: -1\r\n", Malformed::ContentLength),
        ("Content-Length:\r\n", Malformed::ContentLength),
        ("Content-Length: 5,\r\n", Malformed::ContentLength),
        ("Content-Length: 0x5\r\n", Malformed::ContentLength),
        (
            "Content-Length: 18446744073709551616\r\n",
            Malformed::ContentLength,
        ),
        ("Transfer-Encoding: gzip\r\n", Malformed::TransferEncoding),
        (
            "Transfer-Encoding: gzip\r\nContent-Length: 5\r\n",
            Malformed::TransferEncoding,
        ),
        (
            "Transfer-Encoding: chunked, foo\r\n",
            Malformed::TransferEncoding,
        ),
        (
            "Transfer-Encoding: chunked;q=1\r\n",
            Malformed::TransferEncoding,
        ),
        (
            "Transfer-Encoding: gzip, chunked\r\n",
            Malformed::TransferEncoding,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            Malformed::TransferEncoding,
        ),
        ("no colon\r\n", Malformed::Head),
        ("a\0b: c\r\n", Malformed::Head),
    ] {
        assert_eq!(head(fields).unwrap_err(), malformed, "{fields:?}");
    }
}

#[test]
fn headers_stay_as_received() {
    let text =
        b"HTTP/1.1 299 \xe4\r\nX: 1\r\nY: \xfc\r\nx: 2\r\nZ : folded\r\n  value\r\nE:\r\n\r\n";
    let Parsed::Final { head, .. } = parse_head(text, 0, &Method::GET).unwrap() else {
        panic!("not final")
    };
    assert_eq!(head.status, 299);
    assert_eq!(values(&head.headers, "x"), ["1", "2"]);
    assert_eq!(
        head.headers.get(&HeaderName::from_static("y")),
        Some(&b"\xfc"[..])
    );
    assert_eq!(values(&head.headers, "z"), ["folded value"]);
    assert_eq!(values(&head.headers, "e"), [""]);
}

#[test]
fn interim_and_final_responses_are_distinguished() {
    for code in [100, 102, 103, 199] {
        let text = format!("HTTP/1.1 {code} \r\nLink: </a>\r\n\r\nHTTP/1.1 200");
        let parsed = parse_head(text.as_bytes(), 0, &Method::GET).unwrap();
        let Parsed::Interim {
            status,
            headers,
            head_bytes,
        } = parsed
        else {
            panic!("{code}: {parsed:?}")
        };
        assert_eq!(status, code);
        assert_eq!(values(&headers, "link"), ["</a>"]);
        assert_eq!(&text[head_bytes..], "HTTP/1.1 200");
    }
}

#[test]
fn a_101_is_accepted_only_to_the_protocol_that_was_offered() {
    let accepted = |offer, fields: &str| {
        let head = format!("HTTP/1.1 101 \r\n{fields}\r\nframe");
        let mut received = BytesMut::from(head.as_bytes());
        let mut search = HeadSearch::new(Expectation::Nothing, offer);
        let head = search.take(&mut received, &Method::GET, None)?;
        assert_eq!(received, "frame");
        Ok(head.unwrap().status.as_u16())
    };
    for fields in [
        "Upgrade: websocket\r\n",
        "upgrade: ,WebSocket\r\nConnection: Upgrade\r\n",
    ] {
        assert_eq!(accepted(UpgradeOffer::WebSocket, fields), Ok(101));
        let refused = Err(Malformed::Upgrade);
        assert_eq!(accepted(UpgradeOffer::Nothing, fields), refused);
    }
    for fields in [
        "",
        "Upgrade: foo/2\r\n",
        "Upgrade: websocket2\r\n",
        "Upgrade: websocket, foo\r\n",
        "Upgrade: foo\r\nUpgrade: websocket\r\n",
    ] {
        let refused = Err(Malformed::OtherProtocol);
        assert_eq!(
            accepted(UpgradeOffer::WebSocket, fields),
            refused,
            "{fields}"
        );
    }
}

#[test]
fn heads_are_bounded_in_bytes_and_lines() {
    let endless = vec![b'a'; MAX_HEAD_BYTES + 1];
    assert_eq!(
        parse_head(&endless, 0, &Method::GET).unwrap_err(),
        Malformed::TooLarge
    );
    let long = format!(
        "HTTP/1.1 200 OK\r\nA: {}\r\n\r\n",
        "x".repeat(MAX_HEAD_BYTES)
    );
    assert_eq!(
        parse_head(long.as_bytes(), 0, &Method::GET).unwrap_err(),
        Malformed::TooLarge
    );
    assert_eq!(
        head(&"A: b\r\n".repeat(1001)).unwrap_err(),
        Malformed::TooLarge
    );
    assert!(head(&"A: b\r\n".repeat(1000)).is_ok());
}

#[test]
fn a_body_of_known_length_ends_there() {
    let mut decoder = BodyDecoder::new(BodyFraming::Length(5));
    let mut received = BytesMut::from("abc");
    assert_eq!(decoder.take(&mut received).unwrap(), "abc");
    assert!(!decoder.is_done());
    received.extend_from_slice(b"defg");
    assert_eq!(decoder.take(&mut received).unwrap(), "de");
    assert!(decoder.is_done());
    assert_eq!(received, "fg");
}

proptest! {
    #[test]
    fn a_head_ends_with_the_first_empty_line(bytes in "[a\r\n]{0,12}") {
        let bytes = bytes.as_bytes();
        let ends = (0..=bytes.len()).filter(|end| {
            bytes[..*end].ends_with(b"\n\n") || bytes[..*end].ends_with(b"\n\r\n")
        });
        prop_assert_eq!(head_end(bytes, 0), ends.min());
    }

    #[test]
    fn any_bytes_are_a_head_within_them_or_none(
        bytes: Vec<u8>,
        nearly in "HTTP/1[.][01] [0-9]{3}( [a-z]{0,3})?\r?\n((content-length|transfer-encoding|a|connection) ?: ?([0-9,]{0,21}|chunked|gzip, chunked|close)\r?\n){0,3}\r?\n[a-z]{0,3}",
        searched: prop::sample::Index,
    ) {
        for bytes in [bytes.as_slice(), nearly.as_bytes()] {
            let end = head_end(bytes, 0);
            // A search continued from any place before the end finds the same.
            let searched = searched.index(end.unwrap_or(bytes.len()).max(1));
            prop_assert_eq!(head_end(bytes, searched), end);
            for method in [Method::GET, Method::HEAD] {
                match parse_head(bytes, searched, &method) {
                    Ok(Parsed::Final { head_bytes, head }) => {
                        prop_assert!(head_bytes <= end.unwrap());
                        let lengths = head.headers.get_all(&header::CONTENT_LENGTH).count();
                        if let BodyFraming::Length(_) = head.framing {
                            prop_assert_eq!(lengths, 1);
                        }
                        if head.framing == BodyFraming::Chunked {
                            prop_assert_eq!(lengths, 0);
                        }
                    }
                    Ok(Parsed::Interim { head_bytes, .. } | Parsed::Switching { head_bytes, .. }) => prop_assert!(head_bytes <= end.unwrap()),
                    Ok(Parsed::Partial) => prop_assert_eq!(end, None),
                    Err(_) => {}
                }
            }
        }
    }

    #[test]
    fn any_length_is_followed_the_same_however_it_is_split(
        length in 0_u64..40,
        bytes: Vec<u8>,
        piece_bytes in 1_usize..9,
    ) {
        let mut decoder = BodyDecoder::new(BodyFraming::Length(length));
        let mut used = 0;
        for piece in bytes.chunks(piece_bytes) {
            used += decoder.take(&mut BytesMut::from(piece)).unwrap().len() as u64;
        }
        prop_assert_eq!(used, length.min(bytes.len() as u64));
        prop_assert_eq!(decoder.is_done(), used == length);
    }
}

#[test]
fn a_later_minor_version_is_treated_as_http_1_1() {
    let text = "HTTP/1.2 200 OK\r\nContent-Length: 5\r\n\r\n";
    let head = head_for(&Method::GET, text).unwrap();
    assert_eq!(head.persistence, Persistence::Reusable);
    let refused = head_for(&Method::GET, "HTTP/2.0 200 OK\r\n\r\n");
    assert_eq!(refused.unwrap_err(), Malformed::Head);
}
