//! What would change an outcome: a setting for the path first, then one for the whole proxy.

use std::borrow::Cow;

use super::{Mode, Reason};

/// What would change an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// This policy, which then does this.
    Policy(Mode, &'static str),
    /// Not obeying the client's directives, or this policy, which then does this.
    IgnoreClient(Mode, &'static str),
    /// Not to say `store = false` in the rule.
    Store,
    /// `invalidates = false` in a rule for the request that changed a related path, if it changed nothing.
    Keep,
    /// `persisted_queries = "read-only"` in the rule for the path, if its persisted queries change nothing.
    PersistedQueries,
    /// A larger `store_post` in the rule for the path.
    StorePost,
    /// An exception for the cookie that the response sets, if it identifies nobody.
    IgnoreCookie,
    /// A flag: no rule has the setting.
    Flag(&'static str),
}

/// The longest path that is named, in characters.
const MAX_PATH_CHARS: usize = 80;

impl Remedy {
    /// In a few words, where neither path nor rule is known.
    pub fn hint(self) -> Cow<'static, str> {
        match self {
            Self::Policy(mode, effect) => {
                format!("policy = \"{}\" in a rule {effect}", mode.as_str()).into()
            }
            Self::IgnoreClient(..) => "ignore_client_cache_control in a rule".into(),
            Self::Store => "a rule says store = false".into(),
            Self::Keep => "invalidates = false in a rule keeps it".into(),
            Self::PersistedQueries => "persisted_queries in the rule caches it".into(),
            Self::StorePost => "raise store_post in the rule".into(),
            Self::IgnoreCookie => "if no login: !NAME in identity_cookies".into(),
            Self::Flag(flag) => flag.into(),
        }
    }

    /// The text of [`Remedy::IgnoreCookie`] for the cookies with these names. Without one it says `NAME`.
    pub fn ignore_cookies(names: &[String]) -> String {
        match names {
            [] => {
                "if the cookie identifies nobody, add !NAME to identity_cookies; the log names it"
                    .to_owned()
            }
            [name] => format!("if the cookie identifies nobody, add !{name} to identity_cookies"),
            names => format!(
                "if the cookies identify nobody, add !{} to identity_cookies",
                names.join(", !")
            ),
        }
    }

    /// For a request to `path`, where the rule with the patterns `rule` applies; `None` if no rule does. A flag does not
    /// change what a rule sets, so then the rule is named alone.
    pub fn text(self, path: &str, rule: Option<&str>) -> Cow<'static, str> {
        let (setting, mode, effect) = match self {
            Self::Policy(mode, effect) => {
                let setting = format!("policy = \"{}\"", mode.as_str());
                (setting, mode, effect)
            }
            Self::IgnoreClient(mode, effect) => {
                let setting = "ignore_client_cache_control = true".to_owned();
                (setting, mode, effect)
            }
            Self::Store => {
                let rule = rule.unwrap_or("the path");
                return format!("remove store = false from the [[rules]] entry for {rule}").into();
            }
            Self::PersistedQueries => {
                let rule = rule.unwrap_or("the path");
                return format!(
                    "persisted_queries = \"read-only\" in the [[rules]] entry for {rule} caches it, if persisted queries \
                     change nothing there"
                )
                .into();
            }
            Self::StorePost => {
                let rule = rule.unwrap_or("the path");
                return format!(
                    "raise store_post in the [[rules]] entry for {rule}, to at most 1MiB"
                )
                .into();
            }
            Self::Keep => {
                return "invalidates = false in a rule for the path of the POST, PUT or DELETE keeps it, if that changes nothing"
                    .into();
            }
            Self::IgnoreCookie => return Self::ignore_cookies(&[]).into(),
            Self::Flag(flag) => return flag.into(),
        };
        match rule {
            Some(rule) => format!("{setting} in the [[rules]] entry for {rule} {effect}").into(),
            None => format!(
                "{setting} in a [[rules]] entry for {}, or --policy {}, {effect}",
                pattern(path),
                mode.as_str()
            )
            .into(),
        }
    }
}

/// A pattern for a path. That of a very long path ends with `*`.
fn pattern(path: &str) -> Cow<'_, str> {
    match path.char_indices().nth(MAX_PATH_CHARS) {
        Some((end, _)) => format!("{}*", &path[..end]).into(),
        None => path.into(),
    }
}

impl Reason {
    /// What would change this under `mode`. `None` if nothing would.
    pub const fn remedy(self, mode: Mode) -> Option<Remedy> {
        const STORES: &str = "caches it";
        const REUSES: &str = "reuses it";
        Some(match (self, mode) {
            (Self::TooLarge, _) => Remedy::Flag("raise --max-object"),
            (Self::NoRoom, _) => Remedy::Flag("raise --max-memory"),
            (Self::Rule, _) => Remedy::Store,
            (Self::RelatedChange, _) => Remedy::Keep,
            (Self::PersistedQuery, _) => Remedy::PersistedQueries,
            (Self::LargeBody, _) => Remedy::StorePost,
            (Self::SetCookie, _) => Remedy::IgnoreCookie,
            (Self::Authorization, _) => Remedy::Policy(Mode::Standard, STORES),
            (
                Self::NoStore
                | Self::Private
                | Self::MustUnderstand
                | Self::VaryStar
                | Self::StatusWithoutLifetime
                | Self::NoLifetime,
                Mode::Standard | Mode::Strict,
            ) => Remedy::Policy(Mode::Always, STORES),
            (
                Self::NoCache | Self::MustRevalidate | Self::ProxyRevalidate | Self::SMaxage,
                Mode::Standard | Mode::Strict,
            ) => Remedy::Policy(Mode::Always, REUSES),
            (Self::ClientNoStore, Mode::Standard | Mode::Strict) => {
                Remedy::IgnoreClient(Mode::Always, STORES)
            }
            (
                Self::ClientNoCache | Self::ClientMaxAge | Self::ClientMinFresh,
                Mode::Standard | Mode::Strict,
            ) => Remedy::IgnoreClient(Mode::Always, REUSES),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        ClientDirectives, Decision, OriginFailure, Patterns, Policy, Reuse, StoredHead,
        fixture::{Exchange, Lines, later},
        may_serve_stale,
    };

    const BOTH: &[Mode] = &[Mode::Standard, Mode::Strict];

    /// Reason, modes, status, request and response of exchanges that end with the reason under each of the modes.
    type Scenario = (Reason, &'static [Mode], u16, Lines<'static>, Lines<'static>);

    const SCENARIOS: &[Scenario] = &[
        (
            Reason::NoStore,
            BOTH,
            200,
            &[],
            &[("cache-control", "no-store")],
        ),
        (
            Reason::Private,
            BOTH,
            404,
            &[],
            &[("cache-control", "private")],
        ),
        (
            Reason::MustUnderstand,
            BOTH,
            299,
            &[],
            &[("cache-control", "must-understand, max-age=9")],
        ),
        (
            Reason::VaryStar,
            BOTH,
            200,
            &[],
            &[("vary", "*"), ("cache-control", "max-age=9")],
        ),
        (Reason::StatusWithoutLifetime, BOTH, 302, &[], &[]),
        (
            Reason::NoLifetime,
            BOTH,
            200,
            &[],
            &[("cache-control", "max-age=0, must-revalidate")],
        ),
        (
            Reason::NoCache,
            BOTH,
            200,
            &[],
            &[("cache-control", "no-cache")],
        ),
        (
            Reason::ClientNoStore,
            BOTH,
            200,
            &[("cache-control", "no-store")],
            &[("cache-control", "max-age=9")],
        ),
        (
            Reason::Authorization,
            &[Mode::Strict],
            200,
            &[("authorization", "a")],
            &[("cache-control", "max-age=9")],
        ),
        (
            Reason::SetCookie,
            &[Mode::Standard],
            200,
            &[],
            &[("set-cookie", "lang=de")],
        ),
    ];

    fn scenarios() -> impl Iterator<Item = (Reason, Mode, u16, Lines<'static>, Lines<'static>)> {
        SCENARIOS
            .iter()
            .flat_map(|&(reason, modes, status, request, response)| {
                modes
                    .iter()
                    .map(move |mode| (reason, *mode, status, request, response))
            })
    }

    /// The policies that a remedy names: the narrowest first.
    fn cured(policy: &Policy, remedy: Remedy) -> Vec<Policy> {
        let with_mode = |mode| Policy {
            mode,
            ..policy.clone()
        };
        match remedy {
            Remedy::Policy(mode, _) => vec![with_mode(mode)],
            Remedy::IgnoreClient(mode, _) => vec![
                Policy {
                    client_directives: ClientDirectives::Ignored,
                    ..policy.clone()
                },
                with_mode(mode),
            ],
            Remedy::IgnoreCookie => vec![Policy {
                identity_cookies: Patterns::new(["*", "!lang"]),
                ..policy.clone()
            }],
            Remedy::Store
            | Remedy::Keep
            | Remedy::PersistedQueries
            | Remedy::StorePost
            | Remedy::Flag(_) => Vec::new(),
        }
    }

    #[test]
    fn a_remedy_lets_the_response_be_stored() {
        for (reason, mode, status, request, response) in scenarios() {
            let mut exchange = Exchange::new(mode, response)
                .request(request)
                .status(status);
            assert_eq!(exchange.admit().err(), Some(reason), "{mode:?}");
            let remedy = reason.remedy(mode).unwrap();
            for policy in cured(&exchange.policy, remedy) {
                exchange.policy = policy;
                assert!(exchange.admit().is_ok(), "{reason} {mode:?}");
            }
        }
    }

    #[test]
    fn a_remedy_lets_the_stored_response_be_reused() {
        let lasting: Lines<'_> = &[("cache-control", "max-age=100"), ("etag", "\"a\"")];
        let guessed: Lines<'_> = &[("etag", "\"a\"")];
        for (reason, mode, request, response) in [
            (Reason::ClientNoCache, Mode::Standard, "no-cache", lasting),
            (Reason::ClientNoCache, Mode::Strict, "no-cache", lasting),
            (Reason::ClientMaxAge, Mode::Standard, "max-age=0", guessed),
            (Reason::ClientMaxAge, Mode::Strict, "max-age=0", lasting),
            (
                Reason::ClientMinFresh,
                Mode::Strict,
                "min-fresh=200",
                lasting,
            ),
        ] {
            let lines = [("cache-control", request)];
            let mut exchange = Exchange::new(mode, response).request(&lines);
            let stored: Vec<StoredHead> = vec![exchange.admit().unwrap()];
            let Decision::Revalidate { why, .. } = exchange.decide(&stored, later(9)) else {
                panic!("{reason} {mode:?}");
            };
            assert_eq!(why.detail, Some(reason));
            for policy in cured(&exchange.policy, reason.remedy(mode).unwrap()) {
                exchange.policy = policy;
                assert_served(&exchange, &stored, 9);
            }
        }
    }

    #[test]
    fn a_remedy_lets_the_response_be_reused_without_validation_or_stale() {
        for mode in [Mode::Standard, Mode::Strict] {
            for (reason, directives) in [
                (Reason::NoCache, "no-cache"),
                (Reason::MustRevalidate, "max-age=1, must-revalidate"),
                (Reason::ProxyRevalidate, "max-age=1, proxy-revalidate"),
                (Reason::SMaxage, "s-maxage=1"),
            ] {
                let lines = [("cache-control", directives), ("etag", "\"a\"")];
                let mut exchange = Exchange::new(mode, &lines);
                let stored = exchange.admit().unwrap();
                let forbidden = exchange.with_request(|request| {
                    let failure = OriginFailure::Unreachable;
                    may_serve_stale(&exchange.policy, request, &stored, failure, later(9))
                });
                assert_eq!(forbidden, Err(reason), "{mode:?}");
                for policy in cured(&exchange.policy, reason.remedy(mode).unwrap()) {
                    exchange.policy = policy;
                    // A reload clears the cache, so the response is fetched and judged again.
                    let stored = exchange.admit().unwrap();
                    assert_served(&exchange, &[stored], 9);
                }
            }
        }
    }

    #[track_caller]
    fn assert_served(exchange: &Exchange<'_>, stored: &[StoredHead], seconds: u64) {
        let served = Decision::Serve {
            index: 0,
            reuse: Reuse::Fresh,
        };
        assert_eq!(exchange.decide(stored, later(seconds)), served);
    }

    #[test]
    fn every_remedy_is_tried_by_a_test_above() {
        let tried = [
            // Stored or reused in the tests above.
            Reason::NoStore,
            Reason::Private,
            Reason::MustUnderstand,
            Reason::VaryStar,
            Reason::StatusWithoutLifetime,
            Reason::NoLifetime,
            Reason::NoCache,
            Reason::ClientNoStore,
            Reason::ClientNoCache,
            Reason::ClientMaxAge,
            Reason::ClientMinFresh,
            Reason::Authorization,
            Reason::SetCookie,
            Reason::MustRevalidate,
            Reason::ProxyRevalidate,
            Reason::SMaxage,
            // No setting of the policy.
            Reason::TooLarge,
            Reason::NoRoom,
            Reason::Rule,
            Reason::RelatedChange,
            Reason::PersistedQuery,
            Reason::LargeBody,
        ];
        for reason in Reason::ALL {
            let has_remedy = reason.remedy(Mode::Standard).is_some();
            assert_eq!(has_remedy, tried.contains(&reason), "{reason}");
        }
    }

    #[test]
    fn a_policy_that_is_set_is_no_remedy() {
        for reason in Reason::ALL {
            let names_always = |remedy| {
                matches!(
                    remedy,
                    Remedy::Policy(Mode::Always, _) | Remedy::IgnoreClient(..)
                )
            };
            assert!(
                !reason.remedy(Mode::Always).is_some_and(names_always),
                "{reason}"
            );
        }
    }

    #[test]
    fn a_rule_for_the_path_is_named_before_the_flag() {
        let text = |reason: Reason, rule| reason.remedy(Mode::Standard).unwrap().text("/me", rule);
        assert_eq!(
            text(Reason::NoStore, None),
            "policy = \"always\" in a [[rules]] entry for /me, or --policy always, caches it"
        );
        assert_eq!(
            text(Reason::NoStore, Some("/m*")),
            "policy = \"always\" in the [[rules]] entry for /m* caches it"
        );
        assert_eq!(
            text(Reason::ClientNoCache, None),
            "ignore_client_cache_control = true in a [[rules]] entry for /me, or --policy always, reuses it"
        );
        assert_eq!(text(Reason::TooLarge, Some("/m*")), "raise --max-object");
        assert_eq!(
            text(Reason::Rule, Some("/m*")),
            "remove store = false from the [[rules]] entry for /m*"
        );
        assert_eq!(
            text(Reason::PersistedQuery, Some("/graphql")),
            "persisted_queries = \"read-only\" in the [[rules]] entry for /graphql caches it, if persisted queries change \
             nothing there"
        );
        assert_eq!(
            text(Reason::LargeBody, Some("/graphql")),
            "raise store_post in the [[rules]] entry for /graphql, to at most 1MiB"
        );
        let long = format!("/{}", "a".repeat(MAX_PATH_CHARS));
        let remedy = Remedy::Policy(Mode::Always, "caches it").text(&long, None);
        assert!(remedy.contains(&format!("{}*, or", &long[..MAX_PATH_CHARS])));
    }
}
