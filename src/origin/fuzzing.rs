//! Entry points for fuzzing: responses of the origin, and the chunked coding.

use actix_web::http::Method;
use bytes::BytesMut;

use super::{
    body_decoder::BodyDecoder, chunked::Chunked, framing::BodyFraming, heads::HeadSearch,
    malformed::Malformed,
};

/// What is read from one connection.
#[derive(Debug, PartialEq, Eq)]
struct Received {
    /// Status and framing of the final response; `None` if its head is not complete.
    head: Option<(u16, BodyFraming)>,
    content: Vec<u8>,
    is_done: bool,
    /// Bytes behind the end of the body.
    surplus: usize,
}

/// A response of the origin is read the same however it is split. The first byte gives the method and the size of the
/// pieces.
pub fn origin_response(bytes: &[u8]) {
    let Some((&first, sent)) = bytes.split_first() else {
        return;
    };
    let method = match first % 2 {
        0 => Method::GET,
        _ => Method::HEAD,
    };
    let whole = read([sent].into_iter(), &method);
    let in_pieces = read(sent.chunks(usize::from(first / 2) + 1), &method);
    assert_eq!(in_pieces, whole);
}

fn read<'p>(
    pieces: impl Iterator<Item = &'p [u8]>,
    method: &Method,
) -> Result<Received, Malformed> {
    let mut search = HeadSearch::default();
    let mut received = BytesMut::new();
    let mut head = None;
    let mut decoder = BodyDecoder::new(BodyFraming::None);
    let mut content = Vec::new();
    for piece in pieces {
        received.extend_from_slice(piece);
        if head.is_none()
            && let Some(found) = search.take(&mut received, method, None)?
        {
            head = Some((found.status.as_u16(), found.framing));
            decoder = BodyDecoder::new(found.framing);
        }
        if head.is_some() && !decoder.is_done() && !received.is_empty() {
            content.extend_from_slice(&decoder.take(&mut received)?);
        }
    }
    Ok(Received {
        is_done: head.is_some() && decoder.is_done(),
        surplus: if head.is_some() { received.len() } else { 0 },
        head,
        content,
    })
}

/// A chunked body ends at the same byte and has the same content however it is split, followed or decoded. The first
/// byte gives the size of the pieces.
pub fn chunked(bytes: &[u8]) {
    let Some((&first, coded)) = bytes.split_first() else {
        return;
    };
    let piece_bytes = usize::from(first) + 1;
    let whole = decoded([coded].into_iter());
    assert_eq!(decoded(coded.chunks(piece_bytes)), whole);
    let followed = followed(coded.chunks(piece_bytes));
    assert_eq!(
        followed,
        whole.map(|(_, left, is_done)| (coded.len() - left, is_done))
    );
}

/// The content, how many bytes lie behind the end, and if the body ended.
fn decoded<'p>(
    pieces: impl Iterator<Item = &'p [u8]>,
) -> Result<(Vec<u8>, usize, bool), Malformed> {
    let mut chunked = Chunked::new();
    let mut received = BytesMut::new();
    let mut content = Vec::new();
    for piece in pieces {
        received.extend_from_slice(piece);
        content.extend_from_slice(&chunked.decode(&mut received)?);
    }
    Ok((content, received.len(), chunked.is_done()))
}

/// How many bytes belong to the body, and if it ended.
fn followed<'p>(pieces: impl Iterator<Item = &'p [u8]>) -> Result<(usize, bool), Malformed> {
    let mut chunked = Chunked::new();
    let mut used = 0;
    for piece in pieces {
        used += chunked.feed(piece)?;
    }
    Ok((used, chunked.is_done()))
}
