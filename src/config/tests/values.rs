//! How values are written, and how wrong ones are refused.

use super::*;

#[test]
fn sizes_and_durations_are_parsed_in_common_notations() {
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
        error.starts_with("proxy.toml:2: max_object: 9.0 MiB is more than max_memory (8.0 MiB)"),
        "{error}"
    );
}

#[test]
fn the_dashboard_cannot_share_the_address_of_the_proxy() {
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
            "--dashboard: the proxy itself listens on 127.0.0.1:8060; give the dashboard another port"
        );
    }
    assert!(load_with("127.0.0.1", "8061").is_ok());
    assert!(load_with("127.0.0.2", "127.0.0.1:8060").is_ok());
}

#[test]
fn the_metrics_share_no_address_with_the_proxy_or_its_dashboard() {
    let load_with = |bind, metrics| {
        let flags = [
            ORIGIN,
            ("port", "8060"),
            ("bind", bind),
            ("dashboard", "8061"),
            ("metrics", metrics),
        ];
        load(&flags, &[], "")
    };
    for (bind, metrics, expected) in [
        (
            "127.0.0.1",
            "0.0.0.0:8060",
            "--metrics: the proxy itself listens on 127.0.0.1:8060; give the metrics another port",
        ),
        (
            "0.0.0.0",
            "8060",
            "--metrics: the proxy itself listens on 0.0.0.0:8060; give the metrics another port",
        ),
        (
            "127.0.0.1",
            "0.0.0.0:8061",
            "--metrics: the dashboard listens on 127.0.0.1:8061; give the metrics another port",
        ),
    ] {
        assert_eq!(load_with(bind, metrics).unwrap_err(), expected);
    }
    assert!(load_with("127.0.0.1", "0.0.0.0:8062").is_ok());
    assert!(load_with("127.0.0.2", "127.0.0.1:8060").is_ok());
}

#[test]
fn a_port_from_kubernetes_is_explained() {
    let variable = ("CACHING_PROXY_PORT", "tcp://10.96.0.1:8000");
    let error = load(&[ORIGIN], &[variable], "").unwrap_err();
    assert!(error.contains("set enableServiceLinks: false"), "{error}");
}

#[test]
fn a_word_for_no_proxy_is_no_host() {
    for word in ["off", "no", "false", "direct"] {
        let error = flag_with("proxy", word).unwrap_err();
        assert!(error.ends_with("use \"none\" for no proxy"), "{error}");
    }
    assert!(flag_with("proxy", "none").is_ok());
}

#[test]
fn lists_are_written_with_commas_in_text_and_brackets_in_the_file() {
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
fn booleans_have_several_spellings_outside_the_file() {
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
fn a_wrong_value_is_refused_with_its_source_and_a_correction() {
    let port = "a port: a number from 1 to 65535, such as 8000, or 0 for any free one";
    assert_eq!(flag_with("port", "0").unwrap().port, 0);
    for text in ["65536", "-1", "http", "", "80 "] {
        assert_eq!(
            flag_with("port", text).unwrap_err(),
            format!("--port: {text:?} is not {port}")
        );
    }
    for (flag, text) in [
        ("bind", "localhos"),
        ("policy", "Always"),
        ("ttl", "0s"),
        ("ttl", "30"),
        ("timeout", "0s"),
        ("timeout", "25h"),
        ("timeout", "none"),
        ("client-timeout", "0s"),
        ("client-timeout", "soon"),
        ("tunnel-idle", "0s"),
        ("tunnel-idle", "25h"),
        ("max-tunnels", "0"),
        ("max-tunnels", "1000001"),
        ("max-tunnels", "many"),
        ("max-memory", "1023KiB"),
        ("max-memory", "-5MiB"),
        ("max-memory", "99999999EiB"),
        ("max-object", "0"),
        ("max-stale", "forever"),
        ("workers", "0"),
        ("workers", "513"),
        ("max-clients", "0"),
        ("max-clients", "1000001"),
        ("preserve-host", "maybe"),
    ] {
        let error = flag_with(flag, text).unwrap_err();
        assert!(
            error.starts_with(&format!("--{flag}: {text:?} is not ")),
            "{error}"
        );
    }
}

#[test]
fn a_wrong_type_in_the_file_is_refused_with_its_line_and_a_correction() {
    for (line, expected) in [
        ("port = \"8000\"", "port: \"8000\" is not a port: a number"),
        ("port = 8000.5", "port: 8000.5 is not a port: a number"),
        ("bind = 1", "bind: 1 is not an IP address"),
        ("origin = 1", "origin: 1 is not the URL of an origin"),
        (
            "timeout = 30",
            "timeout: 30 is not a duration from 1ms to 24h with a unit",
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
        ("origin_ca = 1", "origin_ca: 1 is not a file name"),
        (
            "[policy]",
            "policy: this table is not a policy: use \"standard\", \"strict\" or \"always\"",
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
fn a_number_out_of_range_is_refused_like_any_other() {
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
        error.ends_with("a port: a number from 1 to 65535, such as 8000, or 0 for any free one"),
        "{error}"
    );
}

const WITH_SPACE: &str = "it has a space; write a list such as";

/// Setting, wrong name, its fault, its kind, and the list that is proposed.
const WRONG_NAMES: [(&str, &str, &str, &str, [&str; 2]); 8] = [
    (
        "identity_headers",
        "x user",
        WITH_SPACE,
        "header",
        ["x-user", "*-token"],
    ),
    (
        "drop_headers",
        "x foo",
        WITH_SPACE,
        "header",
        ["x-user", "*-token"],
    ),
    (
        "drop_headers",
        "x-foo: 1",
        "it has \":\"; write a list such as",
        "header",
        ["x-user", "*-token"],
    ),
    (
        "identity_cookies",
        "a;b",
        "it has \";\"; write a list such as",
        "cookie",
        ["sid", "*_session"],
    ),
    (
        "ignored_cookies",
        "a=b",
        "it has \"=\"; write a list such as",
        "cookie",
        ["sid", "*_session"],
    ),
    (
        "drop_headers",
        "!",
        "the name is missing after \"!\"; write a list such as",
        "header",
        ["x-user", "*-token"],
    ),
    (
        "identity_headers",
        "!!x-a",
        "an exception begins with one \"!\"; write a list such as",
        "header",
        ["x-user", "*-token"],
    ),
    (
        "masked_parameters",
        "my code",
        WITH_SPACE,
        "parameter",
        ["code", "*token*"],
    ),
];

#[test]
fn a_wrong_name_in_a_list_is_named_with_its_kind_and_its_line() {
    for (key, name, fault, kind, examples) in WRONG_NAMES {
        let said = format!("{name:?} is not a {kind} name: {fault}");
        let flag = key.replace('_', "-");
        let variable = format!("CACHING_PROXY_{}", key.to_ascii_uppercase());
        let list = format!("x-a, {name}");
        let written = load(&[ORIGIN], &[(&variable, &list)], "").unwrap_err();
        assert_eq!(
            written,
            format!("{variable}: {said} {}", examples.join(","))
        );
        let flags: Flags = [("origin", ORIGIN.1), (flag.leak(), &list)]
            .map(|(name, value)| (name, OsString::from(value)))
            .into();
        let error = Config::from_flags(&flags).unwrap_err();
        assert!(error.to_string().starts_with("--"), "{error}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(source, format!("{said} {}", examples.join(",")));
        let error =
            file_with(&format!("# one\n{key} = [\n  \"x-a\",\n  {name:?},\n]")).unwrap_err();
        assert_eq!(error, format!("proxy.toml:4: {key}: {said} {examples:?}"));
    }
}

#[test]
fn a_list_that_is_none_or_too_long_says_what_it_lists() {
    let many: Vec<String> = (0..257).map(|number| format!("\"x-{number}\"")).collect();
    let many = many.join(",");
    for (text, expected) in [
        (
            "identity_headers = \"a,b\"",
            "identity_headers: \"a,b\" is not a list of header names, such as [\"x-user\", \"*-token\"]",
        ),
        (
            "ignored_cookies = true",
            "ignored_cookies: true is not a list of cookie names, such as [\"sid\", \"*_session\"]",
        ),
        (
            "identity_headers = [1]",
            "identity_headers: 1 is not a header name: it is not text in quotes; write",
        ),
        (
            "identity_headers = [[\"a\"]]",
            "identity_headers: this list is not a header name: it is not text in quotes",
        ),
        (
            "ignored_cookies = [\"\"]",
            "ignored_cookies: \"\" is not a cookie name: it is empty; write",
        ),
        (
            &format!("drop_headers = [{many}]"),
            "drop_headers: this list of 257 names is not a list of at most 256; combine some with \"*\"",
        ),
        (
            &format!("drop_headers = [\"{}\"]", "a".repeat(257)),
            "drop_headers: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...\" is not a header name: it is longer than 256 bytes",
        ),
    ] {
        let error = file_with(text).unwrap_err();
        assert!(
            error.starts_with(&format!("proxy.toml:1: {expected}")),
            "{error}"
        );
    }
}

#[test]
fn a_list_of_exceptions_alone_is_refused() {
    for (key, example) in [
        ("identity_cookies", ["*", "!theme"]),
        ("ignored_cookies", ["*", "!theme"]),
        ("identity_headers", ["x-user*", "!x-user-agent"]),
        ("drop_headers", ["x-user*", "!x-user-agent"]),
        ("masked_parameters", ["*code", "!zip-code"]),
    ] {
        let error = file_with(&format!("{key} = [\n\"!sid\", \"!b\"]")).unwrap_err();
        let expected = format!(
            "proxy.toml:2: {key}: \"!sid\" is not enough: it is an exception, and the list has nothing that it is an \
             exception to; write that too, as in {example:?} (a list replaces the default, which check-config prints)"
        );
        assert_eq!(error, expected);
    }
}

#[test]
fn masked_parameters_may_have_brackets() {
    let config = file_with("masked_parameters = [\"user[password]\"]").unwrap();
    assert_eq!(config.masked_parameters, ["user[password]"]);
}
