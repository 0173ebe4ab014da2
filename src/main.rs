//! caching-proxy
fn main() {}
