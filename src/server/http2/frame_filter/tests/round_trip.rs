//! Requests of `h2`'s own client through the filter.

use bytes::Bytes;
use proptest::prelude::*;
use tokio::io::DuplexStream;

use super::*;
use crate::policy::encoded_target;

/// A request that a client sends: whether it is a POST, its path, and its fields.
type Sent = (bool, String, Vec<(String, String)>);

fn requests() -> impl Strategy<Value = Vec<Sent>> {
    let path = "/[ab]{0,2}[\"\u{fc}]{0,1}[a-z0-9%]{0,30}(\\?[a`|~=]{0,20})?";
    let value = prop_oneof!["[ -~]{0,3}", "[ -~]{0,60}", "[a-z]{600,900}"];
    let fields = prop::collection::vec(("x-[a-d]|cookie|accept|user-agent", value), 0..6);
    prop::collection::vec((any::<bool>(), path, fields), 1..12)
}

/// The requests as `h2` reads them from a client of its own behind the filter.
async fn round_trip(sent: &[Sent], client: DuplexStream, server: DuplexStream) -> Vec<Read> {
    let serving = async {
        let stream = Filtered::new(server, true);
        let mut connection = settings().handshake::<_, Bytes>(stream).await.unwrap();
        let mut found = Vec::new();
        while let Some(accepted) = connection.accept().await {
            let (request, mut response) = accepted.unwrap();
            found.push(read_of(&request));
            response
                .send_response(http::Response::new(()), true)
                .unwrap();
        }
        found
    };
    let asking = async {
        let (mut requests, connection) = h2::client::handshake(client).await.unwrap();
        let asking = async {
            for (is_post, path, fields) in sent {
                let method = if *is_post { "POST" } else { "GET" };
                let uri = http::Uri::builder().scheme("http").authority("a");
                let uri = uri.path_and_query(&**path).build().unwrap();
                let mut request = http::Request::builder().method(method).uri(uri);
                for (name, value) in fields {
                    request = request.header(name, value.trim());
                }
                let request = request.body(()).unwrap();
                requests = requests.ready().await.unwrap();
                let (response, _) = requests.send_request(request, true).unwrap();
                response.await.unwrap();
            }
            drop(requests);
        };
        let ((), ended) = tokio::join!(asking, connection);
        ended.unwrap();
    };
    tokio::join!(serving, asking).0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn requests_are_read_as_a_client_has_sent_them(sent in requests(), room in 200usize..5000) {
        let (client, server) = tokio::io::duplex(room);
        let found = wait(round_trip(&sent, client, server));
        prop_assert_eq!(found.len(), sent.len());
        for ((is_post, path, fields), (line, read, is_end)) in sent.iter().zip(found) {
            let method = if *is_post { "POST" } else { "GET" };
            let path = encoded_target(path.as_bytes()).unwrap_or_else(|| path.clone());
            prop_assert_eq!(line, format!("{method} http://a{path}"));
            let sorted = |mut fields: Vec<(String, Vec<u8>)>| {
                // Those of one name keep their order.
                fields.sort_by(|(a, _), (b, _)| a.cmp(b));
                fields
            };
            let fields = fields.iter();
            let fields = fields.map(|(name, value)| (name.clone(), value.trim().into()));
            prop_assert_eq!(sorted(read), sorted(fields.collect()));
            prop_assert!(is_end);
        }
    }
}
