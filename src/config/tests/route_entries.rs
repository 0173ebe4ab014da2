//! `[[routes]]` and `--route`.

use super::*;

const API: &str = "[[routes]]\npath = \"/api/*\"\norigin = \"http://localhost:3001\"\n";

/// The origin of a request, and its policy.
fn of(config: &Config, target: &str, host: Option<&str>) -> (String, Mode) {
    let selection = config.select(target, host);
    let origin = config.origin_for(selection).to_string();
    (origin, config.policy_for(selection).mode)
}

#[test]
fn routes_of_flag_and_environment_go_before_those_of_the_file() {
    let flag = (
        "route",
        "/api/v2/*=http://localhost:3002\n*.js=https://cdn.test/a=b",
    );
    let config = load(&[ORIGIN, flag], &[], API).unwrap();
    for (target, origin) in [
        ("/api/v2/a", "http://localhost:3002"),
        ("/a.js?b", "https://cdn.test/a=b"),
        ("/api/a", "http://localhost:3001"),
        ("/", "https://dummyjson.com"),
    ] {
        assert_eq!(of(&config, target, None).0, origin, "{target}");
    }
    let environment = [("CACHING_PROXY_ROUTE", "/api/v2/*=http://localhost:3002\n")];
    let config = load(&[ORIGIN], &environment, API).unwrap();
    assert_eq!(config.routes.iter().count(), 2);
    let config = load(&[ORIGIN, ("route", "/a=b*=http://b")], &[], "").unwrap();
    assert_eq!(of(&config, "/a=bc", None).0, "http://b");
}

#[test]
fn for_each_key_the_rule_goes_before_the_route_and_the_route_before_the_flag() {
    let file = "policy = \"strict\"\nttl = \"1m\"\n\
                [[routes]]\nhost = \"A.test\"\norigin = \"http://a\"\npolicy = \"always\"\nsort_query = true\n\
                [[routes]]\nhost = \"b.test\"\norigin = \"http://b\"\n\
                [[rules]]\npath = \"/x/*\"\nttl = \"1h\"\nsort_query = false\n";
    let config = load(&[ORIGIN], &[], file).unwrap();
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
    for (host, target, origin, mode, ttl, rewritten) in [
        (
            Some("a.test"),
            "/x/?b&a",
            "http://a",
            Mode::Always,
            hour,
            "/x/?b&a",
        ),
        (
            Some("a.test"),
            "/y/?b&a",
            "http://a",
            Mode::Always,
            minute,
            "/y/?a&b",
        ),
        (
            Some("b.test"),
            "/x/?b&a",
            "http://b",
            Mode::Strict,
            hour,
            "/x/?b&a",
        ),
        (
            None,
            "/x/?b&a",
            "https://dummyjson.com",
            Mode::Strict,
            hour,
            "/x/?b&a",
        ),
        (
            None,
            "/y/?b&a",
            "https://dummyjson.com",
            Mode::Strict,
            minute,
            "/y/?b&a",
        ),
    ] {
        let selection = config.select(target, host);
        assert_eq!(
            of(&config, target, host),
            (origin.to_owned(), mode),
            "{host:?} {target}"
        );
        assert_eq!(
            config.policy_for(selection).ttl,
            Some(ttl),
            "{host:?} {target}"
        );
        let settings = config.settings(selection);
        let as_forwarded = settings.map_or(target.into(), |it| it.rewritten(target));
        assert_eq!(as_forwarded, rewritten, "{host:?} {target}");
    }
}

#[test]
fn routes_with_the_same_keys_have_no_scope_and_others_have_one_each() {
    let file = format!(
        "{API}[[routes]]\npath = \"/own/*\"\norigin = \"https://dummyjson.com\"\n\
         [[routes]]\npath = \"/cut/*\"\norigin = \"https://dummyjson.com\"\nstrip_prefix = true\n\
         [[routes]]\nhost = \"a\"\norigin = \"http://localhost:3001\"\npolicy = \"always\"\n"
    );
    let config = load(&[ORIGIN], &[], &file).unwrap();
    let scopes: Vec<_> = config.routes.iter().map(|it| it.scope.as_deref()).collect();
    let expected = [
        Some("http://localhost:3001"),
        None,
        Some("https://dummyjson.com\t/cut/*"),
        Some("http://localhost:3001\ta"),
    ];
    assert_eq!(scopes, expected);
    assert_eq!(config.origins.iter().count(), 2);
}

#[test]
fn a_wrong_route_is_refused_with_its_place_and_a_correction() {
    let origin = "origin = \"http://localhost:3001\"";
    for (routes, expected) in [
        (
            "routes = 1".to_owned(),
            "1: routes: 1 is not a list of tables that each begin with a line [[routes]]",
        ),
        (
            format!("[[routes]]\n{origin}"),
            "1: this route has neither path nor host; add one, such as path = \"/api/*\"",
        ),
        (
            "[[routes]]\npath = \"/api/*\"".to_owned(),
            "1: this route has no origin; add one, such as origin = \"http://localhost:3001\"",
        ),
        (
            "[[routes]]\npath = \"/api/*\"\norigin = \"nonsense\"".to_owned(),
            "3: origin: \"nonsense\" has no scheme",
        ),
        (
            format!("{API}strip_prefx = true"),
            "4: unknown key \"strip_prefx\"; did you mean \"strip_prefix\"?",
        ),
        (
            format!("[[routes]]\npath = \"*.js\"\n{origin}\nstrip_prefix = true"),
            "4: strip_prefix has no effect in a route whose path begins with a wildcard",
        ),
        (
            format!("[[routes]]\nhost = \"a.test:80\"\n{origin}"),
            "2: host: \"a.test:80\" is not a pattern of hosts, such as \"*.example.test\": it has no port",
        ),
        (
            format!("[[routes]]\nhost = \"http://a\"\n{origin}"),
            "2: host: \"http://a\" is not a pattern of hosts",
        ),
        (
            format!("[[routes]]\npath = \"/search?q=*\"\n{origin}"),
            "2: path: \"/search?q=*\" is not a pattern of paths, such as \"/api/*\": it begins with \"/\" or \"*\", has no query",
        ),
        (
            format!("{API}timeout = \"5s\""),
            "4: unknown key \"timeout\"; it is a setting for all requests, and stands above the first [[routes]]",
        ),
        (
            format!("{API}ttl = \"1m\"\nstore = false"),
            "4: ttl has no effect in a route with store = false; remove one of the two",
        ),
        (
            format!("{API}[[routes]]\npath = \"/api/v2/*\"\n{origin}"),
            "4: routes: the route for \"/api/v2/*\" never applies: the route for \"/api/*\" \
             (proxy.toml:1: routes) matches all of its requests first; move it before that route, or remove it",
        ),
        (
            "[[routes]]\npath = \"/a\"\norigin = \"http://127.0.0.1:8000/b\"".to_owned(),
            "1: routes: http://127.0.0.1:8000/b is this proxy itself",
        ),
    ] {
        let error = file_with(&routes).unwrap_err();
        assert!(
            error.starts_with(&format!("proxy.toml:{expected}")),
            "{routes}\n{error}"
        );
    }
    for (flag, expected) in [
        (
            "/api/*",
            "--route: \"/api/*\" is not a route: a pattern of paths",
        ),
        ("", "--route: \"\" is not a route"),
        (
            "/api/*=ftp://x",
            "--route: an origin speaks http or https, not \"ftp\"",
        ),
        ("api=http://x", "--route: \"api\" is not a pattern of paths"),
    ] {
        let error = load(&[ORIGIN, ("route", flag)], &[], "").unwrap_err();
        assert!(error.starts_with(expected), "{flag}: {error}");
    }
    let flags = [ORIGIN, ("route", "/api/*=http://a")];
    let error = load(&flags, &[], &API.replace("/api/", "/api/v2/")).unwrap_err();
    assert!(
        error.starts_with("proxy.toml:1: routes: the route for \"/api/v2/*\""),
        "{error}"
    );
    assert!(error.contains("(--route)"), "{error}");
    let many: String = (0..65)
        .map(|it| API.replace("/api/", &format!("/{it}/")))
        .collect();
    let error = file_with(&many).unwrap_err();
    assert!(
        error.starts_with("proxy.toml:193: routes: more than 64 routes"),
        "{error}"
    );
}

#[test]
fn a_route_is_covered_only_if_path_and_host_are() {
    let route = |path: &str, host: &str| {
        let line = |key: &str, value: &str| match value {
            "" => String::new(),
            value => format!("{key} = \"{value}\"\n"),
        };
        format!(
            "[[routes]]\norigin = \"http://a\"\n{}{}",
            line("path", path),
            line("host", host)
        )
    };
    for (earlier, later, is_refused) in [
        (("/api/*", ""), ("/api/*", "a.test"), true),
        (("/api/*", "*.test"), ("/api/v2/*", "A.test"), true),
        (("/api/*", "*.test"), ("/api/v2/*", ""), false),
        (("", "*.test"), ("/api/*", "a.test"), true),
        (("", "a.test"), ("", "*.test"), false),
        (("/api/*", "a.test"), ("/api/*", "b.test"), false),
        (("*", ""), ("", "a.test"), true),
    ] {
        let file = route(earlier.0, earlier.1) + &route(later.0, later.1);
        assert_eq!(
            file_with(&file).is_err(),
            is_refused,
            "{earlier:?} {later:?}"
        );
    }
}

#[test]
fn an_origin_that_is_the_proxy_itself_is_refused() {
    for (url, bind, is_refused) in [
        ("http://127.0.0.1:8000", "127.0.0.1", true),
        ("http://localhost:8000/a", "127.0.0.1", true),
        ("http://[::1]:8000", "::", true),
        ("http://127.0.0.2:8000", "0.0.0.0", true),
        ("http://127.0.0.2:8000", "127.0.0.1", false),
        ("http://127.0.0.1:8001", "127.0.0.1", false),
        ("http://origin.test:8000", "127.0.0.1", false),
        ("http://192.0.2.1:8000", "0.0.0.0", false),
    ] {
        let loaded = load(&[("origin", url), ("bind", bind)], &[], "");
        assert_eq!(loaded.is_err(), is_refused, "{url} {bind}");
        if let Err(error) = loaded {
            assert!(error.starts_with("--origin: "), "{error}");
        }
    }
}
