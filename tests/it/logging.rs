//! The log: one line per request on stderr, with the reason and the flag that changes it, and without secrets.

use crate::{client::Client, instance::Home, origin::Origin};

fn varied() -> Origin {
    Origin::start(|exchange| match exchange.target().as_str() {
        "/no-store" => exchange.ok("Cache-Control: no-store\r\n", "body"),
        "/cookie" => exchange.ok("Set-Cookie: sid=HUSH\r\n", "body"),
        _ => exchange.ok("", "body"),
    })
}

#[test]
fn a_line_has_outcome_status_method_target_and_time() {
    let origin = varied();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    proxy.get("/a?page=2");
    proxy.get("/a?page=2");
    for outcome in ["MISS", "HIT"] {
        let line = proxy.log_line(&[&format!("{outcome} 200 GET /a?page=2 ")]);
        let (_, rest) = line.split_once("/a?page=2 ").unwrap();
        let millis = rest.split("ms").next().unwrap();
        assert!(
            !millis.is_empty() && millis.bytes().all(|byte| byte.is_ascii_digit()),
            "{line}"
        );
    }
}

#[test]
fn a_miss_that_was_not_stored_has_a_reason_and_a_remedy() {
    let origin = varied();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    proxy.get("/no-store");
    let line = proxy.log_line(&["MISS 200 GET /no-store "]);
    assert!(line.contains("ms"), "{line}");
    assert!(
        line.contains("  not stored: no-store (policy = \"always\" in a [[rules]] entry for /no-store, or --policy always, caches it)"),
        "{line}"
    );
    proxy.get("/cookie");
    let line = proxy.log_line(&["MISS 200 GET /cookie "]);
    assert!(
        line.contains(
            "not stored: set-cookie (if the cookie identifies nobody, add !sid to identity_cookies)"
        ),
        "{line}"
    );
    proxy.get("/kept");
    let line = proxy.log_line(&["MISS 200 GET /kept "]);
    assert!(!line.contains("not stored"), "{line}");
}

#[test]
fn a_miss_because_of_the_identity_names_the_cookie_or_header_and_the_remedy() {
    let origin = varied();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    proxy.get_with("/kept", "Cookie: sid=HUSH; lang=HUSH\r\n");
    let line = proxy.log_line(&["MISS 200 GET /kept "]);
    let expected = "  own partition: cookie sid, cookie lang \
                    (if it does not change the response, add !sid, !lang to identity_cookies)";
    assert!(line.ends_with(expected), "{line}");
    assert!(!line.contains("HUSH"), "{line}");
    drop(proxy);

    // The remedy helps.
    home.write(
        "config/proxy.toml",
        "identity_cookies = [\"*\", \"!sid\", \"!lang\"]\n",
    );
    let proxy = home.start(&origin.url(), &[]);
    proxy.get_with("/kept", "Cookie: sid=1; lang=2\r\n");
    assert_eq!(
        proxy.get_with("/kept", "Cookie: sid=3\r\n").x_cache(),
        "HIT"
    );
}

#[test]
fn the_names_of_masked_parameters_are_configurable() {
    let origin = varied();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &["--masked-parameters", "colour*,!colour_x"]);
    proxy.get("/a?Colours=HUSH&key=1&colour_x=2");
    proxy.log_line(&["MISS 200 GET /a?Colours=***&key=1&colour_x=2 "]);
    let listed = home.run_ok(&["ls"]);
    assert!(
        listed.contains("/a?Colours=***&key=1&colour_x=2"),
        "{listed}"
    );
    drop(proxy);
    let proxy = home.start(&origin.url(), &[]);
    proxy.get("/a?code=HUSH&session=HUSH&keyword=x");
    proxy.log_line(&["MISS 200 GET /a?code=***&session=***&keyword=x "]);
}

#[test]
fn a_line_names_the_rule_if_the_rule_sets_the_policy() {
    let origin = varied();
    let home = Home::new();
    home.write(
        "config/proxy.toml",
        "[[rules]]\npath = \"/no-*\"\npolicy = \"strict\"\n",
    );
    let proxy = home.start(&origin.url(), &[]);
    proxy.get("/no-store");
    let line = proxy.log_line(&["MISS 200 GET /no-store "]);
    assert!(
        line.contains("no-store (policy = \"always\" in the [[rules]] entry for /no-* caches it)"),
        "{line}"
    );
}

#[test]
fn every_request_has_exactly_one_line() {
    let origin = varied();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    for number in 0..20 {
        proxy.get(&format!("/count/{number}/"));
    }
    let log = proxy.whole_log();
    for number in 0..20 {
        assert_eq!(
            log.matches(&format!("GET /count/{number}/ ")).count(),
            1,
            "{log}"
        );
    }
}

/// All records of the proxy and of its libraries.
const EVERYTHING: &str =
    "trace,actix_http,actix_server,actix_web,actix_rt,actix,awc,h2,mio,rustls,tokio_rustls";

#[test]
fn secrets_are_not_logged() {
    let origin = varied();
    let home = Home::new();
    let proxy = home.start_with(&origin.url(), &[], &[("RUST_LOG", EVERYTHING)]);
    let target = "/x?page=2&api_key=HUSH1&access_token=HUSH2&sig=HUSH3&client_secret=HUSH4&password=HUSH5&Token=HUSH6";
    proxy.get_with(
        target,
        "Authorization: Bearer HUSH7\r\nCookie: sid=HUSH8\r\nX-Api-Key: HUSH9\r\n",
    );
    proxy.get("/cookie");
    proxy.log_line(&["GET", "page=2"]);
    proxy.log_line(&["GET", "/cookie"]);
    let log = proxy.whole_log();
    let own: Vec<&str> = log.lines().filter(|line| line.contains("GET /")).collect();
    assert!(own.iter().all(|line| !line.contains("HUSH")), "{own:#?}");
    assert!(
        log.contains("page=2&api_key="),
        "names stay readable: {own:#?}"
    );
}

#[test]
fn secrets_are_not_logged_with_a_failure() {
    let home = Home::new();
    let proxy = home.start("http://127.0.0.1:9", &[]);
    assert_eq!(
        proxy
            .get_with("/x?token=HUSH1", "Authorization: HUSH2\r\n")
            .status(),
        502
    );
    proxy.log_line(&["502 GET /x"]);
    let log = proxy.whole_log();
    assert!(!log.contains("HUSH"), "{log}");
}

#[test]
fn log_lines_on_a_pipe_have_no_colour() {
    let origin = varied();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    proxy.get("/a");
    proxy.log_line(&["GET /a"]);
    let log = proxy.whole_log();
    assert!(!log.contains('\u{1b}'), "{log:?}");
}

#[test]
fn rust_log_sets_the_level() {
    let origin = varied();
    let home = Home::new();
    let proxy = home.start_with(&origin.url(), &[], &[("RUST_LOG", "error")]);
    proxy.get("/a");
    let log = proxy.whole_log();
    assert!(!log.contains("GET /a"), "{log}");
}

#[test]
fn a_level_in_rust_log_does_not_change_the_libraries() {
    let origin = varied();
    let home = Home::new();
    let proxy = home.start_with(&origin.url(), &[], &[("RUST_LOG", "debug")]);
    let mut client = Client::connect(proxy.port);
    // The proxy has a line of its own for it.
    client.send("NO REQUEST AT ALL\r\n\r\n");
    assert_eq!(client.answer().status(), 400);
    proxy.get("/a");
    proxy.log_line(&["MISS 200 GET /a "]);
    let log = proxy.whole_log();
    let line_is_ours = |line: &&str| line.contains(" - - ") || line.contains("INFO");
    let requests: Vec<&str> = log.lines().filter(|line| !line_is_ours(line)).collect();
    assert!(!requests.iter().any(|line| line.contains("ERROR")), "{log}");
}

#[test]
fn failures_and_bodies_truncated_by_the_origin_are_warnings() {
    let origin = Origin::start(|exchange| match exchange.target().as_str() {
        "/cut" => {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
            exchange.cut();
        }
        _ => exchange.ok("", "body"),
    });
    let home = Home::new();
    let proxy = home.start_with(&origin.url(), &[], &[("RUST_LOG", "warn")]);
    for target in ["/a", "/a", "/cut"] {
        proxy.get(target);
    }
    proxy.log_line(&["WARN", "GET /cut", "cut short by the origin"]);
    let log = proxy.whole_log();
    assert!(!log.contains("GET /a") && !log.contains("INFO"), "{log}");
}

#[test]
fn an_invalid_directive_of_rust_log_is_named() {
    let origin = varied();
    let home = Home::new();
    let proxy = home.start_with(&origin.url(), &[], &[("RUST_LOG", "caching_proxy=loud")]);
    proxy.get("/a");
    proxy.log_line(&["MISS 200 GET /a "]);
    proxy.log_line(&[
        "warning: RUST_LOG: \"caching_proxy=loud\" is ignored",
        "trace",
    ]);
}

#[test]
fn a_target_cannot_forge_a_log_line() {
    let origin = varied();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    proxy.get("/a%0aHIT%20200%20GET%20/forged");
    proxy.log_line(&["GET /a%0a"]);
    let log = proxy.whole_log();
    assert!(!log.contains("HIT 200 GET /forged"), "{log}");
}
