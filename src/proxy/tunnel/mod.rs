//! Tunnels: WebSocket through the proxy (RFC 6455; RFC 9110, 7.8).
//!
//! A handshake passes the cache by. It goes to the origin on a connection of its own, and nothing else of the client goes
//! there before the origin has accepted it with a 101. From then on the client's connection copies bytes in both directions,
//! until both sides have ended.
//!
//! | file | what it holds |
//! |---|---|
//! | `handshake` | the step of the handler: a handshake, and what the origin says to it |
//! | `established` | a tunnel, with its log entry and its place in the budget |
//! | `relay` | bytes in both directions, and the time limits |
//! | `pipe` | bytes in one direction |

pub(super) mod established;
pub(super) mod handshake;
mod pipe;
mod relay;
