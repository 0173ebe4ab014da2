//! Whom a stored response may be served to.

/// Whom a stored response may be served to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every client, with or without credentials: the origin said `public` or `s-maxage`, and not `private`.
    Everyone,
    /// Only clients of its partition: that of one identity, or that of requests without credentials.
    Partition,
}
