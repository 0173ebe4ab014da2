//! Who may be answered from a stored response.

/// Who may be answered from a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Everybody, identities too: the origin said `public` or `s-maxage`, and not `private`.
    Everyone,
    /// Only the partition it was made for: one identity's, or the one of requests without credentials.
    Partition,
}
