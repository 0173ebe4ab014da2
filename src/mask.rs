//! Hides the values of secret parameters in targets that are logged, listed or explained.

mod header;

use std::{borrow::Cow, sync::OnceLock};

use wildmatch::WildMatch;

pub use self::header::{is_secret_header, is_url_header, shown_value};

/// The longest target that is logged whole, in characters.
const MAX_TARGET_CHARS: usize = 512;

/// What a parameter, its name or its value may begin after.
const SEPARATORS: [char; 6] = ['=', '&', ';', '?', '#', '/'];

/// The default patterns of the names of secret parameters: whole names, except where there is a `*`.
pub const DEFAULT_NAMES: &[&str] = &[
    "*token*",
    "*secret*",
    "*passw*",
    "*passphrase*",
    "*signature*",
    "*credential*",
    "*apikey*",
    "*accesskey*",
    "*privatekey*",
    "key",
    "*-key",
    "sig",
    "*-sig",
    "code",
    "*-code",
    "jwt",
    "*-jwt",
    "pwd",
    "*-pwd",
    "pass",
    "*-pass",
    "auth",
    "*-auth",
    "authorization",
    "*session*",
    "sid",
    "*-sid",
    "otp",
    "pin",
    "ticket",
    "assertion",
    "samlresponse",
];

/// The patterns of this process. The log, lists and explanations of all its proxies use the same.
static NAMES: OnceLock<SecretNames> = OnceLock::new();

/// Sets the patterns of the names of secret parameters: `*` at either end matches any characters, `!` begins an exception,
/// case does not count, and `_` is `-`. Without this, and in a second call, the patterns stay as they are.
pub fn set_names<'a>(patterns: impl IntoIterator<Item = &'a str>) {
    let names = SecretNames::new(patterns);
    if NAMES.set(names).is_err() {
        log::debug!("the names of secret parameters were set before");
    }
}

/// Patterns of the names of secret parameters.
#[derive(Debug, Default)]
struct SecretNames {
    secret: SecretPatterns,
    exceptions: SecretPatterns,
}

/// Patterns of names. Names are compared in lower case, with `-` for `_`.
#[derive(Debug, Default)]
struct SecretPatterns {
    /// Patterns of which a text remains without the `*` at both ends, by the first byte of the text. So a name is compared
    /// with few of them.
    by_first_byte: Vec<Vec<SecretPattern>>,
    others: Vec<WildMatch>,
}

/// A text, and whether other characters may precede and follow it in a name.
#[derive(Debug)]
struct SecretPattern {
    text: String,
    may_be_preceded: bool,
    may_be_followed: bool,
}

impl SecretNames {
    fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names = Self::default();
        for pattern in patterns {
            match pattern.strip_prefix('!') {
                Some(exception) => names.exceptions.add(exception),
                None => names.secret.add(pattern),
            }
        }
        names
    }

    fn matches(&self, name: &str) -> bool {
        self.secret.matches(name) && !self.exceptions.matches(name)
    }
}

impl SecretPatterns {
    fn add(&mut self, pattern: &str) {
        let pattern = pattern.to_ascii_lowercase().replace('_', "-");
        let text = pattern.trim_matches('*');
        match text.bytes().next() {
            Some(first) if !text.contains(['*', '?']) => {
                self.by_first_byte.resize_with(256, Vec::new);
                self.by_first_byte[usize::from(first)].push(SecretPattern {
                    text: text.to_owned(),
                    may_be_preceded: pattern.starts_with('*'),
                    may_be_followed: pattern.ends_with('*'),
                });
            }
            _ => self.others.push(WildMatch::new(&pattern)),
        }
    }

    fn matches(&self, name: &str) -> bool {
        let matches_from = |(start, byte): (usize, u8)| {
            let patterns = self.by_first_byte.get(usize::from(byte));
            patterns.is_some_and(|patterns| patterns.iter().any(|one| one.matches(name, start)))
        };
        name.bytes().enumerate().any(matches_from)
            || self.others.iter().any(|pattern| pattern.matches(name))
    }
}

impl SecretPattern {
    /// Whether the text is in `name` from the byte `start` on, and the rest is allowed.
    fn matches(&self, name: &str, start: usize) -> bool {
        let rest = name.as_bytes().get(start..).unwrap_or_default();
        rest.strip_prefix(self.text.as_bytes())
            .is_some_and(|after| after.is_empty() || self.may_be_followed)
            && (start == 0 || self.may_be_preceded)
    }
}

/// `target` for a log line: the values of secret parameters are replaced, and a very long target is cut.
pub fn masked(target: &str) -> Cow<'_, str> {
    match hidden(target) {
        Cow::Borrowed(whole) => cut(whole, MAX_TARGET_CHARS),
        Cow::Owned(hidden) => Cow::Owned(cut(&hidden, MAX_TARGET_CHARS).into_owned()),
    }
}

/// `target` with the values of secret parameters replaced, and the user of a URL. Parameters are those of the query, of the
/// segments of the path (`/a;jsessionid=1`), of the fragment, and of a URL in the value of another one.
pub fn hidden(target: &str) -> Cow<'_, str> {
    let path_end = target.find('?').unwrap_or(target.len());
    match without_user(&target[..path_end]) {
        Cow::Borrowed(_) => without_secrets(target),
        Cow::Owned(url) => Cow::Owned(without_secrets(&(url + &target[path_end..])).into_owned()),
    }
}

/// `target` with the values of secret parameters replaced.
fn without_secrets(target: &str) -> Cow<'_, str> {
    if !target.contains('=') {
        return Cow::Borrowed(target);
    }
    let names = NAMES.get_or_init(|| SecretNames::new(DEFAULT_NAMES.iter().copied()));
    let query = target.find('?').unwrap_or(target.len());
    let mut hidden = String::new();
    // Up to here, `target` is in `hidden`.
    let mut copied = 0;
    let mut at = 0;
    while let Some(length) = target[at..].find(SEPARATORS) {
        let begin = at;
        at += length + 1;
        if !target[..at].ends_with('=') {
            continue;
        }
        // The value of a parameter of the query may have the characters that end a segment of a path.
        let ends: &[char] = match begin > query {
            true => &['&', ';', '#'],
            false => &['/', ';', '?', '&', '#'],
        };
        let end = target[at..]
            .find(ends)
            .map_or(target.len(), |length| at + length);
        if end > at && names.matches(&decoded(&target[begin..at - 1])) {
            hidden.push_str(&target[copied..at]);
            hidden.push_str("***");
            (copied, at) = (end, end);
        }
    }
    if copied == 0 {
        return Cow::Borrowed(target);
    }
    hidden.push_str(&target[copied..]);
    Cow::Owned(hidden)
}

/// A URL, or the authority of one, with its user and password replaced (RFC 3986, 3.2.1). A path is unchanged.
fn without_user(url: &str) -> Cow<'_, str> {
    if url.starts_with('/') && !url.starts_with("//") {
        return Cow::Borrowed(url);
    }
    let start = url.find("//").map_or(0, |slashes| slashes + 2);
    let end = url[start..]
        .find(['/', '#'])
        .map_or(url.len(), |length| start + length);
    match url[start..end].rfind('@') {
        Some(at) => Cow::Owned(format!("{}***{}", &url[..start], &url[start + at..])),
        None => Cow::Borrowed(url),
    }
}

/// The first `chars` characters of `text`, followed by dots if anything was cut.
pub fn cut(text: &str, chars: usize) -> Cow<'_, str> {
    if text.len() <= chars {
        return Cow::Borrowed(text);
    }
    match text.char_indices().nth(chars) {
        Some((index, _)) => Cow::Owned(format!("{}...", &text[..index])),
        None => Cow::Borrowed(text),
    }
}

/// A parameter's name in lower case, percent-decoded and with `-` for `_`, so that each spelling of a secret name is found.
fn decoded(name: &str) -> Cow<'_, str> {
    let bytes = name.as_bytes();
    let is_changed = |byte: &u8| matches!(byte, b'%' | b'_' | b'A'..=b'Z');
    if !bytes.iter().any(is_changed) {
        return Cow::Borrowed(name);
    }
    let mut plain = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        let encoded = (*byte == b'%')
            .then(|| name.get(index + 1..index + 3))
            .flatten();
        if let Some(value) = encoded.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            plain.push(value);
            index += 3;
        } else {
            plain.push(*byte);
            index += 1;
        }
    }
    let plain = String::from_utf8_lossy(&plain);
    Cow::Owned(plain.to_ascii_lowercase().replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_of_secret_parameters_are_masked() {
        for (target, logged) in [
            ("/a", "/a"),
            ("/a?", "/a?"),
            ("/a?limit=1&q=x", "/a?limit=1&q=x"),
            ("/a?access_token=abc&limit=1", "/a?access_token=***&limit=1"),
            ("/a?API-Key=abc", "/a?API-Key=***"),
            (
                "/a?X-Amz-Signature=abc&client_secret=&password",
                "/a?X-Amz-Signature=***&client_secret=&password",
            ),
            ("/a?to%6ben=abc", "/a?to%6ben=***"),
            (
                "/a?a=1;token=abc;b=2&key=d&e=f",
                "/a?a=1;token=***;b=2&key=***&e=f",
            ),
            ("/a?%zz=abc&%=1", "/a?%zz=abc&%=1"),
            // Beyond the query.
            (
                "/shop;jsessionid=abc/cart;sid=d?b=1",
                "/shop;jsessionid=***/cart;sid=***?b=1",
            ),
            ("/reset/token=abc/now", "/reset/token=***/now"),
            (
                "/app#access_token=abc&state=1",
                "/app#access_token=***&state=1",
            ),
            (
                "/login?next=/b?code=abc/d?e&f=1",
                "/login?next=/b?code=***&f=1",
            ),
            ("/a?b=token=abc&c", "/a?b=token=***&c"),
            ("/a=b;c=d/e?f", "/a=b;c=d/e?f"),
            // Whole words.
            (
                "/a?code=1&jwt=2&pwd=3&pass=4&auth=5&session=6&sid=7&key=8&sig=9",
                "/a?code=***&jwt=***&pwd=***&pass=***&auth=***&session=***&sid=***&key=***&sig=***",
            ),
            (
                "/a?api_key=1&apiKey=2&user_pass=3&PHPSESSION_ID=4&auth-code=5",
                "/a?api_key=***&apiKey=***&user_pass=***&PHPSESSION_ID=***&auth-code=***",
            ),
            (
                "/a?keyword=x&keys=x&monkey=x&author=x&passenger=x&codec=x&design=x&side=x",
                "/a?keyword=x&keys=x&monkey=x&author=x&passenger=x&codec=x&design=x&side=x",
            ),
            // The user of a URL.
            (
                "http://anna:HUSH@a.test/b@c?d=1",
                "http://***@a.test/b@c?d=1",
            ),
            ("http://anna@a.test", "http://***@a.test"),
            ("http://a@b:HUSH@a.test#x", "http://***@a.test#x"),
            ("anna:HUSH@a.test:443", "***@a.test:443"),
            ("http://a.test/b@c", "http://a.test/b@c"),
            ("/b//c@d?e@f", "/b//c@d?e@f"),
        ] {
            assert_eq!(masked(target), logged);
        }
    }

    #[test]
    fn the_names_are_patterns_with_exceptions() {
        let names = SecretNames::new(["user*", "*id", "*Account_no*", "a*z", "!grid"]);
        for (name, expected) in [
            ("username", true),
            ("my-user", false),
            ("customer-id", true),
            ("grid", false),
            ("the-account-no-2", true),
            ("abz", true),
            ("abzc", false),
            ("token", false),
        ] {
            assert_eq!(names.matches(name), expected, "{name}");
        }
        assert!(!SecretNames::new([]).matches("token"));
        let [all, empty] = [["*"], [""]].map(SecretNames::new);
        assert!(all.matches("a") && all.matches(""));
        assert!(empty.matches("") && !empty.matches("a"));
    }

    #[test]
    fn a_very_long_target_is_cut() {
        let long = format!("/{}", "a".repeat(10_000));
        assert_eq!(masked(&long).len(), MAX_TARGET_CHARS + 3);
        assert_eq!(masked(&format!("{long}?q=1")).len(), MAX_TARGET_CHARS + 3);
    }

    proptest! {
        #[test]
        fn any_target_is_logged_within_bounds(target in "\\PC{0,40}", long in "/\\PC{500,540}") {
            for target in [target, long] {
                let logged = masked(&target);
                prop_assert!(logged.chars().count() <= MAX_TARGET_CHARS + 3);
                prop_assert_eq!(&masked(&logged), &logged);
            }
        }

        #[test]
        fn no_secret_is_logged(
            before in "/[a-z]{0,3}[?]([a-z%]{0,3}=[a-z%]{0,3}[&;]){0,2}",
            name in "[a-z]{0,2}(token|APIKEY|%73ecret|Password)[a-z%]{0,2}|([a-z]{1,2}[-_])?(KEY|si%67|c%6Fde|Jwt)",
            behind in "([&;][a-z%=]{0,3}){0,2}",
        ) {
            let target = format!("{before}{name}=S3CR3T{behind}");
            prop_assert!(!masked(&target).contains("S3CR3T"), "{}", masked(&target));
        }
    }
}
