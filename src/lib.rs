//! caching-proxy: "Don't forward the same GET request twice."

pub mod cache;
pub mod config;
pub mod origin;
pub mod policy;
