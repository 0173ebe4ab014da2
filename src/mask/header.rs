//! Hides the values of secrets in headers that are shown.

use actix_web::http::header::{self, HeaderName};

use super::hidden;
use crate::policy::{CredentialNames as _, Policy};

/// Replaces a secret.
const MASK: &str = "***";
/// Headers whose names look like credentials, but are not.
const HARMLESS: [&str; 1] = ["surrogate-key"];
/// Headers that contain a URL.
const TARGETS: [HeaderName; 3] = [header::LOCATION, header::CONTENT_LOCATION, header::REFERER];

/// The value of a header with secrets replaced: of a credential all, of a cookie all but its name, of a URL the values of secret
/// parameters.
pub fn shown_value(policy: &Policy, name: &HeaderName, value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    if *name == header::SET_COOKIE || *name == header::COOKIE {
        let cookie = text.split_once('=').map_or("", |(cookie, _)| cookie);
        return match cookie {
            "" => MASK.to_owned(),
            cookie => format!("{cookie}={MASK}"),
        };
    }
    if policy.is_credential(name) && !HARMLESS.contains(&name.as_str()) {
        return MASK.to_owned();
    }
    match TARGETS.contains(name) {
        true => hidden(&text).into_owned(),
        false => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn cookies_and_credentials_are_hidden_and_tags_are_shown() {
        let policy = Config::for_origin("http://a".parse().unwrap()).policy;
        for (name, value, shown) in [
            ("set-cookie", "sid=S3CR3T; Path=/", "sid=***"),
            ("set-cookie", "S3CR3T", "***"),
            ("cookie", "a=1; b=2", "a=***"),
            ("authorization", "Bearer x", "***"),
            ("x-auth-token", "x", "***"),
            ("surrogate-key", "a b", "a b"),
            ("location", "/a?token=x&b=1", "/a?token=***&b=1"),
            ("etag", "\"x\"", "\"x\""),
        ] {
            let name = HeaderName::from_static(name);
            assert_eq!(shown_value(&policy, &name, value.as_bytes()), shown);
        }
    }
}
