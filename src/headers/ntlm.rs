//! NTLM, which authenticates a connection and not a request.

use actix_web::http::header::{self, HeaderMap, HeaderValue};

/// How an NTLM message begins in base64: `NTLMSSP` and a zero byte.
const MESSAGE_START: &[u8] = b"TlRMTVNTUA";

/// True if the credentials are those of NTLM, also inside Negotiate (RFC 4559). Its messages belong to one connection from
/// the client to the origin, which a proxy that shares its connections does not have.
pub fn is_ntlm(request: &HeaderMap) -> bool {
    request.get_all(header::AUTHORIZATION).any(carries_ntlm)
}

fn carries_ntlm(credentials: &HeaderValue) -> bool {
    let mut parts = credentials.as_bytes().splitn(2, |byte| *byte == b' ');
    let scheme = parts.next().unwrap_or_default();
    let token = parts.next().unwrap_or_default().trim_ascii();
    scheme.eq_ignore_ascii_case(b"ntlm")
        || (scheme.eq_ignore_ascii_case(b"negotiate") && token.starts_with(MESSAGE_START))
}

#[cfg(test)]
mod tests {
    use super::{super::test_maps::map, *};

    #[test]
    fn ntlm_is_found_under_both_schemes_and_kerberos_is_not_ntlm() {
        for (credentials, expected) in [
            ("NTLM TlRMTVNTUAABAAAA", true),
            ("ntlm x", true),
            ("NTLM", true),
            ("Negotiate TlRMTVNTUAABAAAA", true),
            ("negotiate  TlRMTVNTUAADAAAA", true),
            ("Negotiate YIIFhQYGKwYBBQUC", false),
            ("Basic TlRMTVNTUA", false),
            ("Bearer NTLM", false),
        ] {
            let headers = map(&[("authorization", credentials)]);
            assert_eq!(is_ntlm(&headers), expected, "{credentials}");
        }
        let several = map(&[("authorization", "Basic x"), ("authorization", "NTLM x")]);
        assert!(is_ntlm(&several));
    }
}
