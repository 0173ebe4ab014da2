//! Credentials that belong to a connection: NTLM, and Negotiate (RFC 4559).

use caching_proxy::policy::Mode;

use crate::{harness::TestProxy, origin::Origin};

#[test]
fn ntlm_is_refused_with_a_sentence_and_reaches_no_connection_of_the_origin() {
    let origin = Origin::counting("");
    for mode in [Mode::Standard, Mode::Strict, Mode::Always] {
        let proxy = TestProxy::with_mode(&origin, mode);
        for credentials in ["NTLM TlRMTVNTUAABAAAA", "negotiate TlRMTVNTUAADAAAA"] {
            let fields = format!("Authorization: {credentials}\r\n");
            let refused = proxy.get_with("/", &fields);
            let sentence =
                "NTLM is not supported: it needs a connection to the origin for each client.\n";
            refused.expect(501, "MISS", sentence);
            assert_eq!(proxy.request("POST", "/", &fields, b"x").status(), 501);
        }
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_connection_that_negotiate_authenticates_carries_no_other_request() {
    let origin = Origin::counting("Cache-Control: no-store\r\n");
    let proxy = TestProxy::builder(&origin)
        .with(|config| config.workers = 1)
        .start();
    let kerberos = "Authorization: Negotiate YIIFhQYGKwYBBQUC\r\n";
    for fields in ["", kerberos, "", kerberos, kerberos, ""] {
        assert_eq!(proxy.get_with("/", fields).status(), 200);
    }
    let connections: Vec<_> = origin.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1, 0, 2, 3, 0]);
}
