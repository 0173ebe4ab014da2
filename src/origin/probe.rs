//! Whether the origin can be reached.

use std::time::Duration;

use super::{
    Destination,
    connect::{ConnectionUse, Dialer},
    error::{OriginError, WaitLimit},
};

/// How long one attempt may take.
const LIMIT: Duration = Duration::from_secs(3);

/// Connects once, with TLS for an https origin, and closes the connection without a request.
///
/// # Errors
/// The error that a request would have had while connecting; a timeout after 3 s.
pub async fn reach(destination: Destination) -> Result<(), OriginError> {
    reach_within(LIMIT, destination).await
}

async fn reach_within(limit: Duration, destination: Destination) -> Result<(), OriginError> {
    let limit = WaitLimit {
        flag: "within",
        time: limit,
    };
    let dialer = Dialer::new(destination);
    let dialed = dialer.dial_within(limit, ConnectionUse::Requests).await;
    dialed.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn reach_port(port: u16) -> Result<(), OriginError> {
        let url = format!("http://127.0.0.1:{port}");
        reach(Destination::direct(url.parse().unwrap())).await
    }

    #[tokio::test]
    async fn an_origin_is_reached_if_it_listens() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        reach_port(port).await.unwrap();
        let (_held, closed) = crate::origin::tests::refusing();
        let refused = reach_port(closed.port()).await.unwrap_err();
        assert!(
            refused.to_string().ends_with("connection refused"),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn a_silent_handshake_is_not_waited_for() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // It accepts the connection and does not respond to the handshake.
        let url = format!("https://127.0.0.1:{port}").parse().unwrap();
        let limit = Duration::from_millis(1);
        let destination = Destination {
            tls: Some(crate::origin::tls_config(None).unwrap()),
            ..Destination::direct(url)
        };
        let silent = reach_within(limit, destination).await.unwrap_err();
        let sentence = "within 1ms: no connection";
        assert_eq!(silent.to_string(), sentence);
    }
}
