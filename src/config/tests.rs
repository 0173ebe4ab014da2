use super::*;

fn load_beside(
    default_file: &Path,
    flags: &Flags,
    environment: Environment<'_>,
) -> Result<Config, ConfigError> {
    Sources::read(default_file, flags, environment)?.config()
}

/// Loads as if these were the flags, the environment and the file.
fn load(
    flags: &[(&'static str, &str)],
    environment: &[(&str, &str)],
    file: &str,
) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proxy.toml");
    std::fs::write(&path, file).unwrap();
    let flags = flags
        .iter()
        .map(|(name, value)| (*name, OsString::from(value)))
        .collect();
    let environment = |variable: &str| {
        let found = environment.iter().find(|(name, _)| *name == variable);
        found.map(|(_, value)| OsString::from(value))
    };
    load_beside(&path, &flags, &environment).map_err(|error| {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        text.replace(&format!("{}/", dir.path().display()), "")
    })
}

const ORIGIN: (&str, &str) = ("origin", "https://dummyjson.com");

fn file_with(line: &str) -> Result<Config, String> {
    load(&[ORIGIN], &[], line)
}

fn flag_with(name: &'static str, value: &str) -> Result<Config, String> {
    load(&[ORIGIN, (name, value)], &[], "")
}

#[test]
fn without_anything_said_the_defaults_count() {
    let config = load(&[ORIGIN], &[], "").unwrap();
    let defaults = Config::for_origin(OriginUrl::parse("https://dummyjson.com").unwrap());
    assert_eq!(format!("{config:?}"), format!("{defaults:?}"));
    assert_eq!(config.port, 8000);
    assert_eq!(config.bind.to_string(), "127.0.0.1");
    assert_eq!(config.policy.mode, Mode::Standard);
    assert_eq!(config.policy.ttl, None);
    assert_eq!(config.policy.max_stale, Duration::from_secs(86_400));
    assert_eq!(config.timeout, Duration::from_secs(30));
    assert_eq!(config.max_memory_bytes, 268_435_456);
    assert_eq!(config.max_object_bytes, 67_108_864);
    assert!(config.policy.identity_headers.matches("X-Api-Key"));
    assert!(config.policy.ignored_cookies.matches("_ga_1"));
}

#[test]
fn a_flag_goes_before_the_environment_before_the_file_before_the_default() {
    let flag = [ORIGIN, ("port", "1")];
    let environment = [("CACHING_PROXY_PORT", "2")];
    assert_eq!(load(&flag, &environment, "port = 3").unwrap().port, 1);
    assert_eq!(load(&[ORIGIN], &environment, "port = 3").unwrap().port, 2);
    assert_eq!(load(&[ORIGIN], &[], "port = 3").unwrap().port, 3);
    assert_eq!(load(&[ORIGIN], &[], "").unwrap().port, 8000);
}

#[test]
fn an_empty_variable_is_not_set() {
    assert_eq!(
        load(&[ORIGIN], &[("CACHING_PROXY_PORT", "")], "port = 3")
            .unwrap()
            .port,
        3
    );
}

#[test]
fn every_key_is_also_a_variable() {
    // Any text is the name of a file; all other settings refuse this one, and name where it stands.
    for key in KEYS
        .iter()
        .filter(|key| !["origin_ca", RULES].contains(key))
    {
        let variable = format!("CACHING_PROXY_{}", key.to_uppercase());
        let error = load(&[], &[(&variable, "neither, (this) nor that")], "").unwrap_err();
        assert!(error.starts_with(&format!("{variable}: ")), "{error}");
    }
    let environment = [("CACHING_PROXY_ORIGIN_CA", "dev.pem")];
    let config = load(&[ORIGIN], &environment, "").unwrap();
    assert_eq!(config.origin_ca, Some(PathBuf::from("dev.pem")));
}

#[test]
fn the_shipped_file_has_every_key_once_and_at_its_default() {
    let shipped = include_str!("../../config/proxy.toml");
    assert!(
        shipped
            .lines()
            .all(|line| line.is_empty() || line.starts_with('#')),
        "something is set"
    );
    let (settings, rule) = shipped.split_once("# [[rules]]\n").unwrap();
    let known: Vec<&str> = KEYS.iter().copied().filter(|key| *key != RULES).collect();
    let settings = set_lines(settings, &known);
    let config = load(&[], &[], &settings).unwrap();
    let defaults = Config::for_origin(OriginUrl::parse("https://dummyjson.com").unwrap());
    assert_eq!(format!("{config:?}"), format!("{defaults:?}"));

    let rule = set_lines(rule, rules::KEYS);
    let config = load(&[], &[], &format!("{settings}\n[[rules]]\n{rule}")).unwrap();
    let rule = rule_for(&config, "/api/users");
    assert_eq!(rule.policy.ttl, Some(Duration::from_secs(600)));
    assert_eq!(rule.rewritten("/api/a?c&b&utm_x&fbclid=1"), "/api/a?b&c");
    assert_eq!(rule.store_post_bytes, Some(65_536));
}

/// The lines of the shipped file that would set something, each of `known` once, with a sentence before each.
fn set_lines(shipped: &str, known: &[&str]) -> String {
    let mut set = Vec::new();
    let mut before = "";
    for line in shipped.lines() {
        let plain = line.strip_prefix("# ").unwrap_or_default();
        let key = plain.split_once(" = ").map(|(key, _)| key);
        if key.is_some_and(|key| known.contains(&key)) {
            assert!(before.starts_with("# "), "{line} has no sentence");
            set.push(plain);
        }
        before = line;
    }
    assert_eq!(set.len(), known.len());
    set.join("\n")
}

fn rule_for<'c>(config: &'c Config, target: &str) -> &'c crate::policy::Rule {
    let index = config.rules.index_for(target).expect("a rule is for it");
    config.rules.get(index).unwrap()
}

#[test]
fn what_a_rule_does_not_say_is_as_without_it() {
    let flags = [ORIGIN, ("policy", "always"), ("ttl", "10m")];
    let file = "max_stale = \"1h\"\n\
                [[rules]]\npath = \"/a*\"\nttl = \"1m\"\n\
                [[rules]]\npath = \"/b\"\npolicy = \"strict\"\n\
                [[rules]]\npath = \"/c\"\nttl = \"none\"\nignore_client_cache_control = true\n\
                [[rules]]\npath = \"*/d\"\nstore_post = \"1MiB\"\nsort_query = false";
    let config = load(&flags, &[], file).unwrap();
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    for (target, mode, ttl, client_word, store_post) in [
        ("/a/b", Mode::Always, Some(minute), ClientWord::Heard, None),
        (
            "/b?c",
            Mode::Strict,
            Some(10 * minute),
            ClientWord::Heard,
            None,
        ),
        ("/c", Mode::Always, None, ClientWord::Ignored, None),
        (
            "/x/d",
            Mode::Always,
            Some(10 * minute),
            ClientWord::Heard,
            Some(1 << 20),
        ),
    ] {
        let rule = rule_for(&config, target);
        assert_eq!(rule.policy.mode, mode, "{target}");
        assert_eq!(rule.policy.ttl, ttl, "{target}");
        assert_eq!(rule.policy.client_word, client_word, "{target}");
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
fn a_wrong_rule_is_refused_with_its_line_and_what_is_right() {
    let path = "path = \"/a\"\nttl = \"1m\"";
    for (rules, expected) in [
        (
            "rules = true",
            "1: rules: true is not a list of tables, each of which begins with a line [[rules]]",
        ),
        ("[rules]", "1: rules: this table is not a list of tables"),
        ("rules = [1]", "1: rules: this list is not a list of tables"),
        (
            "\n[[rules]]\nttl = \"1m\"",
            "2: this rule has no path; say for which paths it is, such as path = \"/api/*\"",
        ),
        ("[[rules]]", "1: this rule has no path"),
        (
            "[[rules]]\npath = \"/a\"",
            "1: the rule for \"/a\" changes nothing; give it one of ttl, policy, ignore_query",
        ),
        (
            "[[rules]]\npath = \"/a\"\nsort_query = false\nignore_query = []\nstore_post = false",
            "1: the rule for \"/a\" changes",
        ),
        (
            "[[rules]]\npath = \"/a\"\npth = 1",
            "3: unknown key \"pth\"; known keys are path, ttl, policy,",
        ),
        (
            "[[rules]]\npath = 1",
            "2: path: 1 is not a path as it stands in a request",
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
            "3: ignore_query: \"utm_*\" is not a list of names of parameters",
        ),
        (
            "[[rules]]\npath = \"/a\"\nignore_query = [\"a=b\"]",
            "3: ignore_query: this list is not a list of names",
        ),
        (
            "[[rules]]\npath = \"/a\"\nignore_query = [\"\"]",
            "3: ignore_query: this list is not",
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
            "1: ignored_cookies: this list of tables is not a list of names",
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
    assert_eq!(error, "proxy.toml:769: there are more than 256 rules");
}

#[test]
fn a_path_that_no_request_has_is_refused() {
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
fn a_rule_that_an_earlier_one_takes_everything_from_is_refused() {
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
            "proxy.toml:6: the rule for {path:?} never counts: the one on line 3 is for {earlier:?}, \
             which takes all of its paths; put it before that one, or leave it out"
        );
        assert_eq!(error, expected);
        assert!(
            rules([path, earlier]).is_ok() || path == earlier,
            "{paths:?}"
        );
    }
}

#[test]
fn sizes_and_durations_are_read_as_people_write_them() {
    for (text, bytes) in [
        ("256MiB", 268_435_456),
        ("1.5 GB", 1_500_000_000),
        ("2000000", 2_000_000),
        ("64m", 64_000_000),
    ] {
        assert_eq!(
            flag_with("max-memory", text).unwrap().max_memory_bytes,
            bytes,
            "{text}"
        );
    }
    assert_eq!(
        file_with("max_memory = 2000000").unwrap().max_memory_bytes,
        2_000_000
    );
    for (text, seconds) in [("10m", 600), ("1h 30m", 5400), ("1day", 86_400)] {
        assert_eq!(
            flag_with("timeout", text).unwrap().timeout.as_secs(),
            seconds,
            "{text}"
        );
    }
    assert_eq!(
        flag_with("ttl", "10m").unwrap().policy.ttl,
        Some(Duration::from_secs(600))
    );
    assert_eq!(
        flag_with("max-stale", "0s").unwrap().policy.max_stale,
        Duration::ZERO
    );
}

#[test]
fn a_limit_in_the_file_can_be_lifted_by_a_flag() {
    let config = load(
        &[ORIGIN, ("ttl", "none"), ("preserve-host", "no")],
        &[],
        "ttl = \"1s\"\npreserve_host = true",
    );
    let config = config.unwrap();
    assert_eq!(config.policy.ttl, None);
    assert!(!config.preserve_host);
}

#[test]
fn the_largest_body_follows_the_memory() {
    assert_eq!(
        flag_with("max-memory", "8MiB").unwrap().max_object_bytes,
        2 * 1024 * 1024
    );
    let error = load(
        &[ORIGIN, ("max-memory", "8MiB")],
        &[],
        "\nmax_object = \"9MiB\"",
    )
    .unwrap_err();
    assert!(
        error.starts_with(
            "proxy.toml:2: max_object: 9.0 MiB is more than max_memory, which is 8.0 MiB"
        ),
        "{error}"
    );
}

#[test]
fn the_dashboard_does_not_listen_where_the_proxy_does() {
    let load_with = |bind, dashboard| {
        load(
            &[
                ORIGIN,
                ("port", "8060"),
                ("bind", bind),
                ("dashboard", dashboard),
            ],
            &[],
            "",
        )
    };
    for (bind, dashboard) in [("127.0.0.1", "8060"), ("0.0.0.0", "127.0.0.1:8060")] {
        assert_eq!(
            load_with(bind, dashboard).unwrap_err(),
            "--dashboard: 127.0.0.1:8060 is where the proxy itself listens; give the dashboard another port"
        );
    }
    assert!(load_with("127.0.0.1", "8061").is_ok());
    assert!(load_with("127.0.0.2", "127.0.0.1:8060").is_ok());
}

#[test]
fn lists_have_commas_in_text_and_brackets_in_the_file() {
    let config = flag_with("identity-headers", "x-user, *-session").unwrap();
    assert!(config.policy.identity_headers.matches("X-User"));
    assert!(!config.policy.identity_headers.matches("x-api-key"));
    let config = file_with("identity_cookies = [\"sid\"]").unwrap();
    assert!(config.policy.identity_cookies.matches("SID"));
    assert!(!config.policy.identity_cookies.matches("lang"));
    for nobody in [
        file_with("identity_cookies = []"),
        flag_with("identity-cookies", ""),
    ] {
        assert!(!nobody.unwrap().policy.identity_cookies.matches("sid"));
    }
    let config = file_with("ignored_cookies = []").unwrap();
    assert!(!config.policy.ignored_cookies.matches("_ga"));
}

#[test]
fn booleans_are_said_in_many_ways_outside_the_file() {
    for (text, meant) in [
        ("true", true),
        ("1", true),
        ("YES", true),
        ("false", false),
        ("0", false),
        ("no", false),
    ] {
        let config = load(&[ORIGIN], &[("CACHING_PROXY_PRESERVE_HOST", text)], "").unwrap();
        assert_eq!(config.preserve_host, meant, "{text}");
    }
}

#[test]
fn a_wrong_value_is_refused_with_its_place_and_what_is_right() {
    let port = "a port, a number from 1 to 65535 such as 8000";
    for text in ["0", "65536", "-1", "http", "", "80 "] {
        assert_eq!(
            flag_with("port", text).unwrap_err(),
            format!("--port: {text:?} is not {port}")
        );
    }
    for (flag, text) in [
        ("bind", "localhost"),
        ("policy", "Always"),
        ("ttl", "0s"),
        ("ttl", "30"),
        ("timeout", "0s"),
        ("timeout", "25h"),
        ("timeout", "none"),
        ("max-memory", "1023KiB"),
        ("max-memory", "-5MiB"),
        ("max-memory", "99999999EiB"),
        ("max-object", "0"),
        ("max-stale", "forever"),
        ("workers", "0"),
        ("workers", "513"),
        ("preserve-host", "maybe"),
        ("identity-headers", "x user"),
        ("identity-cookies", "a;b"),
        ("ignored-cookies", "a=b"),
    ] {
        let error = flag_with(flag, text).unwrap_err();
        assert!(
            error.starts_with(&format!("--{flag}: {text:?} is not ")),
            "{error}"
        );
    }
}

#[test]
fn a_wrong_type_in_the_file_is_refused_with_its_line_and_what_is_right() {
    for (line, expected) in [
        ("port = \"8000\"", "port: \"8000\" is not a port, a number"),
        ("port = 8000.5", "port: 8000.5 is not a port, a number"),
        ("bind = 1", "bind: 1 is not an IP address"),
        ("origin = 1", "origin: 1 is not the URL of an origin"),
        (
            "timeout = 30",
            "timeout: 30 is not a duration from 1ms to 24h with its unit",
        ),
        ("ttl = true", "ttl: true is not \"none\" or a duration"),
        (
            "max_memory = [1]",
            "max_memory: this list is not a size from 1.0 MiB",
        ),
        (
            "max_memory = 1979-05-27",
            "max_memory: 1979-05-27 is not a size",
        ),
        (
            "preserve_host = \"true\"",
            "preserve_host: \"true\" is not true or false, without quotes",
        ),
        (
            "identity_headers = \"a,b\"",
            "identity_headers: \"a,b\" is not a list of names, such as [\"x-user\"",
        ),
        (
            "identity_headers = [1]",
            "identity_headers: this list is not a list of names",
        ),
        ("origin_ca = 1", "origin_ca: 1 is not the name of a file"),
        (
            "[policy]",
            "policy: this table is not a policy: \"standard\", \"strict\" or \"always\"",
        ),
    ] {
        let error = file_with(&format!("# one\n\n{line}\n")).unwrap_err();
        assert!(
            error.starts_with(&format!("proxy.toml:3: {expected}")),
            "{error}"
        );
    }
}

#[test]
fn a_number_beyond_all_bounds_is_refused_like_any_other() {
    let huge = "99999999999999999999";
    for key in KEYS {
        let error = file_with(&format!("\n{key} = {huge}")).unwrap_err();
        assert!(
            error.starts_with(&format!("proxy.toml:2: {key}: {huge} is not ")),
            "{error}"
        );
    }
    let error = file_with(&format!("port = {huge}")).unwrap_err();
    assert!(
        error.ends_with("a port, a number from 1 to 65535 such as 8000"),
        "{error}"
    );
}

#[test]
fn there_are_as_many_workers_as_the_server_can_have() {
    assert_eq!(flag_with("workers", "512").unwrap().workers, 512);
    assert!(flag_with("workers", "auto").unwrap().workers <= 512);
    assert_eq!(
        flag_with("workers", "513").unwrap_err(),
        "--workers: \"513\" is not a number of threads from 1 to 512, or \"auto\""
    );
}

#[test]
fn the_file_has_to_be_right_even_where_a_flag_overrides_it() {
    let error = load(&[ORIGIN, ("port", "1")], &[], "port = 0").unwrap_err();
    assert!(error.starts_with("proxy.toml:1: port: 0 is not"), "{error}");
    // A variable need not: others set them, as Kubernetes does CACHING_PROXY_PORT for a service of that name.
    let environment = [("CACHING_PROXY_PORT", "tcp://10.0.0.1:80")];
    assert_eq!(
        load(&[ORIGIN, ("port", "1")], &environment, "")
            .unwrap()
            .port,
        1
    );
    let error = load(&[ORIGIN], &environment, "").unwrap_err();
    assert!(
        error.starts_with("CACHING_PROXY_PORT: \"tcp://10.0.0.1:80\" is not"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_named_has_to_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.toml");
    let named = Flags::from([
        ("config", missing.clone().into()),
        ("origin", ORIGIN.1.into()),
    ]);
    let error = Config::load(&named, &|_| None).unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }), "{error}");
    let unnamed = Flags::from([("origin", ORIGIN.1.into())]);
    assert!(load_beside(&missing, &unnamed, &|_| None).is_ok());
    assert!(load_beside(&dir.path().join("a/b"), &unnamed, &|_| None).is_ok());
}

#[test]
fn the_file_can_be_named_by_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.toml");
    std::fs::write(&path, "origin = \"https://dummyjson.com\"\nport = 7").unwrap();
    let environment =
        |variable: &str| (variable == "CACHING_PROXY_CONFIG").then(|| path.clone().into());
    assert_eq!(Config::load(&Flags::new(), &environment).unwrap().port, 7);
}

#[test]
fn a_missing_origin_is_answered_with_an_example() {
    let error = load(&[], &[], "").unwrap_err();
    assert!(
        error.contains("caching-proxy --port 8000 --origin https://dummyjson.com"),
        "{error}"
    );
}

#[test]
fn a_wrong_origin_is_answered_by_what_would_be_right() {
    let error = load(&[("origin", "dummyjson.com")], &[], "").unwrap_err();
    assert!(error.starts_with("--origin: "), "{error}");
    assert!(error.contains("https://dummyjson.com"), "{error}");
}

#[test]
fn the_port_to_clear_is_the_one_of_the_flag() {
    assert_eq!(port_flag(&Flags::new()).unwrap(), None);
    assert_eq!(
        port_flag(&Flags::from([("port", "8001".into())])).unwrap(),
        Some(8001)
    );
    assert!(port_flag(&Flags::from([("port", "x".into())])).is_err());
}
