//! Hides the values of secret parameters in targets that are logged, listed or explained.

use std::{borrow::Cow, sync::OnceLock};

/// The longest target that is logged whole, in characters.
const MAX_TARGET_CHARS: usize = 512;

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
    secret: Vec<NamePattern>,
    exceptions: Vec<NamePattern>,
}

/// A pattern of names. Names are compared in lower case, with `-` for `_`.
#[derive(Debug)]
enum NamePattern {
    Whole(String),
    Start(String),
    End(String),
    Part(String),
    Other(wildmatch::WildMatch),
}

impl SecretNames {
    fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names = Self::default();
        for pattern in patterns {
            match pattern.strip_prefix('!') {
                Some(exception) => names.exceptions.push(NamePattern::new(exception)),
                None => names.secret.push(NamePattern::new(pattern)),
            }
        }
        names
    }

    fn matches(&self, name: &str) -> bool {
        let matches =
            |patterns: &[NamePattern]| patterns.iter().any(|pattern| pattern.matches(name));
        matches(&self.secret) && !matches(&self.exceptions)
    }
}

impl NamePattern {
    fn new(pattern: &str) -> Self {
        let pattern = pattern.to_ascii_lowercase().replace('_', "-");
        let text = pattern.trim_matches('*').to_owned();
        match (pattern.starts_with('*'), pattern.ends_with('*')) {
            _ if text.contains(['*', '?']) => Self::Other(wildmatch::WildMatch::new(&pattern)),
            (true, true) => Self::Part(text),
            (true, false) => Self::End(text),
            (false, true) => Self::Start(text),
            (false, false) => Self::Whole(text),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Whole(text) => name == text,
            Self::Start(text) => name.starts_with(text),
            Self::End(text) => name.ends_with(text),
            Self::Part(text) => name.contains(text),
            Self::Other(pattern) => pattern.matches(name),
        }
    }
}

/// `target` for a log line: the values of secret parameters are replaced, and a very long target is cut.
pub fn masked(target: &str) -> Cow<'_, str> {
    match hidden(target) {
        Cow::Borrowed(whole) => cut(whole, MAX_TARGET_CHARS),
        Cow::Owned(hidden) => Cow::Owned(cut(&hidden, MAX_TARGET_CHARS).into_owned()),
    }
}

/// `target` with the values of secret parameters replaced, and the user of a URL.
pub fn hidden(target: &str) -> Cow<'_, str> {
    let Some((path, query)) = target.split_once('?') else {
        return without_user(target);
    };
    let names = NAMES.get_or_init(|| SecretNames::new(DEFAULT_NAMES.iter().copied()));
    let parameters = query
        .split_inclusive(['&', ';'])
        .map(|parameter| masked_parameter(parameter, names));
    let path = without_user(path);
    Cow::Owned(format!("{path}?{}", parameters.collect::<String>()))
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
    match text.char_indices().nth(chars) {
        Some((index, _)) => Cow::Owned(format!("{}...", &text[..index])),
        None => Cow::Borrowed(text),
    }
}

fn masked_parameter<'p>(parameter: &'p str, names: &SecretNames) -> Cow<'p, str> {
    let Some((name, value)) = parameter.split_once('=') else {
        return Cow::Borrowed(parameter);
    };
    let plain = decoded(name);
    if !matches!(value, "" | "&" | ";") && names.matches(&plain) {
        let end = if value.ends_with(['&', ';']) {
            &value[value.len() - 1..]
        } else {
            ""
        };
        Cow::Owned(format!("{name}=***{end}"))
    } else {
        Cow::Borrowed(parameter)
    }
}

/// A parameter's name in lower case, percent-decoded and with `-` for `_`, so that each spelling of a secret name is found.
fn decoded(name: &str) -> String {
    let bytes = name.as_bytes();
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
    plain.to_ascii_lowercase().replace('_', "-")
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
