//! Entry point for fuzzing: where the head of a client's request ends, and what it becomes.

use super::request_head::{self, HeadScan, HeadVerdict};

/// Most headers that the parser accepts.
const MAX_HEADERS: usize = 256;

/// The head of a request ends at the byte where the parser ends it, and however it is split. The first byte gives the
/// size of the pieces. A head that is rewritten is one head, which ends at its last byte.
pub fn request_head(bytes: &[u8]) {
    let Some((&first, sent)) = bytes.split_first() else {
        return;
    };
    let whole = head_end([sent].into_iter());
    assert_eq!(head_end(sent.chunks(usize::from(first) + 1)), whole);
    if let Some(end) = whole
        && let HeadVerdict::Rewritten(rewritten) = request_head::check(&sent[..end], |_, _| true)
    {
        assert_eq!(head_end([&*rewritten].into_iter()), Some(rewritten.len()));
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    match (httparse::Request::new(&mut fields).parse(sent), whole) {
        (Ok(httparse::Status::Complete(parsed)), found) => assert_eq!(found, Some(parsed)),
        (Ok(httparse::Status::Partial), found) => assert_eq!(found, None),
        (Err(_), _) => {}
    }
}

/// Where the head ends; `None` if it is not complete.
fn head_end<'p>(pieces: impl Iterator<Item = &'p [u8]>) -> Option<usize> {
    let mut scan = HeadScan::default();
    let mut before = 0;
    for piece in pieces {
        if let Some(end) = scan.end(piece) {
            return Some(before + end);
        }
        before += piece.len();
    }
    None
}
