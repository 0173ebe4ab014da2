//! Hides the values of secret parameters in targets that are logged, listed or explained.

use std::borrow::Cow;

/// The longest target that is logged whole, in characters.
const MAX_TARGET_CHARS: usize = 512;

/// A parameter is secret if its name contains one of these.
const SECRETS: [&str; 5] = ["token", "key", "secret", "sig", "password"];

/// `target` for a log line: the values of secret parameters are replaced, and a very long target is cut.
pub fn masked(target: &str) -> Cow<'_, str> {
    match hidden(target) {
        Cow::Borrowed(whole) => cut(whole, MAX_TARGET_CHARS),
        Cow::Owned(hidden) => Cow::Owned(cut(&hidden, MAX_TARGET_CHARS).into_owned()),
    }
}

/// `target` with the values of secret parameters replaced.
pub fn hidden(target: &str) -> Cow<'_, str> {
    let Some((path, query)) = target.split_once('?') else {
        return Cow::Borrowed(target);
    };
    let parameters = query.split_inclusive(['&', ';']).map(masked_parameter);
    Cow::Owned(format!("{path}?{}", parameters.collect::<String>()))
}

/// The first `chars` characters of `text`, followed by dots if anything was cut.
pub fn cut(text: &str, chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars) {
        Some((index, _)) => Cow::Owned(format!("{}...", &text[..index])),
        None => Cow::Borrowed(text),
    }
}

fn masked_parameter(parameter: &str) -> Cow<'_, str> {
    let Some((name, value)) = parameter.split_once('=') else {
        return Cow::Borrowed(parameter);
    };
    let plain = decoded(name);
    if !matches!(value, "" | "&" | ";") && SECRETS.iter().any(|secret| plain.contains(secret)) {
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

/// A parameter's name in lower case and percent-decoded, so that each spelling of a secret name is found.
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
    String::from_utf8_lossy(&plain).to_ascii_lowercase()
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
        ] {
            assert_eq!(masked(target), logged);
        }
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
            name in "[a-z]{0,2}(token|KEY|%73ecret|si%67|Password)[a-z%]{0,2}",
            behind in "([&;][a-z%=]{0,3}){0,2}",
        ) {
            let target = format!("{before}{name}=S3CR3T{behind}");
            prop_assert!(!masked(&target).contains("S3CR3T"), "{}", masked(&target));
        }
    }
}
