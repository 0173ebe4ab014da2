//! Requests to origins that misbehave: raw TCP connections, scripted step by step beside the client.

mod connections;
mod framing;
mod handshakes;
mod limits;
mod peer;
mod requests;
mod responses;
mod tls;
mod uploads;

pub(super) use peer::refusing;
