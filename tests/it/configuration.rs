//! Flags, environment and file: their precedence, and the messages for invalid values.

use crate::{
    instance::{Finished, Home, Instance},
    origin::Origin,
    ports::free_port,
};

/// An origin whose responses are cached differently under each policy.
fn origin_with_no_store() -> Origin {
    Origin::start(|exchange| match exchange.target().as_str() {
        "/no-store" => exchange.ok("Cache-Control: no-store\r\n", ""),
        _ => exchange.ok("", ""),
    })
}

fn policy_of(proxy: &Instance) -> &'static str {
    let second = |target: &str| {
        proxy.get(target);
        proxy.get(target).x_cache() == "HIT"
    };
    match (second("/no-store"), second("/silent")) {
        (true, true) => "always",
        (false, true) => "standard",
        (false, false) => "strict",
        (true, false) => panic!("no policy keeps what forbids it and drops what allows it"),
    }
}

#[test]
fn a_flag_precedes_the_environment_the_file_and_the_default() {
    let origin = origin_with_no_store();
    let home = Home::new();
    let environment = [("CACHING_PROXY_POLICY", "strict")];
    assert_eq!(policy_of(&home.start(&origin.url(), &[])), "standard");
    home.write(
        "config/proxy.toml",
        "# chosen by the file\npolicy = \"always\"\n",
    );
    assert_eq!(policy_of(&home.start(&origin.url(), &[])), "always");
    assert_eq!(
        policy_of(&home.start_with(&origin.url(), &[], &environment)),
        "strict"
    );
    assert_eq!(
        policy_of(&home.start_with(&origin.url(), &["--policy", "standard"], &environment)),
        "standard"
    );
}

#[test]
fn a_file_named_by_the_flag_replaces_the_default_file() {
    let origin = origin_with_no_store();
    let home = Home::new();
    home.write("config/proxy.toml", "policy = \"always\"\n");
    home.write("other.toml", "policy = \"strict\"\n");
    assert_eq!(
        policy_of(&home.start(&origin.url(), &["--config", "other.toml"])),
        "strict"
    );
}

#[test]
fn every_setting_can_be_set_in_the_file() {
    let origin = origin_with_no_store();
    let home = Home::new();
    let port = free_port();
    let lines = [
        format!("port = {port}"),
        format!("origin = \"{}\"", origin.url()),
        "bind = \"127.0.0.1\"".to_owned(),
        "policy = \"always\"".to_owned(),
        "ttl = \"10m\"".to_owned(),
        "timeout = \"30s\"".to_owned(),
        "client_timeout = \"30s\"".to_owned(),
        "tunnel_idle = \"1h\"".to_owned(),
        "max_tunnels = 7".to_owned(),
        "max_memory = \"64MiB\"".to_owned(),
        "max_object = \"1MiB\"".to_owned(),
        "workers = 1".to_owned(),
        "max_clients = 3".to_owned(),
    ];
    home.write("config/proxy.toml", &(lines.join("\n") + "\n"));
    let proxy = Instance::launch(home.command(&[]), port).expect("the port was free");
    assert_eq!(
        proxy.stdout(),
        format!("Proxy starting on port {port}\nOrigin: {}\n", origin.url())
    );
    assert_eq!(policy_of(&proxy), "always");
}

#[test]
fn every_setting_can_be_set_in_the_environment() {
    let origin = origin_with_no_store();
    let home = Home::new();
    let port = free_port();
    let mut command = home.command(&[]);
    command
        .env("CACHING_PROXY_PORT", port.to_string())
        .env("CACHING_PROXY_ORIGIN", origin.url());
    command
        .env("CACHING_PROXY_TTL", "10m")
        .env("CACHING_PROXY_MAX_MEMORY", "64MiB");
    command
        .env("CACHING_PROXY_BIND", "127.0.0.1")
        .env("CACHING_PROXY_TIMEOUT", "5s");
    let proxy = Instance::launch(command, port).expect("the port was free");
    assert_eq!(policy_of(&proxy), "standard");
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_known_keys() {
    let home = Home::new();
    home.write(
        "config/proxy.toml",
        "# a comment\nport = 8000\nttll = \"10m\"\n",
    );
    let refused = home.run(&["--origin", "http://127.0.0.1:9"]);
    refused.refused(
        2,
        &[
            "config/proxy.toml",
            "3",
            "ttll",
            "max_memory",
            "policy",
            "origin",
        ],
    );
}

#[test]
fn a_bad_value_is_refused_with_its_line_and_the_allowed_values() {
    let home = Home::new();
    let rows: [(&str, &[&str]); 7] = [
        (
            "\npolicy = \"sometimes\"\n",
            &["2", "sometimes", "standard", "strict", "always"],
        ),
        ("ttl = \"soon\"\n", &["1", "ttl", "soon"]),
        ("\n\nmax_memory = \"lots\"\n", &["3", "lots"]),
        ("port = 123456\n", &["1", "port"]),
        (
            "\nport = 99999999999999999999\n",
            &[":2: port: 99999999999999999999 is not", "1 to 65535"],
        ),
        ("workers = 513\n", &["1", "workers", "from 1 to 512"]),
        ("not toml at all\n", &["1"]),
    ];
    for (text, words) in rows {
        home.write("config/proxy.toml", text);
        let refused = home.run(&["--origin", "http://127.0.0.1:9"]);
        refused.refused(2, &[&["config/proxy.toml"], words].concat());
    }
}

#[test]
fn a_missing_file_is_refused_if_it_was_named() {
    Home::new()
        .run(&["--origin", "http://127.0.0.1:9", "--config", "missing.toml"])
        .refused(2, &["missing.toml"]);
}

#[test]
fn a_pipe_as_configuration_file_is_refused_at_once() {
    let home = Home::new();
    let pipe = home.path("work/pipe.toml");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    home.run(&["--origin", "http://127.0.0.1:9", "--config", "pipe.toml"])
        .refused(2, &["pipe.toml", "not a regular file"]);
}

#[test]
fn bad_flags_are_refused_with_a_correction() {
    let home = Home::new();
    let rows: [(&[&str], &[&str]); 8] = [
        (
            &["--policy", "sometimes"],
            &["--policy", "standard", "strict", "always"],
        ),
        (&["--ttl", "soon"], &["--ttl", "soon"]),
        (&["--timeout", "-1s"], &["-1"]),
        (&["--max-memory", "lots"], &["--max-memory", "lots"]),
        (&["--port", "99999"], &["--port", "99999"]),
        (&["--bind", "nowhere"], &["--bind", "nowhere"]),
        (&["--workers", "none"], &["--workers", "none"]),
        (&["--colour", "blue"], &["--colour"]),
    ];
    for (flags, words) in rows {
        home.run(&[&["--origin", "http://127.0.0.1:9"], flags].concat())
            .refused(2, words);
    }
}

#[test]
fn a_bad_environment_variable_is_refused_by_its_name() {
    let home = Home::new();
    let mut command = home.command(&["--origin", "http://127.0.0.1:9"]);
    command.env("CACHING_PROXY_TTL", "soon");
    Finished::of(command).refused(2, &["soon"]);
}

#[test]
fn a_missing_origin_is_an_error() {
    Home::new()
        .run(&["--port", "8000"])
        .refused(2, &["--origin"]);
}

#[test]
fn a_bad_origin_is_refused_with_a_suggestion() {
    let home = Home::new();
    let rows: [(&str, &[&str]); 7] = [
        ("dummyjson.com", &["did you mean https://dummyjson.com ?"]),
        (
            "dummyjson.com/products",
            &["https://dummyjson.com/products"],
        ),
        ("localhost:3000", &["localhost:3000"]),
        ("ftp://dummyjson.com", &["http", "https"]),
        ("https://", &["https://"]),
        ("https://dummyjson.com/?limit=1", &["dummyjson.com"]),
        ("", &["--origin"]),
    ];
    for (origin, words) in rows {
        home.run(&["--origin", origin]).refused(2, words);
    }
}

#[test]
fn credentials_in_the_origin_are_refused_and_not_printed() {
    let refused = Home::new().run(&["--origin", "https://anna:hunter2@dummyjson.com"]);
    refused.refused(2, &["dummyjson.com"]);
    assert!(!refused.stderr.contains("hunter2"), "{}", refused.stderr);
}

#[test]
fn an_unreadable_certificate_file_is_refused_at_the_start() {
    let home = Home::new();
    let refused = home.run(&[
        "--origin",
        "https://localhost:9",
        "--origin-ca",
        "missing.pem",
    ]);
    refused.refused(2, &["missing.pem"]);
}

#[test]
fn help_shows_every_flag_and_ends_with_examples() {
    let help = Home::new().run(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    let flags = [
        "--port",
        "--origin",
        "--clear-cache",
        "--config",
        "--bind",
        "--policy",
        "--ttl",
        "--timeout",
        "--client-timeout",
    ];
    for flag in flags.into_iter().chain([
        "--max-memory",
        "--max-object",
        "--origin-ca",
        "--workers",
        "--max-clients",
        "--tunnel-idle",
        "--max-tunnels",
        "--preserve-host",
    ]) {
        assert!(help.stdout.contains(flag), "{flag} is missing");
    }
    let examples = help
        .stdout
        .to_lowercase()
        .rfind("examples")
        .expect("there are examples");
    let first = help.stdout[examples..]
        .lines()
        .nth(1)
        .unwrap_or_default()
        .trim();
    assert!(
        first.contains("caching-proxy --port 8000 --origin https://dummyjson.com"),
        "{first}"
    );
    assert!(
        !help.stdout[examples..].contains("\nOptions"),
        "the examples come last"
    );
}

#[test]
fn the_shipped_file_has_every_key_and_changes_nothing() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config/proxy.toml");
    let text = std::fs::read_to_string(shipped).unwrap();
    let keys = [
        "port",
        "origin",
        "bind",
        "policy",
        "ttl",
        "timeout",
        "client_timeout",
        "max_memory",
        "max_object",
        "origin_ca",
        "workers",
        "max_clients",
        "tunnel_idle",
        "max_tunnels",
    ];
    for key in keys.into_iter().chain([
        "preserve_host",
        "identity_headers",
        "identity_cookies",
        "ignored_cookies",
        "max_stale",
        "log_format",
    ]) {
        let there = text.lines().any(|line| {
            line.trim_start_matches(['#', ' '])
                .starts_with(&format!("{key} ="))
        });
        assert!(there, "{key} is missing");
    }
    let origin = origin_with_no_store();
    let home = Home::new();
    assert_eq!(
        policy_of(&home.start(&origin.url(), &["--config", shipped])),
        "standard"
    );
}

#[test]
fn a_negative_value_is_refused_with_what_would_be_right() {
    let home = Home::new();
    for (flag, value, right) in [
        ("--client-timeout", "-1s", "is not a duration from 1ms"),
        ("--ttl", "-10m", "is not \"none\" or a duration"),
        ("--max-memory", "-5MiB", "is not a size from 1.0 MiB"),
        ("--port", "-1", "is not a port: a number from 1 to 65535"),
        ("--workers", "-2", "is not a number of threads"),
    ] {
        let said = format!("{flag}: {value:?} {right}");
        home.run(&["--origin", "http://127.0.0.1:9", flag, value])
            .refused(2, &[&said]);
    }
    home.run(&["ls", "--limit", "-1"])
        .refused(2, &["invalid value '-1' for '--limit <NUMBER>'"]);
    home.run(&["--origin", "foo:"])
        .refused(2, &["did you mean https://foo ?"]);
}

#[test]
fn a_variable_that_is_no_setting_is_reported_at_the_start_and_by_check_config() {
    let (origin, home) = (Origin::counting(""), Home::new());
    let environment = [("CACHING_PROXY_TLL", "1h")];
    let proxy = home.start_with(&origin.url(), &[], &environment);
    let sentence = "the variable \"CACHING_PROXY_TLL\" is ignored: did you mean CACHING_PROXY_TTL?";
    proxy.log_line(&["WARN", sentence]);
    let mut command = home.command(&["check-config", "--origin", &origin.url()]);
    command.envs(environment);
    let checked = Finished::of(command);
    assert_eq!(checked.stderr, format!("warning: {sentence}\n"));
    assert_eq!(checked.code, Some(0));
}
