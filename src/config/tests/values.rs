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
    let port = "a port: a number from 1 to 65535, such as 8000";
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
        ("client-timeout", "0s"),
        ("client-timeout", "soon"),
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
        (
            "identity_cookies = [\"!sid\"]",
            "identity_cookies: this list is not a list that identifies a user: it has only exceptions",
        ),
        (
            "identity_headers = [\"!x-user\"]",
            "identity_headers: this list is not a list that identifies a user: it has only exceptions",
        ),
        (
            "drop_headers = [\"!\"]",
            "drop_headers: this list is not a list of names",
        ),
        (
            "drop_headers = [\"!!x-a\"]",
            "drop_headers: this list is not a list of names",
        ),
        (
            "identity_headers = \"a,b\"",
            "identity_headers: \"a,b\" is not a list of names, such as [\"x-user\"",
        ),
        (
            "identity_headers = [1]",
            "identity_headers: this list is not a list of names",
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
        error.ends_with("a port: a number from 1 to 65535, such as 8000"),
        "{error}"
    );
}
