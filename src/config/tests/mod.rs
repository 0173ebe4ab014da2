//! What the sources come to; the rules and the values have files of their own.

mod route_entries;
mod rule_entries;
mod tls;
mod values;

use super::{
    keys::{ROUTES, RULES},
    *,
};
use crate::policy::{ClientDirectives, Mode};

fn load_beside(
    default_file: &Path,
    flags: &Flags,
    environment: Environment<'_>,
) -> Result<Config, ConfigError> {
    SettingSources::read(default_file, flags, environment)?.config()
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

fn rule_for<'c>(config: &'c Config, target: &str) -> &'c crate::policy::Rule {
    let index = config.rules.index_for(target).expect("a rule is for it");
    config.rules.get(index).unwrap()
}

const ORIGIN: (&str, &str) = ("origin", "https://dummyjson.com");

fn file_with(line: &str) -> Result<Config, String> {
    load(&[ORIGIN], &[], line)
}

fn flag_with(name: &'static str, value: &str) -> Result<Config, String> {
    load(&[ORIGIN, (name, value)], &[], "")
}

#[test]
fn the_defaults_apply_without_any_setting() {
    let mut config = load(&[ORIGIN], &[], "").unwrap();
    let defaults = Config::for_origin(OriginUrl::parse("https://dummyjson.com").unwrap());
    let file = config.file.take().expect("a file was read");
    assert!(file.ends_with("proxy.toml"), "{}", file.display());
    assert_eq!(format!("{config:?}"), format!("{defaults:?}"));
    assert_eq!(config.port, 8000);
    assert_eq!(config.bind.to_string(), "127.0.0.1");
    assert_eq!(config.policy.mode, Mode::Standard);
    assert_eq!(config.policy.ttl, None);
    assert_eq!(config.policy.max_stale, Duration::from_secs(86_400));
    assert_eq!(config.timeout, Duration::from_secs(30));
    assert_eq!(config.client_timeout, Duration::from_secs(30));
    assert_eq!(config.tunnels.idle, Duration::from_secs(600));
    assert_eq!(config.tunnels.max, 1000);
    assert_eq!(config.max_memory_bytes, 268_435_456);
    assert_eq!(config.max_object_bytes, 67_108_864);
    assert!(config.policy.identity_headers.matches("X-Api-Key"));
    assert!(config.policy.ignored_cookies.matches("_ga_1"));
}

#[test]
fn the_precedence_is_flag_environment_file_default() {
    let flag = [ORIGIN, ("port", "1")];
    let environment = [("CACHING_PROXY_PORT", "2")];
    assert_eq!(load(&flag, &environment, "port = 3").unwrap().port, 1);
    assert_eq!(load(&[ORIGIN], &environment, "port = 3").unwrap().port, 2);
    assert_eq!(load(&[ORIGIN], &[], "port = 3").unwrap().port, 3);
    assert_eq!(load(&[ORIGIN], &[], "").unwrap().port, 8000);
}

#[test]
fn an_empty_variable_counts_as_unset() {
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
    let files = [
        "origin_ca",
        "store",
        "identity_secret_file",
        "tls_cert",
        "tls_key",
    ];
    let is_refused = |key: &&&str| !files.contains(key) && ![ROUTES, RULES].contains(key);
    for key in KEYS.iter().filter(is_refused) {
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
    let shipped = include_str!("../../../config/proxy.toml");
    assert!(
        shipped
            .lines()
            .all(|line| line.is_empty() || line.starts_with('#')),
        "something is set"
    );
    let (settings, route) = shipped.split_once("# [[routes]]\n").unwrap();
    let (route, rule) = route.split_once("# [[rules]]\n").unwrap();
    let is_table = |key: &&str| [ROUTES, RULES].contains(key);
    let known: Vec<&str> = KEYS.iter().copied().filter(|key| !is_table(key)).collect();
    let settings = set_lines(settings, &known);
    let mut config = load(&[], &[], &settings).unwrap();
    config.file = None;
    let defaults = Config::for_origin(OriginUrl::parse("https://dummyjson.com").unwrap());
    assert_eq!(format!("{config:?}"), format!("{defaults:?}"));

    let route = set_lines(route, routes::KEYS);
    let config = load(&[], &[], &format!("{settings}\n[[routes]]\n{route}")).unwrap();
    let route = config.routes.iter().next().unwrap();
    assert_eq!(route.at_origin("/api/users"), "/users");
    assert_eq!(route.settings.policy.ttl, Some(Duration::from_secs(600)));

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

#[test]
fn the_number_of_workers_is_limited_by_the_server() {
    assert_eq!(flag_with("workers", "512").unwrap().workers, 512);
    assert!(flag_with("workers", "auto").unwrap().workers <= 512);
    assert_eq!(
        flag_with("workers", "513").unwrap_err(),
        "--workers: \"513\" is not a number of threads from 1 to 512, or \"auto\""
    );
}

#[test]
fn the_file_must_be_valid_even_where_a_flag_overrides_it() {
    let error = load(&[ORIGIN, ("port", "1")], &[], "port = -1").unwrap_err();
    assert!(
        error.starts_with("proxy.toml:1: port: -1 is not"),
        "{error}"
    );
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
fn a_named_file_must_exist() {
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
fn a_missing_origin_is_reported_with_an_example() {
    let error = load(&[], &[], "").unwrap_err();
    assert!(
        error.contains("caching-proxy --port 8000 --origin https://dummyjson.com"),
        "{error}"
    );
}

#[test]
fn a_wrong_origin_is_reported_with_a_correction() {
    let error = load(&[("origin", "dummyjson.com")], &[], "").unwrap_err();
    assert!(error.starts_with("--origin: "), "{error}");
    assert!(error.contains("https://dummyjson.com"), "{error}");
}

#[test]
fn the_port_to_clear_comes_from_the_flag_only() {
    assert_eq!(port_flag(&Flags::new()).unwrap(), None);
    assert_eq!(
        port_flag(&Flags::from([("port", "8001".into())])).unwrap(),
        Some(8001)
    );
    assert!(port_flag(&Flags::from([("port", "x".into())])).is_err());
}
