//! caching-proxy: "Don't forward the same GET request twice."

pub mod cache;
pub mod cli;
pub mod config;
pub mod control;
pub mod error;
pub mod headers;
pub mod origin;
pub mod policy;
pub mod proxy;
pub mod server;
