//! Requests as the origin receives them.

use actix_web::http::Method;

use super::peer::*;
use crate::origin::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// The head that the origin receives.
async fn received(prefix: &str, request: OriginRequest) -> String {
    let test = TestOrigin::with(|config| {
        config.destination.url =
            OriginUrl::parse(&format!("{}{prefix}", config.destination.url)).unwrap();
    })
    .await;
    let script = async {
        let mut peer = test.accept().await;
        let head = peer.head().await;
        peer.send(OK).await;
        head
    };
    let (response, head) = tokio::join!(ask(&test.origin, request), script);
    response.unwrap();
    head
}

#[test]
fn targets_go_out_byte_for_byte() {
    run(async {
        for target in [
            "/",
            "/a?",
            "/?",
            "//",
            "//evil.example/x",
            "/a;b",
            "/%zz",
            "/a/../b",
            "/a?b?c&d=%20'",
            "/{x}|\"",
            "/a//b/./c",
        ] {
            let head = received("", get(target)).await;
            assert_eq!(
                head.lines().next(),
                Some(format!("GET {target} HTTP/1.1").as_str())
            );
            let head = received("/api/v1/", get(target)).await;
            assert_eq!(
                head.lines().next(),
                Some(format!("GET /api/v1{target} HTTP/1.1").as_str())
            );
        }
    });
}

#[test]
fn the_server_wide_target_and_unknown_methods_pass() {
    run(async {
        let star = received("/api", request(Method::OPTIONS, "*")).await;
        assert!(star.starts_with("OPTIONS * HTTP/1.1\r\n"), "{star}");
        for method in ["M-SEARCH", "PROPFIND", "get", "X!Y"] {
            let head = received(
                "",
                request(Method::from_bytes(method.as_bytes()).unwrap(), "/x"),
            )
            .await;
            assert!(
                head.starts_with(&format!("{method} /x HTTP/1.1\r\n")),
                "{head}"
            );
        }
    });
}

#[test]
fn no_header_is_added() {
    run(async {
        for method in [Method::GET, Method::HEAD, Method::DELETE, Method::POST] {
            let mut asked = request(method.clone(), "/");
            asked.headers = headers(&[("host", "h")]).into();
            assert_eq!(
                received("", asked).await,
                format!("{method} / HTTP/1.1\r\nhost: h\r\n\r\n")
            );
        }
    });
}

#[test]
fn headers_pass_with_repetitions_and_the_client_s_date() {
    run(async {
        let mut asked = get("/");
        asked.headers = headers(&[
            ("host", "h"),
            ("x", "1"),
            ("x", "2"),
            ("date", "yesterday"),
            ("expect", "100-continue"),
        ])
        .into();
        let head = received("", asked).await;
        let mut lines: Vec<_> = head.trim_end().lines().skip(1).collect();
        lines.sort_unstable();
        assert_eq!(lines, ["date: yesterday", "host: h", "x: 1", "x: 2"]);
    });
}

#[test]
fn host_is_the_origin_s_when_none_is_given() {
    run(async {
        let test = TestOrigin::new().await;
        let authority = test.listener.local_addr().unwrap().to_string();
        let script = async {
            let mut peer = test.accept().await;
            assert!(
                peer.head()
                    .await
                    .contains(&format!("host: {authority}\r\n"))
            );
            peer.send(OK).await;
        };
        tokio::join!(ask(&test.origin, get("/")), script).0.unwrap();
    });
}

#[test]
fn absolute_targets_are_refused() {
    run(async {
        let test = TestOrigin::new().await;
        for target in [
            "http://evil.example/",
            "evil.example:443",
            "",
            "?x",
            "/a b",
            "/\r\nx: y",
        ] {
            let refused = ask(&test.origin, get(target)).await.unwrap_err();
            assert!(
                matches!(refused, OriginError::Target { .. }),
                "{target:?}: {refused}"
            );
        }
    });
}
