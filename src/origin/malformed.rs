//! The ways in which a response breaks the rules of HTTP/1.

/// Why bytes are not an HTTP/1 response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Status line or field lines.
    #[error("its head is not HTTP/1")]
    Head,
    /// Head, chunk-size line, trailers, or too many interim responses.
    #[error("its head is too large")]
    TooLarge,
    /// Content-Length is no number, or says two different ones.
    #[error("its Content-Length is invalid")]
    ContentLength,
    /// A transfer coding beneath chunked, which the request did not allow.
    #[error("its Transfer-Encoding was not asked for")]
    TransferEncoding,
    /// The chunked coding is broken.
    #[error("its chunked coding is invalid")]
    Chunk,
    /// 101 to a request that asked for no upgrade.
    #[error("it switches protocols unasked")]
    Upgrade,
}
