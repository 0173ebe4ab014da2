//! The log formats: text, JSON and the combined format.

use serde_json::Value;

use crate::{client::Client, instance::Home, origin::Origin};

fn varied() -> Origin {
    Origin::start(|exchange| match exchange.target().as_str() {
        "/no-store" => exchange.ok("Cache-Control: no-store\r\n", "body"),
        _ => exchange.ok("", "body"),
    })
}

fn objects(log: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    log.lines().map(parse).collect()
}

#[test]
fn each_record_is_one_json_object() {
    let origin = varied();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &["--log-format", "json"]);
    proxy.get("/a?token=HUSH&q=%22");
    proxy.get("/a?token=HUSH&q=%22");
    proxy.get("/no-store");
    assert_eq!(home.run(&["--clear-cache"]).code, Some(0));
    let log = proxy.whole_log();
    assert!(!log.contains("HUSH"), "{log}");
    let records = objects(&log);
    for record in &records {
        let time = record["time"].as_str().unwrap();
        chrono::DateTime::parse_from_rfc3339(time).unwrap();
        assert_eq!(time.split(['.', '+', 'Z', '-']).nth(3).unwrap().len(), 3);
        assert_eq!(record["level"], "INFO");
    }
    let requests: Vec<&Value> = records
        .iter()
        .filter(|record| record["message"] == "request")
        .collect();
    let [miss, hit, not_stored] = requests.as_slice() else {
        panic!("{requests:#?}");
    };
    assert_eq!(
        (&miss["outcome"], &miss["forward"], &miss["fate"]),
        (&"MISS".into(), &"uri-miss".into(), &"whole".into())
    );
    assert_eq!(miss["method"], "GET");
    assert_eq!(miss["target"], "/a?token=***&q=%22");
    assert_eq!((&miss["status"], &miss["bytes"]), (&200.into(), &4.into()));
    assert!(miss["milliseconds"].is_u64(), "{miss}");
    assert_eq!((&hit["outcome"], hit.get("forward")), (&"HIT".into(), None));
    assert_eq!(not_stored["reason"], "no-store");
    assert_eq!(
        not_stored["remedy"],
        "policy = \"always\" in a [[rules]] entry for /no-store, or --policy always, caches it"
    );
    let cleared = |record: &Value| {
        record["message"]
            .as_str()
            .unwrap()
            .contains("cache cleared")
    };
    assert!(records.iter().any(cleared), "{log}");
}

#[test]
fn a_failure_has_its_cause_in_json() {
    let home = Home::new();
    let proxy = home.start("http://127.0.0.1:9", &["--log-format", "json"]);
    proxy.get("/a");
    let line = proxy.log_line(&["\"request\"", "\"status\":502"]);
    let record: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(record["level"], "WARN");
    assert!(
        record["problem"].as_str().unwrap().contains("127.0.0.1:9"),
        "{record}"
    );
}

#[test]
fn requests_are_logged_in_the_combined_format() {
    let origin = varied();
    let home = Home::new();
    home.write("config/proxy.toml", "log_format = \"combined\"\n");
    let proxy = home.start(&origin.url(), &[]);
    proxy.get_with(
        "/a?key=HUSH",
        "Referer: http://a.test/?sig=HUSH\r\nUser-Agent: curl \"8\"\\\r\n",
    );
    proxy.get("/a?key=HUSH");
    let line = proxy.log_line(&["HIT"]);
    assert!(
        line.ends_with("\"GET /a?key=*** HTTP/1.1\" 200 4 \"-\" \"-\" HIT"),
        "{line}"
    );
    let line = proxy.log_line(&["MISS"]);
    let (client, rest) = line.split_once(" - - [").unwrap();
    let (time, rest) = rest.split_once("] ").unwrap();
    assert_eq!(client, "127.0.0.1");
    chrono::DateTime::parse_from_str(time, "%d/%b/%Y:%H:%M:%S %z").unwrap();
    assert_eq!(
        rest,
        r#""GET /a?key=*** HTTP/1.1" 200 4 "http://a.test/?sig=***" "curl \x228\x22\x5C" MISS"#
    );
    assert_eq!(home.run(&["--clear-cache"]).code, Some(0));
    proxy.log_line(&[" INFO  cache cleared"]);
    assert!(!proxy.whole_log().contains("HUSH"));
}

#[test]
fn a_failure_has_an_additional_line_in_the_combined_format() {
    let home = Home::new();
    let environment = [("CACHING_PROXY_LOG_FORMAT", "combined")];
    let proxy = home.start_with("http://127.0.0.1:9", &[], &environment);
    proxy.get("/a");
    proxy.log_line(&["\"GET /a HTTP/1.1\" 502 ", " MISS"]);
    proxy.log_line(&["WARN  MISS 502 GET /a ", "127.0.0.1:9"]);
}

#[test]
fn a_client_that_gives_up_is_logged_with_499_in_the_combined_format() {
    let origin = Origin::start(|exchange| exchange.stall());
    let home = Home::new();
    let proxy = home.start(&origin.url(), &["--log-format", "combined"]);
    let mut client = Client::connect(proxy.port);
    client.ask("/slow", "");
    origin.wait_for(1);
    drop(client);
    proxy.log_line(&["\"GET /slow HTTP/1.1\" 499 0 ", " MISS"]);
}

#[test]
fn a_client_that_leaves_within_a_body_is_logged_before_the_body_ends() {
    let origin = Origin::start(|exchange| {
        let storing = match exchange.target().as_str() {
            "/stored" => "",
            _ => "Cache-Control: no-store\r\n",
        };
        exchange.send(format!(
            "HTTP/1.1 200 OK\r\n{storing}Content-Length: 100\r\n\r\nfirst"
        ));
        exchange.stall();
    });
    let home = Home::new();
    let proxy = home.start(&origin.url(), &["--log-format", "combined"]);
    for target in ["/stored", "/passed"] {
        let mut client = Client::connect(proxy.port);
        client.ask(target, "").wait_for("first");
        client.reset();
        // The origin has sent no more since.
        proxy.log_line(&[&format!("\"GET {target} HTTP/1.1\" 200 5 "), " MISS"]);
    }
}

#[test]
fn only_the_startup_lines_go_to_stdout() {
    let origin = varied();
    let home = Home::new();
    for format in ["text", "json", "combined"] {
        let proxy = home.start(&origin.url(), &["--log-format", format]);
        proxy.get("/a");
        proxy.log_line(&["/a"]);
        let start = format!(
            "Proxy starting on port {}\nOrigin: {}\n",
            proxy.port,
            origin.url()
        );
        assert_eq!(proxy.stdout(), start);
        let log = proxy.whole_log();
        assert!(!log.contains('\u{1b}'), "{log:?}");
    }
}

#[test]
fn an_unknown_format_is_refused_with_the_known_formats() {
    Home::new()
        .run(&["--origin", "http://127.0.0.1:9", "--log-format", "xml"])
        .refused(2, &["--log-format", "\"xml\"", "text", "json", "combined"]);
}
