//! The origin's URL, validated.

/// Where the origin is: scheme, host, port and path prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginUrl {
    /// True for `https`.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port; 80 or 443 when the URL names none.
    pub port: u16,
    /// Path put before every target, without a slash at its end; empty for none.
    pub path_prefix: String,
}
