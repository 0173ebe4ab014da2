//! Hides the values of secrets in headers that are shown.

use actix_web::http::header::{self, HeaderName};

use super::hidden;
use crate::policy::{CredentialNames as _, Policy};

/// Replaces a secret.
const MASK: &str = "***";
/// Headers whose names look like credentials, but are not.
const HARMLESS: [&str; 2] = ["surrogate-key", "www-authenticate"];
/// Headers that contain a URL.
const TARGETS: [HeaderName; 3] = [header::LOCATION, header::CONTENT_LOCATION, header::REFERER];

/// The value of a header with secrets replaced: of a credential all, of a cookie all but its name, of a URL the values of secret
/// parameters.
pub fn shown_value(policy: &Policy, name: &HeaderName, value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    if is_cookie(name) {
        let cookie = text.split_once('=').map_or("", |(cookie, _)| cookie);
        return match cookie {
            "" => MASK.to_owned(),
            cookie => format!("{cookie}={MASK}"),
        };
    }
    if is_secret_header(policy, name) {
        return MASK.to_owned();
    }
    match is_url_header(name) {
        true => hidden(&text).into_owned(),
        false => text.into_owned(),
    }
}

/// True for a header that carries credentials or cookies.
pub fn is_secret_header(policy: &Policy, name: &HeaderName) -> bool {
    let is_credential = || policy.is_credential(name) && !HARMLESS.contains(&name.as_str());
    is_cookie(name) || is_credential()
}

/// True for a header that contains a URL.
pub fn is_url_header(name: &HeaderName) -> bool {
    TARGETS.contains(name)
}

fn is_cookie(name: &HeaderName) -> bool {
    *name == header::SET_COOKIE || *name == header::COOKIE
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
            ("www-authenticate", "Basic", "Basic"),
            ("etag", "\"x\"", "\"x\""),
        ] {
            let name = HeaderName::from_static(name);
            assert_eq!(shown_value(&policy, &name, value.as_bytes()), shown);
        }
    }
}
