//! `check-config`: checks and shows the configuration without a start.

use std::collections::HashSet;

use serde_json::Value;

use crate::instance::{Finished, Home};

const ORIGIN: &[&str] = &["check-config", "--origin", "http://127.0.0.1:9"];

fn with(home: &Home, args: &[&str]) -> Finished {
    home.run(&[ORIGIN, args].concat())
}

#[test]
fn a_valid_configuration_is_reported_and_nothing_starts() {
    let home = Home::new();
    let checked = with(&home, &[]);
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""));
    assert!(
        checked.stdout.starts_with("configuration is valid\n"),
        "{checked:?}"
    );
    assert!(home.control_sockets().is_empty());
}

#[test]
fn each_setting_is_shown_with_its_source() {
    let home = Home::new();
    home.write(
        "config/proxy.toml",
        "\nmax_memory = \"1GiB\"\npolicy = \"always\"\n[[rules]]\npath = \"/a\"\nttl = \"1m\"\n",
    );
    let mut command = home.command(&[ORIGIN, &["--policy", "strict"]].concat());
    command.env("CACHING_PROXY_TTL", "10m");
    let checked = Finished::of(command);
    for (setting, line) in [
        ("policy", "strict  (--policy)"),
        ("ttl", "10m  (CACHING_PROXY_TTL)"),
        ("max_memory", "1GiB  (config/proxy.toml:2)"),
        ("max_object", "256MiB  (default)"),
        ("max_stale", "24h  (default)"),
        ("origin_ca", "none  (default)"),
        ("origin", "http://127.0.0.1:9  (--origin)"),
        ("rules", "1 rule  (config/proxy.toml:4)"),
    ] {
        let mut lines = checked.stdout.lines();
        let found = lines.find_map(|it| it.strip_prefix(&format!("{setting} ")));
        assert_eq!(found.map(str::trim_start), Some(line), "{checked:?}");
    }
    // The values begin in one column.
    let settings = checked
        .stdout
        .lines()
        .skip(1)
        .take_while(|it| !it.is_empty());
    let columns = settings.map(|it| {
        it.find("  ")
            .map(|end| end + it[end..].len() - it[end..].trim_start().len())
    });
    assert_eq!(columns.collect::<HashSet<_>>().len(), 1, "{checked:?}");
}

#[test]
fn the_settings_are_available_as_json() {
    let home = Home::new();
    home.write(
        "other.toml",
        "[[rules]]\npath = \"/a/*\"\nstore_post = true\n",
    );
    let checked = with(
        &home,
        &["--json", "--config", "other.toml", "--port", "9000"],
    );
    let document: Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(document["valid"], true);
    let settings = &document["settings"];
    assert_eq!(settings["port"]["value"], 9000);
    assert_eq!(settings["port"]["source"], "flag");
    assert_eq!(settings["port"]["place"], "--port");
    assert_eq!(settings["ttl"]["value"], "none");
    assert_eq!(settings["ttl"]["source"], "default");
    assert_eq!(settings["ttl"]["place"], Value::Null);
    assert_eq!(settings["rules"]["place"], "other.toml:1");
    assert_eq!(settings["rules"]["value"][0]["path"], "/a/*");
    assert_eq!(settings["rules"]["value"][0]["store_post"], "64KiB");
    assert_eq!(settings["rules"]["value"][0]["policy"], "standard");
}

#[test]
fn a_mistake_is_reported_as_at_a_start() {
    let home = Home::new();
    let origin = &ORIGIN[1..];
    let rows: [(&str, &[&str]); 5] = [
        ("policy = \"sometimes\"\n", origin),
        ("prot = 1\n", origin),
        ("[[rules]]\npath = \"/a\"\n", origin),
        (
            "",
            &[
                "--origin",
                "https://127.0.0.1:9",
                "--origin-ca",
                "missing.pem",
            ],
        ),
        ("port = 9000\n", &[]),
    ];
    for (text, flags) in rows {
        home.write("config/proxy.toml", text);
        let started = home.run(flags);
        let checked = home.run(&[&["check-config"], flags].concat());
        checked.refused(2, &["error: "]);
        assert_eq!(
            (checked.code, checked.stderr),
            (started.code, started.stderr),
            "{text}"
        );
    }
}

#[test]
fn a_flag_before_the_command_is_refused() {
    let home = Home::new();
    for (line, words) in [
        (
            &["--origin", "http://127.0.0.1:9", "check-config"][..],
            "hint: put flags after the command: caching-proxy check-config --origin http://127.0.0.1:9",
        ),
        (
            &["--port", "8000", "stats", "--watch"],
            "hint: put flags after the command: caching-proxy stats --watch --port 8000",
        ),
        (
            &["--json", "ls"],
            "hint: put flags after the command: caching-proxy ls --json",
        ),
        (
            &["-H", "Accept: a b", "why", "/x"],
            "hint: put flags after the command: caching-proxy why /x -H 'Accept: a b'",
        ),
        (
            &["--policy=always", "ls"],
            "hint: `caching-proxy ls` has no --policy; for its options: caching-proxy ls --help",
        ),
        (
            &["--clear-cache", "stats"],
            "hint: `caching-proxy stats` has no --clear-cache",
        ),
    ] {
        home.run(line).refused(2, &["error: ", words]);
    }
    for line in [&["--prot", "1"][..], &["stats", "--prot"], &["stray"]] {
        let refused = home.run(line);
        refused.refused(2, &["error: "]);
        assert!(!refused.stderr.contains("hint: "), "{refused:?}");
    }
}
