//! Offers of another protocol (RFC 9110, 7.8).

use actix_web::http::header::{self, HeaderMap, HeaderName};

/// True if Upgrade offers WebSocket (RFC 6455, 4.1).
pub fn offers_websocket(headers: &HeaderMap) -> bool {
    lists(headers, &header::UPGRADE, "websocket")
}

/// True if Connection has the option that an offer needs: without it Upgrade is ignored.
pub fn has_upgrade_option(headers: &HeaderMap) -> bool {
    lists(headers, &header::CONNECTION, "upgrade")
}

fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).map(|line| line.as_bytes());
    let mut members = lines.flat_map(|line| line.split(|byte| *byte == b','));
    members.any(|member| member.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::{super::test_maps::map, *};

    #[test]
    fn websocket_is_found_among_other_protocols() {
        for value in [
            "websocket",
            "WebSocket,",
            "h2c , websocket",
            "websocket, foo",
        ] {
            assert!(offers_websocket(&map(&[("upgrade", value)])), "{value}");
        }
        for value in [
            "websocket2",
            "web socket",
            "foo/websocket",
            "websocket/13",
            "",
        ] {
            assert!(!offers_websocket(&map(&[("upgrade", value)])), "{value}");
        }
        assert!(has_upgrade_option(&map(&[
            ("connection", "keep-alive"),
            ("connection", "Upgrade"),
        ])));
        assert!(!has_upgrade_option(&map(&[("connection", "close")])));
    }
}
