//! Partitions of the cache by credentials, and cookies that do not identify a user.

use std::fmt;

use actix_web::http::header::{
    AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE,
};
use ring::{
    hmac::{Context, HMAC_SHA256, Key},
    rand::SystemRandom,
};

use super::{Policy, ResponseHeaders, mode::Credentials, syntax::list::trim};

/// The name of a partition of the cache: a keyed hash of credentials, which does not reveal them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity(pub(super) [u8; 16]);

impl Identity {
    /// Bits of it for a hash table: no client can foresee them, because the identity is a keyed hash.
    pub fn hash_bits(self) -> u64 {
        let [first @ .., _, _, _, _, _, _, _, _] = self.0;
        u64::from_ne_bytes(first)
    }

    /// Its bytes, to be written down.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The identity that [`Identity::to_bytes`] has written.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// The random key under which credentials are hashed with HMAC-SHA256: of the process, or of its store.
#[derive(Clone)]
pub struct IdentitySecret(Key);

impl IdentitySecret {
    /// A new random key. Under another key the same credentials make another identity.
    ///
    /// # Panics
    ///
    /// If the system has no random bytes.
    #[allow(
        clippy::expect_used,
        reason = "identities that can be guessed are no identities"
    )]
    pub fn new() -> Self {
        let key = Key::generate(HMAC_SHA256, &SystemRandom::new());
        Self(key.expect("the system gives random bytes"))
    }

    /// The key of these random bytes. Under the same bytes the same credentials make the same identity in every process.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Key::new(HMAC_SHA256, bytes))
    }

    /// The identity of a request: a hash of Authorization, of the cookies that are not ignored, and of the fields of
    /// `identity_headers`. `names` is `policy`, or a table of what it says.
    ///
    /// `None` if the request carries no credentials, or the policy has no partitions.
    pub fn identity(
        &self,
        policy: &Policy,
        headers: &HeaderMap,
        names: &impl CredentialNames,
    ) -> Option<Identity> {
        let credentials = credentials(policy, headers, names);
        (!credentials.is_empty()).then(|| Identity(hash(&self.0, &credentials)))
    }
}

impl Default for IdentitySecret {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for IdentitySecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("IdentitySecret")
    }
}

/// What the names of fields and cookies mean for identities. The patterns of a [`Policy`] say it; a table may remember it.
pub trait CredentialNames {
    /// True for a field that identifies a user: Authorization and those of `identity_headers`. Cookie is not among them,
    /// because it depends on the cookies.
    fn is_credential(&self, field: &HeaderName) -> bool;

    /// True for the name of a cookie that does not identify a user: it matches no pattern of `identity_cookies`, or one of
    /// `ignored_cookies`.
    fn is_ignored_cookie(&self, name: &[u8]) -> bool;
}

impl CredentialNames for Policy {
    fn is_credential(&self, field: &HeaderName) -> bool {
        *field == AUTHORIZATION || self.identity_headers.matches(field.as_str())
    }

    fn is_ignored_cookie(&self, name: &[u8]) -> bool {
        // A name that is not UTF-8 can only match a pattern with `*`.
        !self
            .identity_cookies
            .matches(&String::from_utf8_lossy(name))
            || std::str::from_utf8(name).is_ok_and(|name| self.ignored_cookies.matches(name))
    }
}

impl Policy {
    /// Whether each identity has a partition of the cache. If not, requests have no identity.
    pub fn has_partitions(&self) -> bool {
        self.mode.credentials() == Credentials::Partitions
    }
}

/// The credentials of a request by the names of their fields; each cookie is one. Empty if the policy has no partitions.
fn credentials<'h>(
    policy: &Policy,
    headers: &'h HeaderMap,
    names: &impl CredentialNames,
) -> Vec<(&'h str, &'h [u8])> {
    let mut credentials: Vec<(&str, &[u8])> = Vec::new();
    if !policy.has_partitions() {
        return credentials;
    }
    for (name, value) in headers {
        if *name == COOKIE {
            let cookies = cookies(value.as_bytes());
            let counting = cookies.filter(|cookie| !is_ignored(names, cookie));
            credentials.extend(counting.map(|cookie| (name.as_str(), cookie)));
        } else if names.is_credential(name) {
            credentials.push((name.as_str(), value.as_bytes()));
        }
    }
    // The map does not order names. Lines of one name stay in order because the sort is stable.
    credentials.sort_by_key(|(name, _)| *name);
    credentials
}

/// Which fields and cookies make the identity of a request: their names, without values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityParts {
    /// The fields, without Cookie.
    pub headers: Vec<String>,
    /// The cookies, by a pattern that matches the name: `?` for bytes that no token has, `*` for random parts.
    pub cookies: Vec<String>,
}

/// The longest name of a cookie that is shown, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// The largest number of names of each kind there.
const MAX_PARTS: usize = 4;

impl IdentityParts {
    /// The first few of those that make the identity of a request with these fields.
    pub fn of(policy: &Policy, headers: &HeaderMap) -> Self {
        let mut parts = Self::default();
        for (name, value) in credentials(policy, headers, policy) {
            let (names, name) = match name == COOKIE.as_str() {
                true => (&mut parts.cookies, shown(cookie_name(value))),
                false => (&mut parts.headers, name.to_owned()),
            };
            if names.len() < MAX_PARTS && !names.contains(&name) {
                names.push(name);
            }
        }
        parts
    }

    /// What would let the request share responses with others.
    pub fn remedy(&self) -> String {
        if self
            .headers
            .iter()
            .any(|name| name == AUTHORIZATION.as_str())
        {
            return "shared if the origin says public".to_owned();
        }
        let settings = [
            ("identity_cookies", &self.cookies),
            ("identity_headers", &self.headers),
        ];
        let additions: Vec<String> = settings
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(setting, names)| format!("!{} to {setting}", names.join(", !")))
            .collect();
        format!(
            "if it does not change the response, add {}",
            additions.join(" and ")
        )
    }
}

impl fmt::Display for IdentityParts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers = self.headers.iter().map(|name| ("header ", name));
        let cookies = self.cookies.iter().map(|name| ("cookie ", name));
        for (index, (kind, name)) in cookies.chain(headers).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{kind}{name}")?;
        }
        Ok(())
    }
}

/// The cookies of a response that identify a user, so that it is not stored: the first few, as in [`IdentityParts`]. A name
/// that is random as a whole is not among them.
pub fn identifying_set_cookies(policy: &Policy, headers: &ResponseHeaders) -> Vec<String> {
    let lines = headers.get_all(&SET_COOKIE);
    let identifying = lines.filter(|line| !is_ignored_set_cookie(policy, line));
    let cookies = identifying.filter_map(|line| cookies(line).next());
    let mut names: Vec<String> = Vec::new();
    for name in cookies.map(|cookie| shown(cookie_name(cookie))) {
        let is_telling = name.bytes().any(|byte| !b"*?!".contains(&byte));
        if is_telling && names.len() < MAX_PARTS && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The name of a cookie for people, as a pattern that matches it: without parts that look like an id or a secret.
fn shown(name: &[u8]) -> String {
    let mut shown = String::with_capacity(name.len().min(MAX_NAME_BYTES + 1));
    let mut rest = name;
    while let Some(&byte) = rest.first() {
        if shown.len() >= MAX_NAME_BYTES {
            shown.push('*');
            break;
        }
        let run = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric());
        let run = &rest[..run.count()];
        if is_random(run) {
            shown.push('*');
            rest = &rest[run.len()..];
            continue;
        }
        let taken = run.len().clamp(1, MAX_NAME_BYTES - shown.len());
        match byte {
            b'!'..=b'~' if !b"\"(),/:;<=>?@[\\]{}".contains(&byte) => {
                shown.extend(rest[..taken].iter().map(|byte| char::from(*byte)));
            }
            _ => shown.push('?'),
        }
        rest = &rest[taken..];
    }
    shown
}

/// True for letters and digits that look like an id or a secret: many, with several digits.
fn is_random(run: &[u8]) -> bool {
    const LEAST_BYTES: usize = 16;
    const LEAST_DIGITS: usize = 4;
    let digits = run.iter().filter(|byte| byte.is_ascii_digit());
    run.len() >= LEAST_BYTES && digits.count() >= LEAST_DIGITS
}

/// The first half of the HMAC. Each text follows its length, so that different lists of credentials are different bytes.
fn hash(key: &Key, credentials: &[(&str, &[u8])]) -> [u8; 16] {
    let mut hmac = Context::with_key(key);
    for text in credentials
        .iter()
        .flat_map(|(name, value)| [name.as_bytes(), value])
    {
        hmac.update(&text.len().to_ne_bytes());
        hmac.update(text);
    }
    let tag = hmac.sign();
    let mut half = [0; 16];
    half.copy_from_slice(&tag.as_ref()[..16]);
    half
}

/// How a Cookie line is forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardedCookie {
    /// As received.
    Unchanged,
    /// Without the ignored cookies.
    Shortened(HeaderValue),
    /// Not at all: all its cookies are ignored.
    Nothing,
}

/// Removes the ignored cookies from a Cookie line of a request whose response may be stored: they are not part of the
/// key, so they must not influence the response. `names` is `policy`, or a table of what it says.
pub fn forwarded_cookie(
    policy: &Policy,
    names: &impl CredentialNames,
    line: &HeaderValue,
) -> ForwardedCookie {
    let text = line.as_bytes();
    if !policy.has_partitions() || !cookies(text).any(|cookie| is_ignored(names, cookie)) {
        return ForwardedCookie::Unchanged;
    }
    let kept: Vec<&[u8]> = cookies(text)
        .filter(|cookie| !is_ignored(names, cookie))
        .collect();
    if kept.is_empty() {
        return ForwardedCookie::Nothing;
    }
    // Parts of a field value, joined by allowed bytes, are a field value.
    HeaderValue::from_bytes(&kept.join(&b"; "[..]))
        .map_or(ForwardedCookie::Unchanged, ForwardedCookie::Shortened)
}

/// True for a Set-Cookie line of an ignored cookie, which does not prevent storing.
pub(super) fn is_ignored_set_cookie(policy: &Policy, line: &[u8]) -> bool {
    policy.has_partitions()
        && cookies(line)
            .next()
            .is_some_and(|cookie| is_ignored(policy, cookie))
}

/// RFC 6265, 4.2.1: `name=value` pairs between semicolons.
fn cookies(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b';')
        .map(trim)
        .filter(|cookie| !cookie.is_empty())
}

/// True for a cookie that does not identify a user.
fn is_ignored(names: &impl CredentialNames, cookie: &[u8]) -> bool {
    names.is_ignored_cookie(cookie_name(cookie))
}

fn cookie_name(cookie: &[u8]) -> &[u8] {
    let name = cookie.split(|&byte| byte == b'=').next();
    trim(name.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        Mode, Patterns,
        fixture::{Lines, headers, policy},
    };
    use proptest::prelude::*;

    #[test]
    fn the_same_bytes_make_the_same_secret() {
        let policy = policy(Mode::Standard);
        let held = headers(&[("authorization", "Bearer a")]);
        let identity = |bytes| {
            let secret = IdentitySecret::from_bytes(&bytes);
            secret.identity(&policy, &held, &policy).unwrap()
        };
        assert_eq!(identity([1; 32]), identity([1; 32]));
        assert_ne!(identity([1; 32]), identity([2; 32]));
        let bytes = identity([1; 32]).to_bytes();
        assert_eq!(Identity::from_bytes(bytes), identity([1; 32]));
    }

    #[test]
    fn credentials_make_an_identity_in_standard_and_always_only() {
        let secret = IdentitySecret::new();
        for (lines, expected) in [
            (&[][..] as Lines<'_>, false),
            (&[("accept", "*/*")], false),
            (&[("authorization", "Bearer a")], true),
            (&[("cookie", "session=1")], true),
            (&[("cookie", "_ga=1; __CF_BM=2")], false),
            (&[("cookie", "_ga=1; session=2")], true),
            (&[("cookie", " ; ")], false),
            (&[("x-api-key", "k")], true),
            (&[("x-csrf-token", "t")], true),
            (&[("x-auth-user", "t")], true),
            (&[("token", "t")], false),
        ] {
            let held = headers(lines);
            for mode in [Mode::Standard, Mode::Always] {
                let found = secret.identity(&policy(mode), &held, &policy(mode));
                assert_eq!(found.is_some(), expected, "{lines:?}");
            }
            assert_eq!(
                secret.identity(&policy(Mode::Strict), &held, &policy(Mode::Strict)),
                None
            );
        }
    }

    #[test]
    fn the_parts_of_an_identity_are_named_without_their_values() {
        let parts = |mode, lines| IdentityParts::of(&policy(mode), &headers(lines));
        let lines: Lines<'_> = &[
            ("x-api-key", "SECRET"),
            ("cookie", "_ga=1; sid=SECRET; \u{fc}<b>=2; sid=3"),
            ("accept", "a"),
        ];
        let found = parts(Mode::Standard, lines);
        assert_eq!(
            found.to_string(),
            "cookie sid, cookie ???b?, header x-api-key"
        );
        assert_eq!(
            found.remedy(),
            "if it does not change the response, add !sid, !???b? to identity_cookies and !x-api-key to identity_headers"
        );
        assert_eq!(parts(Mode::Strict, lines), IdentityParts::default());
        let authorized = parts(Mode::Always, &[("authorization", "Bearer SECRET")]);
        assert_eq!(authorized.to_string(), "header authorization");
        assert_eq!(authorized.remedy(), "shared if the origin says public");
        let many: Vec<String> = (0..100)
            .map(|nth| format!("{}{nth}=1", "n".repeat(99)))
            .collect();
        let line = many.join("; ");
        let long = parts(Mode::Standard, &[("cookie", &line)]);
        assert_eq!(long.cookies, [format!("{}*", "n".repeat(MAX_NAME_BYTES))]);
    }

    #[test]
    fn the_name_of_a_cookie_is_shown_as_a_pattern_that_matches_it() {
        let long = "n".repeat(MAX_NAME_BYTES);
        for (name, expected) in [
            ("sid", "sid"),
            (
                "wordpress_logged_in_0123456789abcdef0123",
                "wordpress_logged_in_*",
            ),
            ("0123456789abcdef0123", "*"),
            ("a b\u{fc}", "a?b??"),
            ("internationalization", "internationalization"),
            ("_ga_G12345", "_ga_G12345"),
            (&long, &long),
            (&format!("{long}-"), &format!("{long}*")),
        ] {
            assert_eq!(shown(name.as_bytes()), expected, "{name}");
            let bytes: String = name.bytes().map(char::from).collect();
            assert!(
                super::super::Patterns::new([expected]).matches(&bytes),
                "{name}"
            );
        }
    }

    #[test]
    fn the_cookies_that_prevent_storing_are_named_without_what_looks_like_a_secret() {
        let named = |lines: Lines<'_>| {
            identifying_set_cookies(&policy(Mode::Standard), &headers(lines)).join(" ")
        };
        assert_eq!(named(&[("set-cookie", "lang=de; Path=/")]), "lang");
        assert_eq!(
            named(&[
                ("set-cookie", "_ga=1"),
                ("set-cookie", "sid=SECRET"),
                ("set-cookie", "sid=SECRET; Path=/a"),
                ("set-cookie", "0123456789abcdef0123=1"),
                ("set-cookie", "b"),
            ]),
            "sid b"
        );
        assert_eq!(named(&[("set-cookie", "a=1"); 9]), "a");
        assert_eq!(named(&[("cookie", "a=1")]), "");
    }

    #[test]
    fn what_the_remedy_names_makes_no_identity_any_more() {
        let held = headers(&[("cookie", "sid=1; lang=de"), ("x-api-key", "k")]);
        let mut policy = policy(Mode::Standard);
        let found = IdentityParts::of(&policy, &held);
        let with = |patterns: &Patterns, names: &[String]| {
            let exceptions: Vec<String> = names.iter().map(|name| format!("!{name}")).collect();
            let all = patterns.written().iter().chain(&exceptions);
            Patterns::new(all.map(String::as_str))
        };
        policy.identity_cookies = with(&policy.identity_cookies, &found.cookies);
        policy.identity_headers = with(&policy.identity_headers, &found.headers);
        assert_eq!(IdentityParts::of(&policy, &held), IdentityParts::default());
    }

    #[test]
    fn identities_differ_by_all_credentials_and_only_by_them() {
        let secret = IdentitySecret::new();
        let policy = policy(Mode::Standard);
        let identity = |lines| secret.identity(&policy, &headers(lines), &policy).unwrap();
        let one = identity(&[("authorization", "a"), ("x-api-key", "b")]);
        assert_eq!(
            one,
            identity(&[
                ("accept", "c"),
                ("x-api-key", "b"),
                ("cookie", "_ga=7"),
                ("authorization", "a"),
            ])
        );
        for other in [
            &[("authorization", "b"), ("x-api-key", "a")][..] as Lines<'_>,
            &[("authorization", "a")],
            &[
                ("authorization", "a"),
                ("x-api-key", "b"),
                ("x-api-key", "b"),
            ],
            &[
                ("authorization", "a"),
                ("x-api-key", "b"),
                ("cookie", "c=1"),
            ],
            &[("authorization", "ab"), ("x-api-key", "")],
        ] {
            assert_ne!(one, identity(other), "{other:?}");
        }
        let another = IdentitySecret::new();
        assert_ne!(
            Some(one),
            another.identity(
                &policy,
                &headers(&[("authorization", "a"), ("x-api-key", "b")]),
                &policy
            )
        );
    }

    #[test]
    fn ignored_cookies_are_removed_and_the_rest_is_unchanged() {
        let forwarded = |mode, line: &str| {
            forwarded_cookie(
                &policy(mode),
                &policy(mode),
                &HeaderValue::from_bytes(line.as_bytes()).unwrap(),
            )
        };
        let shortened = |text| ForwardedCookie::Shortened(HeaderValue::from_static(text));
        for (line, expected) in [
            ("a=1;b=2", ForwardedCookie::Unchanged),
            ("", ForwardedCookie::Unchanged),
            ("_ga=1", ForwardedCookie::Nothing),
            ("_GA_X=1; __cf_bm=2;", ForwardedCookie::Nothing),
            ("_ga=1; a=\"x=y\"; b", shortened("a=\"x=y\"; b")),
            ("a=1;_ga=2;b=3", shortened("a=1; b=3")),
        ] {
            assert_eq!(forwarded(Mode::Standard, line), expected, "{line}");
            assert_eq!(forwarded(Mode::Always, line), expected, "{line}");
        }
        assert_eq!(forwarded(Mode::Strict, "_ga=1"), ForwardedCookie::Unchanged);
    }

    #[test]
    fn only_identity_cookies_that_are_not_ignored_make_an_identity() {
        let secret = IdentitySecret::new();
        let identity = |named: &[&'static str], mode, line: &str| {
            let policy = Policy {
                identity_cookies: crate::policy::Patterns::new(named.iter().copied()),
                ..policy(mode)
            };
            let line = HeaderValue::from_bytes(line.as_bytes()).unwrap();
            let mut fields = HeaderMap::new();
            fields.insert(COOKIE, line.clone());
            let forwarded = forwarded_cookie(&policy, &policy, &line);
            (
                secret.identity(&policy, &fields, &policy).is_some(),
                forwarded,
            )
        };
        let shortened = |text| ForwardedCookie::Shortened(HeaderValue::from_static(text));
        for (named, line, counts, forwarded) in [
            (&["*"][..], "lang=de", true, ForwardedCookie::Unchanged),
            (&["sid"], "lang=de", false, ForwardedCookie::Nothing),
            (&["sid"], "SID=1; lang=de", true, shortened("SID=1")),
            (&["sid", "_ga*"], "_ga=1", false, ForwardedCookie::Nothing),
            (&["s*d"], "session_id=1", true, ForwardedCookie::Unchanged),
            (&["sid"], "xsid=1; sidx=2", false, ForwardedCookie::Nothing),
            (&["sid"], "lang=\"x; sid=1\"", true, shortened("sid=1\"")),
            (&["sid"], "lang=x, sid=1", false, ForwardedCookie::Nothing),
            (&[], "sid=1; lang=de", false, ForwardedCookie::Nothing),
        ] {
            for mode in [Mode::Standard, Mode::Always] {
                let found = identity(named, mode, line);
                assert_eq!(found, (counts, forwarded.clone()), "{named:?} {line}");
            }
            let strict = identity(named, Mode::Strict, line);
            assert_eq!(strict, (false, ForwardedCookie::Unchanged), "{line}");
        }
    }

    #[test]
    fn a_cookie_with_a_non_utf8_name_matches_only_a_star() {
        let line = HeaderValue::from_bytes(b"\xff=1").unwrap();
        let mut policy = policy(Mode::Standard);
        assert_eq!(
            forwarded_cookie(&policy, &policy, &line),
            ForwardedCookie::Unchanged
        );
        policy.identity_cookies = crate::policy::Patterns::new(["sid"]);
        assert_eq!(
            forwarded_cookie(&policy, &policy, &line),
            ForwardedCookie::Nothing
        );
    }

    #[test]
    fn a_set_cookie_is_ignored_by_its_name() {
        let ignored = |mode, line: &str| is_ignored_set_cookie(&policy(mode), line.as_bytes());
        assert!(ignored(Mode::Standard, "__cf_bm=x; path=/; HttpOnly"));
        assert!(!ignored(Mode::Standard, "session=1; _ga=2"));
        assert!(!ignored(Mode::Standard, ""));
        assert!(!ignored(Mode::Strict, "__cf_bm=x"));
    }

    proptest! {
        #[test]
        fn any_cookie_line_is_read_without_panic(bytes: Vec<u8>) {
            if let Ok(line) = HeaderValue::from_bytes(&bytes) {
                let policy = policy(Mode::Standard);
                let _ = forwarded_cookie(&policy, &policy, &line);
                let _ = is_ignored_set_cookie(&policy, line.as_bytes());
            }
        }

        #[test]
        fn a_forwarded_line_has_exactly_the_cookies_that_are_not_ignored(
            line in "((_ga|_GA_1|a|__cf_bm|b)(=[a-z= ]{0,3})?[; ]{1,2}){0,5}",
        ) {
            let policy = policy(Mode::Standard);
            let counting: Vec<&[u8]> =
                cookies(line.as_bytes()).filter(|cookie| !is_ignored(&policy, cookie)).collect();
            let came = HeaderValue::from_str(&line).unwrap();
            let forwarded = match forwarded_cookie(&policy, &policy, &came) {
                ForwardedCookie::Unchanged => came,
                ForwardedCookie::Shortened(shortened) => shortened,
                ForwardedCookie::Nothing => HeaderValue::from_static(""),
            };
            prop_assert_eq!(cookies(forwarded.as_bytes()).collect::<Vec<_>>(), counting);
            prop_assert_eq!(forwarded_cookie(&policy, &policy, &forwarded), ForwardedCookie::Unchanged);
        }
    }
}
