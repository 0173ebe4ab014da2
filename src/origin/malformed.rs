//! The ways in which a response breaks the rules of HTTP/1.

/// Why bytes are not an HTTP/1 response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Status line or headers.
    #[error("its head is not HTTP/1")]
    Head,
    /// A TLS alert: what a TLS server says to a plain request.
    #[error("it is a TLS alert: the origin speaks TLS, so its URL begins with https://")]
    Tls,
    /// Head, chunk-size line, trailers, or too many interim responses.
    #[error("its head is too large")]
    TooLarge,
    /// Content-Length is not a number, or has two different values.
    #[error("its Content-Length is invalid")]
    ContentLength,
    /// A transfer coding other than chunked. The request allows none.
    #[error("it has a transfer coding other than chunked")]
    TransferEncoding,
    /// The chunked coding is broken.
    #[error("its chunked coding is invalid")]
    Chunk,
    /// 101 to a request without Upgrade.
    #[error("it switches protocols without a request to do so")]
    Upgrade,
    /// 101 to a protocol that the request does not offer (RFC 9110, 7.8).
    #[error("it switches to a protocol that the request does not offer")]
    OtherProtocol,
}
