//! What commands, metrics and the dashboard say of routes and of their origins.

use serde_json::{Value, json};

use crate::{instance::Home, origin::Origin};

/// What `why` says of the route of a request.
#[track_caller]
fn route(home: &Home, args: &[&str]) -> Value {
    let args: Vec<_> = ["why", "--json"].iter().chain(args).copied().collect();
    home.run_json(&args)["route"].clone()
}

#[test]
fn why_names_the_route_with_its_place_its_origins_and_its_settings() {
    let (a, b, c) = (
        Origin::counting(""),
        Origin::counting(""),
        Origin::counting(""),
    );
    let (a, b, c) = (a.url(), b.url(), c.url());
    let home = Home::new();
    let file = format!(
        "[[rules]]\npath = \"/api/slow/*\"\nttl = \"1m\"\n\n\
         [[routes]]\npath = \"/api/*\"\nhost = \"*.example.test\"\norigin = [\"{b}\", \"{c}\"]\n\
         strip_prefix = true\nttl = \"10m\"\nstore = true\n"
    );
    home.write("config/proxy.toml", &file);
    let proxy = home.start(&a, &["--route", &format!("/other/*={c}")]);
    let settings = |settings: &[&str]| json!(settings);
    for (path, matches, origins, keys) in [
        (
            "http://www.example.test/api/x",
            "*.example.test/api/*",
            json!([b, c]),
            settings(&["strip_prefix = true", "ttl = \"10m\"", "store = true"]),
        ),
        (
            // The rule goes first.
            "http://www.example.test/api/slow/x",
            "*.example.test/api/*",
            json!([b, c]),
            settings(&["strip_prefix = true", "store = true"]),
        ),
        ("/other/x", "/other/*", json!([c]), settings(&[])),
    ] {
        let found = route(&home, &[path]);
        assert_eq!(found["matches"], matches, "{path}");
        assert_eq!(found["origins"], origins, "{path}");
        assert_eq!(found["settings"], keys, "{path}");
        let place = found["place"].as_str().unwrap();
        let expected = match matches {
            "/other/*" => "--route",
            _ => "proxy.toml:5",
        };
        assert!(place.ends_with(expected), "{place}");
    }
    let found = route(&home, &["/api/x"]);
    let expected =
        json!({ "matches": null, "place": null, "origins": json!([a]), "settings": json!([]) });
    assert_eq!(found, expected);
    let text = home.run_ok(&["why", "http://www.example.test/api/x"]);
    assert!(
        text.contains(&format!(
            "proxy.toml:5; the first healthy of {b}, {c}; sets strip_prefix = true, ttl = \"10m\", store = true\n"
        )),
        "{text}"
    );
    let text = home.run_ok(&["why", "/x"]);
    assert!(
        text.contains("  route       none matches: the request takes that of --origin\n"),
        "{text}"
    );
    drop(proxy);
}

#[test]
fn why_names_the_line_of_a_route_after_a_reload_that_moves_it() {
    let (a, b) = (Origin::counting(""), Origin::counting(""));
    let home = Home::new();
    let file = format!("[[routes]]\npath = \"/b/*\"\norigin = \"{}\"\n", b.url());
    home.write("config/proxy.toml", &file);
    let _proxy = home.start(&a.url(), &[]);
    for (comment, place) in [("", "proxy.toml:1"), ("# One.\n# Two.\n", "proxy.toml:3")] {
        home.write("config/proxy.toml", &format!("{comment}{file}"));
        assert_eq!(home.run(&["reload"]).code, Some(0));
        let found = route(&home, &["/b/x"]);
        assert!(found["place"].as_str().unwrap().ends_with(place), "{found}");
    }
}

#[test]
fn without_routes_why_names_none() {
    let origin = Origin::counting("");
    let home = Home::new();
    let _proxy = home.start(&origin.url(), &[]);
    assert_eq!(route(&home, &["/x"]), Value::Null);
    let text = home.run_ok(&["why", "/x"]);
    assert!(!text.contains("  route "), "{text}");
}
