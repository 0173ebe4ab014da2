//! `[[rules]]`.

use super::*;

#[test]
fn a_setting_missing_in_a_rule_keeps_its_global_value() {
    let flags = [ORIGIN, ("policy", "always"), ("ttl", "10m")];
    let file = "max_stale = \"1h\"\n\
                [[rules]]\npath = \"/a*\"\nttl = \"1m\"\n\
                [[rules]]\npath = \"/b\"\npolicy = \"strict\"\n\
                [[rules]]\npath = \"/c\"\nttl = \"none\"\nignore_client_cache_control = true\n\
                [[rules]]\npath = \"*/d\"\nstore_post = \"1MiB\"\nsort_query = false";
    let config = load(&flags, &[], file).unwrap();
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    for (target, mode, ttl, client_directives, store_post) in [
        (
            "/a/b",
            Mode::Always,
            Some(minute),
            ClientDirectives::Obeyed,
            None,
        ),
        (
            "/b?c",
            Mode::Strict,
            Some(10 * minute),
            ClientDirectives::Obeyed,
            None,
        ),
        ("/c", Mode::Always, None, ClientDirectives::Ignored, None),
        (
            "/x/d",
            Mode::Always,
            Some(10 * minute),
            ClientDirectives::Obeyed,
            Some(1 << 20),
        ),
    ] {
        let rule = rule_for(&config, target);
        assert_eq!(rule.policy.mode, mode, "{target}");
        assert_eq!(rule.policy.ttl, ttl, "{target}");
        assert_eq!(rule.policy.client_directives, client_directives, "{target}");
        assert_eq!(rule.policy.max_stale, 3600 * second, "{target}");
        assert_eq!(rule.store_post_bytes, store_post, "{target}");
        assert_eq!(rule.rewritten("/?b&a"), "/?b&a", "{target}");
    }
    assert!(config.rules.index_for("/B").is_none());
    assert!(
        file_with("rules = []")
            .unwrap()
            .rules
            .index_for("/")
            .is_none()
    );
}

#[test]
fn a_wrong_rule_is_refused_with_its_line_and_a_correction() {
    let path = "path = \"/a\"\nttl = \"1m\"";
    for (rules, expected) in [
        (
            "rules = true",
            "1: rules: true is not a list of tables that each begin with a line [[rules]]",
        ),
        ("[rules]", "1: rules: this table is not a list of tables"),
        ("rules = [1]", "1: rules: this list is not a list of tables"),
        (
            "\n[[rules]]\nttl = \"1m\"",
            "2: this rule has no path; add the paths it applies to, such as path = \"/api/*\"",
        ),
        ("[[rules]]", "1: this rule has no path"),
        (
            "[[rules]]\npath = \"/a\"",
            "1: the rule for \"/a\" changes nothing; add at least one of: ttl, policy, ignore_query",
        ),
        (
            "[[rules]]\npath = \"/a\"\nsort_query = false\nignore_query = []\nstore_post = false",
            "1: the rule for \"/a\" changes",
        ),
        (
            "[[rules]]\npath = \"/a\"\npth = 1",
            "3: unknown key \"pth\"; did you mean \"path\"?",
        ),
        (
            "[[rules]]\npath = 1",
            "2: path: 1 is not a pattern of paths",
        ),
        (
            "[[rules]]\npath = \"/a\"\nttl = \"soon\"",
            "3: ttl: \"soon\" is not \"none\" or a duration",
        ),
        (
            "[[rules]]\npath = \"/a\"\nttl = 99999999999999999999",
            "3: ttl: 99999999999999999999 is not",
        ),
        (
            "[[rules]]\npath = \"/a\"\npolicy = \"never\"",
            "3: policy: \"never\" is not a policy",
        ),
        (
            "[[rules]]\npath = \"/a\"\nsort_query = \"true\"",
            "3: sort_query: \"true\" is not true or false",
        ),
        (
            "[[rules]]\npath = \"/a\"\nignore_query = \"utm_*\"",
            "3: ignore_query: \"utm_*\" is not a list of parameter names",
        ),
        (
            "[[rules]]\npath = \"/a\"\nignore_query = [\"a=b\"]",
            "3: ignore_query: \"a=b\" is not a parameter name: it has \"=\"; write a list such as [\"utm_*\", \"fbclid\"]",
        ),
        (
            "[[rules]]\npath = \"/a\"\nignore_query = [\"\"]",
            "3: ignore_query: \"\" is not a parameter name: it is empty",
        ),
        (
            "[[rules]]\npath = \"/a\"\nstore_post = 0",
            "3: store_post: 0 is not true (64.0 KiB), false, or a size of at most 1.0 MiB",
        ),
        (
            "[[rules]]\npath = \"/a\"\nstore_post = \"2MiB\"",
            "3: store_post: \"2MiB\" is not true",
        ),
        (
            "[[rules]]\npath = \"/a\"\nignore_client_cache_control = 1",
            "3: ignore_client_cache_control: 1 is not true or false",
        ),
        (
            "[[port]]\na = 1",
            "1: port: this list of tables is not a port",
        ),
        (
            "[[ignored_cookies]]\na = 1",
            "1: ignored_cookies: this list of tables is not a list of cookie names",
        ),
    ] {
        let error = file_with(rules).unwrap_err();
        assert!(
            error.starts_with(&format!("proxy.toml:{expected}")),
            "{rules}\n{error}"
        );
    }
    let many = format!("[[rules]]\n{path}\n").replace("/a", "/NUMBER");
    let many: String = (0..257)
        .map(|number| many.replace("NUMBER", &number.to_string()))
        .collect();
    let error = file_with(&many).unwrap_err();
    assert_eq!(
        error,
        "proxy.toml:769: more than 256 rules; combine some with a pattern such as path = \"/api/*\""
    );
}

#[test]
fn an_impossible_path_is_refused() {
    for path in [
        "",
        "api/*",
        "?api",
        "https://a/b",
        "/a b",
        "/a#b",
        "/a\\tb",
        "/ä",
        "/a<b",
        "/a\\u007f",
        &format!("/{}", "a".repeat(256)),
    ] {
        let error = file_with(&format!("[[rules]]\npath = \"{path}\"\nttl = \"1m\"")).unwrap_err();
        assert!(error.starts_with("proxy.toml:2: path: "), "{path}: {error}");
    }
}

#[test]
fn a_rule_covered_by_an_earlier_rule_is_refused() {
    let rules = |paths: [&str; 2]| {
        let rules = paths.map(|path| format!("[[rules]]\nttl = \"1m\"\npath = \"{path}\"\n"));
        file_with(&rules.concat())
    };
    for paths in [
        ["/a", "/a"],
        ["/api/*", "/api/users"],
        ["*", "/"],
        ["/*", "*.js"],
        ["/?", "/b"],
    ] {
        let error = rules(paths).unwrap_err();
        let [earlier, path] = paths;
        let expected = format!(
            "proxy.toml:6: the rule for {path:?} never applies: the rule for {earlier:?} on line 3 \
             matches all of its paths first; move it before that rule, or remove it"
        );
        assert_eq!(error, expected);
        assert!(
            rules([path, earlier]).is_ok() || path == earlier,
            "{paths:?}"
        );
    }
}

#[test]
fn a_key_that_has_no_effect_beside_the_others_is_refused_with_its_line() {
    let stored = "has no effect in a rule with store = false; remove one of the two";
    let post = "has no effect without store_post; add store_post = true, or remove it";
    for (rule, expected) in [
        (
            "persisted_queries = \"read-only\"",
            format!("3: persisted_queries {post}"),
        ),
        (
            "persisted_queries = \"change\"",
            format!("3: persisted_queries {post}"),
        ),
        (
            "ttl = \"1m\"\npersisted_queries = \"read-only\"\nstore_post = false",
            format!("4: persisted_queries {post}"),
        ),
        (
            "store = false\nstore_post = true",
            format!("4: store_post {stored}"),
        ),
        ("ttl = \"1m\"\nstore = false", format!("3: ttl {stored}")),
        ("store = false\nttl = \"none\"", format!("4: ttl {stored}")),
        (
            "policy = \"strict\"\nstore = false",
            format!("3: policy {stored}"),
        ),
        (
            "store = false\npersisted_queries = \"read-only\"",
            format!("4: persisted_queries {stored}"),
        ),
    ] {
        let error = file_with(&format!("[[rules]]\npath = \"/a\"\n{rule}")).unwrap_err();
        assert_eq!(error, format!("proxy.toml:{expected}"), "{rule}");
    }
    // A route may say store_post for the same requests.
    let route = "[[routes]]\npath = \"/a\"\norigin = \"http://b.test\"\n";
    for (store_post, rule, is_right) in [
        ("store_post = true\n", "", true),
        ("store_post = true\n", "store_post = false\n", false),
        ("store_post = false\n", "", false),
        ("", "", false),
    ] {
        let rule = format!("[[rules]]\npath = \"/a\"\npersisted_queries = \"read-only\"\n{rule}");
        let found = file_with(&format!("{route}{store_post}{rule}"));
        assert_eq!(found.is_ok(), is_right, "{store_post}{rule}: {found:?}");
    }
    for rule in [
        "store_post = true\npersisted_queries = \"read-only\"",
        "store = false\nstore_post = false",
        "store = false\nsort_query = true\nignore_query = [\"a\"]",
        // A request with only-if-cached is forwarded only if the directive is ignored.
        "store = false\nignore_client_cache_control = true",
        "store = false\ninvalidates = false",
    ] {
        let rules = file_with(&format!("[[rules]]\npath = \"/a\"\n{rule}"));
        assert!(rules.is_ok(), "{rule}: {rules:?}");
    }
}
