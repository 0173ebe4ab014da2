//! Whether the origin can be reached.

use std::{sync::Arc, time::Duration};

use rustls::ClientConfig;
use tokio::time::timeout;

use super::{
    OriginUrl,
    connect::Dialer,
    error::{OriginError, Phase},
};

/// How long one attempt may take.
const LIMIT: Duration = Duration::from_secs(3);

/// Connects once, with TLS for an https origin, and closes the connection without a request.
///
/// # Errors
/// The error that a request would have had while connecting; a timeout after 3 s.
pub async fn reach(url: OriginUrl, tls: Option<Arc<ClientConfig>>) -> Result<(), OriginError> {
    reach_within(LIMIT, url, tls).await
}

async fn reach_within(
    limit: Duration,
    url: OriginUrl,
    tls: Option<Arc<ClientConfig>>,
) -> Result<(), OriginError> {
    let dialer = Dialer::new(url, tls);
    match timeout(limit, dialer.dial()).await {
        Ok(dialed) => dialed.map(drop),
        Err(_) => Err(OriginError::Timeout {
            phase: Phase::Connecting,
            limit,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn reach_port(port: u16) -> Result<(), OriginError> {
        let url = format!("http://127.0.0.1:{port}").parse().unwrap();
        reach(url, None).await
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
        let tls = crate::origin::tls_config(None).unwrap();
        let limit = Duration::from_millis(1);
        let silent = reach_within(limit, url, Some(tls)).await.unwrap_err();
        let sentence = "the origin was silent for 0.001s while connecting to it";
        assert_eq!(silent.to_string(), sentence);
    }
}
