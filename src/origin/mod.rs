//! All that is spoken to the origin.
mod url;
pub use url::OriginUrl;
