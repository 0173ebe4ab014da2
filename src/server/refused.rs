//! The response to a request that the application does not get: its head is refused, or it is redirected.

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
};

use actix_http::StatusCode;
use bytes::Bytes;

use super::request_head::{self, HeadRefusal};
use crate::{
    error::FORWARDED_METHODS,
    proxy::{RefusalEntry, RefusalLog},
};

/// The response to a head that the application does not get, without its status line.
pub(super) struct Refused {
    pub(super) status: StatusCode,
    /// The header lines, each with its end.
    pub(super) lines: Vec<u8>,
    /// The body. A response to HEAD does not have it.
    pub(super) sentence: Bytes,
    pub(super) entry: RefusalEntry,
}

impl Refused {
    /// Counts the refusal, and makes the response. `head` is empty if it is not known. `peer` has sent it.
    pub(super) fn new(
        refusals: &RefusalLog,
        refusal: HeadRefusal,
        head: &[u8],
        peer: SocketAddr,
    ) -> Self {
        // The request line of any other refused head says nothing certain.
        let request = match refusal {
            HeadRefusal::Connect | HeadRefusal::OtherHost => request_head::method_and_target(head),
            _ => None,
        };
        let request = request.as_ref();
        let peer: IpAddr = peer.ip();
        let entry = refusals.refused(
            (refusal.status(), refusal.kind()),
            request.map(|(method, target)| (&**method, &**target)),
            &refusal.to_string(),
            Some(peer),
        );
        let mut sentence = format!("{refusal}.\n");
        sentence[..1].make_ascii_uppercase();
        let lines = lines((refusal.status(), sentence.len()), None, &entry);
        if head.trim_ascii_start().starts_with(b"HEAD ") {
            sentence.clear();
        }
        Self {
            status: refusal.status(),
            lines,
            sentence: sentence.into(),
            entry,
        }
    }

    /// Counts the redirect of the request with this head to `location`, and makes the response. `peer` has sent it.
    pub(super) fn redirected(
        refusals: &RefusalLog,
        location: &str,
        head: &[u8],
        peer: SocketAddr,
    ) -> Self {
        let status = StatusCode::PERMANENT_REDIRECT;
        let request = request_head::method_and_target(head);
        let (method, target) = request.unwrap_or_default();
        let entry = refusals.redirected(status, (&method, &target), Some(peer.ip()));
        Self {
            status,
            lines: lines((status, 0), Some(location), &entry),
            sentence: Bytes::new(),
            entry,
        }
    }
}

fn lines(
    (status, length): (StatusCode, usize),
    location: Option<&str>,
    entry: &RefusalEntry,
) -> Vec<u8> {
    let location = location.map_or_else(String::new, |url| format!("Location: {url}\r\n"));
    let allow = match status {
        StatusCode::METHOD_NOT_ALLOWED => format!("Allow: {FORWARDED_METHODS}\r\n"),
        _ => String::new(),
    };
    let mut lines = Vec::new();
    // Writing to memory does not fail.
    let _ = write!(
        lines,
        "Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         {allow}{location}X-Cache: MISS\r\nCache-Status: caching-proxy\r\n"
    );
    entry.write_id(&mut lines);
    lines
}
