//! `export` and `import`: HAR files with the real binary.

use serde_json::{Value, json};

use crate::{
    client::{Answer, Client},
    instance::{Home, Instance},
    origin::Origin,
    ports::free_port,
};

/// A proxy whose origin is not there, so that all it serves was imported.
fn alone(home: &Home, args: &[&str]) -> Instance {
    home.start(&format!("http://127.0.0.1:{}", free_port()), args)
}

/// An entry as Chromium's network panel exports it.
fn entry(url: &str, response: Value) -> Value {
    json!({
        "_initiator": {"type": "script"},
        "_priority": "High",
        "_resourceType": "fetch",
        "cache": {},
        "connection": "443",
        "pageref": "page_1",
        "request": {
            "method": "GET",
            "url": url,
            "httpVersion": "http/2.0",
            "headers": [
                {"name": ":authority", "value": "api.example.test"},
                {"name": ":method", "value": "GET"},
                {"name": "accept", "value": "*/*"},
                {"name": "accept-encoding", "value": "gzip, deflate, br, zstd"},
                {"name": "cache-control", "value": "no-cache"},
            ],
            "queryString": [],
            "cookies": [],
            "headersSize": -1,
            "bodySize": 0,
        },
        "response": response,
        "serverIPAddress": "203.0.113.7",
        "startedDateTime": "2026-11-23T03:30:00.123Z",
        "time": 12.5,
        "timings": {"blocked": 1.5, "dns": -1, "ssl": -1, "connect": -1, "send": 0.1, "wait": 10, "receive": 0.9},
    })
}

fn response(status: u16, headers: &[(&str, &str)], content: Value) -> Value {
    let headers: Vec<Value> = headers
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    json!({
        "status": status,
        "statusText": "",
        "httpVersion": "http/2.0",
        "headers": headers,
        "cookies": [],
        "content": content,
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": -1,
        "_transferSize": 100,
        "_error": null,
    })
}

fn text(text: &str) -> Value {
    json!({"size": text.len(), "mimeType": "application/json", "text": text})
}

fn write(home: &Home, name: &str, entries: &[Value]) -> String {
    let file = json!({"log": {
        "version": "1.2",
        "creator": {"name": "WebInspector", "version": "537.36"},
        "pages": [{"id": "page_1", "startedDateTime": "2026-11-23T03:30:00.000Z", "title": "t", "pageTimings": {}}],
        "entries": entries,
    }});
    home.write(name, &serde_json::to_string_pretty(&file).unwrap());
    name.to_owned()
}

/// Entries of a page that was loaded through the proxy on `port`, as Chromium exports them: four with a response that can be
/// stored, and four without.
fn page(port: u16) -> Vec<Value> {
    let coded = [
        ("content-encoding", "br"),
        ("content-length", "3"),
        ("content-type", "application/json"),
        ("vary", "Accept-Encoding"),
        ("cache-control", "no-store, private"),
        ("set-cookie", "sid=S3CR3T"),
        ("x-cache", "MISS"),
    ];
    let image = [("content-type", "image/png")];
    let pixel = json!({"size": 3, "mimeType": "image/png", "text": "AP8B", "encoding": "base64"});
    let away = [("location", "/users?page=1")];
    let nothing = || json!({"size": 0, "mimeType": "x-unknown"});
    let dropped = json!({"size": 9, "mimeType": "text/plain"});
    let users = response(200, &coded, text("[\"gr\u{fc}\u{df}\"]"));
    [
        ("/users?page=1", users),
        ("/pixel.png", response(200, &image, pixel)),
        ("/old", response(301, &away, nothing())),
        ("/missing", response(404, &[], text("no"))),
        ("https://cdn.example.test/", response(200, &[], text("x"))),
        ("data:image/png;base64,AA", response(200, &[], text("x"))),
        ("/big", response(200, &[], dropped)),
        ("/aborted", response(0, &[], nothing())),
    ]
    .into_iter()
    .map(|(url, response)| match url.starts_with('/') {
        true => entry(&format!("http://127.0.0.1:{port}{url}"), response),
        false => entry(url, response),
    })
    .collect()
}

#[test]
fn an_export_of_a_browser_is_imported_and_replayed() {
    let home = Home::new();
    let proxy = alone(&home, &[]);
    write(&home, "in.har", &page(proxy.port));
    let imported = home.run(&["import", "in.har"]);
    let stdout = "Imported 4 responses\n";
    assert_eq!((imported.code, imported.stdout.as_str()), (Some(0), stdout));
    for words in [
        "1 entry not imported (5): it is of another site, cdn.example.test",
        "1 entry not imported (6): its URL is not one of http or https",
        "1 entry not imported (7): its body is not in the file",
        "1 entry not imported (8): the request had no response",
    ] {
        assert!(imported.stderr.contains(words), "{}", imported.stderr);
    }
    // Online too: it is fresh until it is cleared, whatever its directives say.
    for state in ["off", "on"] {
        home.run(&["offline", state]);
        let users = proxy.get("/users?page=1");
        assert_eq!((users.status(), users.x_cache()), (200, "HIT"));
        assert_eq!(users.body, "[\"gr\u{fc}\u{df}\"]".as_bytes());
        let status = users.field("cache-status").unwrap();
        assert_eq!(status, "caching-proxy; hit; detail=imported");
        for name in ["content-encoding", "set-cookie", "vary"] {
            assert_eq!(users.field(name), None, "{name}");
        }
        assert_eq!(users.field("date"), Some("Mon, 23 Nov 2026 03:30:00 GMT"));
        assert_eq!(proxy.get("/pixel.png").body, b"\x00\xff\x01");
        assert_eq!(proxy.get("/old").field("location"), Some("/users?page=1"));
        assert_eq!(proxy.get("/missing").status(), 404);
    }
    let listed = home.run_json(&["ls", "--json"]);
    assert_eq!(listed["total"], 4);
    assert_eq!(listed["entries"][0]["provenance"], "imported");
    let shown = home.run_ok(&["show", "/users?page=1"]);
    assert!(shown.contains("imported from a file"), "{shown}");
}

#[test]
fn urls_of_the_origin_its_other_names_and_its_routes_are_imported() {
    let home = Home::new();
    home.write(
        "config/proxy.toml",
        "offline = true\norigin = \"https://example.test/v2\"\n\
         [[routes]]\npath = \"/files/*\"\norigin = \"https://files.test\"\nstrip_prefix = true\n\
         [[rules]]\npath = \"/users\"\nignore_query = [\"t\"]\n",
    );
    let proxy = home.start("https://example.test/v2", &[]);
    let hello = || response(200, &[], text("hello"));
    let entries = [
        entry("https://example.test/v2/users?t=1", hello()),
        entry("https://files.test/a.txt", hello()),
        entry("https://www.example.test/v2/b", hello()),
        entry("https://example.test/v1/users", hello()),
    ];
    write(&home, "in.har", &entries);
    let imported = home.run(&["import", "in.har", "--site", "www.example.test", "--json"]);
    assert_eq!(
        serde_json::from_str::<Value>(&imported.stdout).unwrap(),
        json!({"imported": 3, "skipped": [
            {"reason": "its URL is outside of the path of the origin", "count": 1, "entries": [4]}
        ]})
    );
    for target in ["/users?t=2", "/users", "/files/a.txt", "/b"] {
        proxy.get(target).expect(200, "HIT", "hello");
    }
    assert_eq!(proxy.get("/a.txt").status(), 504);
}

#[test]
fn imported_responses_belong_to_the_credentials_in_the_file_unless_shared() {
    let home = Home::new();
    for (policy, args) in [
        ("standard", &[][..]),
        ("strict", &[]),
        ("standard", &["--shared"]),
        ("strict", &["--shared"]),
    ] {
        let proxy = alone(&home, &["--offline", "--policy", policy]);
        let url = |path: &str| format!("http://127.0.0.1:{}{path}", proxy.port);
        let plain = entry(
            &url("/plain"),
            response(200, &[("vary", "Cookie, Accept")], text("plain")),
        );
        let mut own = entry(&url("/own"), response(200, &[], text("own")));
        let credentials = json!({"name": "Authorization", "value": "Bearer ann"});
        own["request"]["headers"]
            .as_array_mut()
            .unwrap()
            .push(credentials);
        write(&home, "in.har", &[plain, own]);
        let port = proxy.port.to_string();
        let import = [&["import", "in.har", "--port", &port], args].concat();
        let imported = home.run(&import);
        let ann = "Authorization: Bearer ann\r\nAccept: */*\r\n";
        let others = [
            "Accept: */*\r\n",
            "Authorization: Bearer bob\r\nAccept: */*\r\n",
            "Cookie: sid=1\r\nAccept: */*\r\n",
        ];
        if args.is_empty() {
            proxy
                .get_with("/plain", others[0])
                .expect(200, "HIT", "plain");
            assert_eq!(proxy.get_with("/plain", others[2]).status(), 504);
            match policy {
                "strict" => assert!(
                    imported.stderr.contains("made for one user"),
                    "{}",
                    imported.stderr
                ),
                _ => drop(proxy.get_with("/own", ann).expect(200, "HIT", "own")),
            }
            for fields in others {
                assert_eq!(
                    proxy.get_with("/own", fields).status(),
                    504,
                    "{policy} {fields}"
                );
            }
        } else {
            for fields in others.iter().chain(&[ann]) {
                proxy.get_with("/plain", fields).expect(200, "HIT", "plain");
                proxy.get_with("/own", fields).expect(200, "HIT", "own");
            }
        }
    }
}

#[test]
fn a_broken_file_is_refused_with_the_entry_and_what_came_before_stays() {
    let home = Home::new();
    let proxy = alone(&home, &["--offline"]);
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", proxy.port);
    let entries = [
        entry(&url("/a"), response(200, &[], text("a"))),
        entry(&url("/b"), response(200, &[], text("b"))),
    ];
    write(&home, "whole.har", &entries);
    let whole = std::fs::read_to_string(home.path("work/whole.har")).unwrap();
    let second = whole.find(&url("/b")).unwrap();
    home.write("cut.har", &whole[..second]);
    home.run(&["import", "cut.har"]).refused(
        1,
        &[
            "cut.har: the file ends in the middle of entry 2",
            "export it again",
            "1 response before that imported, and kept",
        ],
    );
    proxy.get("/a").expect(200, "HIT", "a");
    assert_eq!(proxy.get("/b").status(), 504);
    home.run(&["--clear-cache"]);
    home.write(
        "wrong.har",
        &whole.replace(&format!("\"{}\"", url("/b")), "7"),
    );
    let wrong = home.run(&["import", "wrong.har"]);
    assert_eq!(wrong.code, Some(0));
    assert!(
        wrong
            .stderr
            .contains("1 entry not imported (2): it is not an entry of HAR 1.2"),
        "{}",
        wrong.stderr
    );
    home.write("no.har", "<html>");
    home.run(&["import", "no.har"])
        .refused(1, &["entry 1 is not valid JSON", "as a browser exports it"]);
    home.write("other.har", "{\"a\": 1}");
    home.run(&["import", "other.har"])
        .refused(1, &["it is not a HAR file (it has no log.entries)"]);
    home.run(&["import", "none.har"])
        .refused(2, &["cannot read none.har"]);
    write(
        &home,
        "foreign.har",
        &[entry("http://cdn.test/", response(200, &[], text("a")))],
    );
    let foreign = home.run(&["import", "foreign.har"]);
    assert_eq!((foreign.code, foreign.stdout.as_str()), (Some(1), ""));
    assert!(
        foreign.stderr.contains("nothing was imported"),
        "{}",
        foreign.stderr
    );
}

/// An origin with responses of several kinds.
fn api() -> Origin {
    Origin::start(|exchange| {
        match exchange.target().split('?').next().unwrap() {
        "/binary" => exchange.ok("Content-Type: image/png\r\n", b"\x89PNG\xff\x00"),
        "/coded" => exchange.ok("Content-Type: text/plain\r\nContent-Encoding: gzip\r\n", b"\x1f\x8b\x08"),
        "/secret" => exchange.ok(
            "X-Auth-Token: S3CR3T\r\nContent-Location: /secret?token=S3CR3T\r\nVary: Authorization\r\nCache-Control: public\r\n",
            "secret",
        ),
        "/private" => exchange.ok("Cache-Control: private\r\n", "private"),
        "/error" => exchange.answer("500 Internal Server Error", "", "error"),
        "/large" => exchange.ok("Content-Type: text/plain\r\n", "0123456789".repeat(100_000)),
        "/part" => exchange.answer(
            "206 Partial Content",
            "ETag: \"a\"\r\nContent-Range: bytes 2-4/10\r\n",
            "234",
        ),
        _ => exchange.ok("Content-Type: application/json\r\n", "{\"a\": \"\u{fc}\\n\"}"),
    }
    })
}

const STORED: [&str; 6] = [
    "/json?a=1&b",
    "/binary",
    "/coded",
    "/large",
    "/error",
    "/private",
];

fn search(proxy: &Instance, body: &[u8]) -> Answer {
    let head = "POST /search HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    let mut client = Client::connect(proxy.port);
    client
        .send(format!("{head}Content-Length: {}\r\n\r\n", body.len()))
        .send(body);
    client.answer()
}

fn get_all(proxy: &Instance) -> Vec<Answer> {
    let get = |target: &&str| proxy.get_with(target, "Accept-Encoding: gzip\r\n");
    STORED.iter().map(get).collect()
}

#[test]
fn an_export_has_bodies_as_text_or_base64_and_says_how_they_were_stored() {
    let origin = api();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &["--record"]);
    get_all(&proxy);
    let exported = home.run(&["export", "out.har"]);
    let stdout = "Exported 6 responses to out.har\n";
    assert_eq!((exported.code, exported.stdout.as_str()), (Some(0), stdout));
    let words = "1 body has a content coding";
    assert!(exported.stderr.contains(words), "{}", exported.stderr);
    let file = std::fs::read(home.path("work/out.har")).unwrap();
    let file: Value = serde_json::from_slice(&file).unwrap();
    let entries = file["log"]["entries"].as_array().unwrap();
    let find = |path: &str| {
        let url = format!("{}{path}", origin.url());
        let mut entries = entries.iter();
        entries
            .find(|entry| entry["request"]["url"] == url.as_str())
            .unwrap()
    };
    let json = &find("/json?a=1&b")["response"]["content"];
    assert_eq!(json["text"], "{\"a\": \"\u{fc}\\n\"}");
    assert_eq!(json["mimeType"], "application/json");
    assert_eq!(find("/binary")["response"]["content"]["encoding"], "base64");
    assert_eq!(find("/private")["_cachingProxy"]["provenance"], "recorded");
    assert_eq!(find("/large")["response"]["content"]["size"], 1_000_000);
}

#[test]
fn an_export_comes_back_with_its_import() {
    let origin = api();
    let home = Home::new();
    let rule = "[[rules]]\npath = \"/search\"\nstore_post = true\n";
    home.write("config/proxy.toml", rule);
    let proxy = home.start(&origin.url(), &["--record"]);
    let online = get_all(&proxy);
    proxy.get_with("/part", "Range: bytes=2-4\r\n");
    search(&proxy, b"{\"q\":1}");
    home.run(&["export", "out.har"]);
    home.run(&["--clear-cache"]);
    home.run(&["offline", "on"]);
    let imported = home.run(&["import", "out.har"]);
    let stdout = "Imported 8 responses\n";
    assert_eq!(imported.stdout, stdout, "{}", imported.stderr);
    for (offline, online) in get_all(&proxy).iter().zip(&online) {
        assert_eq!(offline.x_cache(), "HIT");
        assert_eq!(offline.status(), online.status());
        assert_eq!(offline.body, online.body);
        for name in ["content-type", "content-encoding"] {
            assert_eq!(offline.field(name), online.field(name));
        }
    }
    let part = proxy.get_with("/part", "Range: bytes=2-4\r\n");
    assert_eq!((part.status(), part.text().as_str()), (206, "234"));
    assert_eq!(search(&proxy, b"{\"q\": 1}").status(), 200);
    assert_eq!(search(&proxy, b"{\"q\":2}").status(), 504);
}

#[test]
fn secrets_are_exported_only_on_request() {
    let origin = api();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    proxy.get_with(
        "/secret?api_key=S3CR3T&a=1",
        "Authorization: Bearer S3CR3T\r\n",
    );
    proxy.get_with("/json", "Cookie: sid=S3CR3T\r\n");
    let exported = home.run(&["export", "out.har"]);
    assert_eq!(exported.code, Some(0));
    for words in [
        "left out: 1 authorization header, 1 x-auth-token header, the values of secret parameters in 2 URLs \
         (--with-secrets exports them)",
        "bodies are exported as they are",
        "1 response was made for one user",
    ] {
        assert!(exported.stderr.contains(words), "{}", exported.stderr);
    }
    let path = home.path("work/out.har");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("S3CR3T"), "{text}");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let all = home.run(&["export", "-", "/secret*", "--with-secrets"]);
    let file: Value = serde_json::from_str(&all.stdout).unwrap();
    assert_eq!(file["log"]["entries"].as_array().unwrap().len(), 1);
    assert!(all.stdout.contains("Bearer S3CR3T") && all.stdout.contains("api_key=S3CR3T"));
    assert!(!all.stderr.contains("left out"), "{}", all.stderr);
    // What was made for one user is not served to others, unless that is asked for.
    home.run(&["--clear-cache"]);
    home.run(&["offline", "on"]);
    let imported = home.run(&["import", "out.har"]);
    assert!(
        imported.stderr.contains("): made for one user, whose"),
        "{}",
        imported.stderr
    );
    assert_eq!(proxy.get("/json").status(), 504);
    home.run(&["import", "out.har", "--shared"]);
    assert_eq!(proxy.get("/json").status(), 200);
}

#[test]
fn commands_without_a_proxy_or_with_a_bad_path_are_refused() {
    let home = Home::new();
    home.run(&["export", "out.har"])
        .refused(4, &["no running caching-proxy found"]);
    home.write("in.har", "{}");
    home.run(&["import", "in.har"])
        .refused(4, &["no running caching-proxy found"]);
    let _proxy = alone(&home, &[]);
    home.run(&["export", "out.har", "products"])
        .refused(2, &["is not a path"]);
    home.run(&["export", "missing/out.har"])
        .refused(1, &["cannot write missing/out.har"]);
    assert!(!home.path("work/out.har").exists());
}

#[test]
fn what_is_too_large_or_has_no_key_is_skipped_and_the_others_are_imported() {
    let home = Home::new();
    let proxy = alone(&home, &["--offline", "--max-object", "100KiB"]);
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", proxy.port);
    let large = "x".repeat(3_000_000);
    let mut posted = entry(&url("/post"), response(200, &[], text("a")));
    posted["request"]["method"] = json!("POST");
    posted["request"]["postData"] = json!({"mimeType": "text/plain", "text": large});
    let mut order = posted.clone();
    order["request"]["postData"]["text"] = json!("a");
    let entries = [
        entry(&url("/large"), response(200, &[], text(&large))),
        posted,
        order,
        entry(&url("/bad"), response(200, &[("a b", "c")], text("a"))),
        entry(&url("/space here"), response(200, &[], text("a"))),
        entry(
            &url("/stream"),
            response(200, &[("content-type", "text/event-stream")], text("a")),
        ),
        entry(&url("/good"), response(200, &[], text("good"))),
    ];
    write(&home, "in.har", &entries);
    let imported = home.run(&["import", "in.har"]);
    assert_eq!(
        imported.stdout, "Imported 1 response\n",
        "{}",
        imported.stderr
    );
    for words in [
        "(1): its body is too large to store",
        "(2): its headers, its URL, or the body of its request are too large",
        "(3): the method is not GET",
        "(4): its header \"a b\" is not valid",
        "(5): its URL is not valid",
        "(6): it is a live stream, which has no end",
    ] {
        assert!(
            imported.stderr.contains(words),
            "{words}: {}",
            imported.stderr
        );
    }
    proxy.get("/good").expect(200, "HIT", "good");
}

/// What the network panel of Chromium 156 has exported of a small site: a page with an image, and fetches of scripts.
const CHROMIUM: &str = include_str!("har/chromium.har");

/// Panics unless a file has what HAR 1.2 demands.
#[track_caller]
fn assert_is_har_1_2(file: &Value) {
    let log = &file["log"];
    assert_eq!(log["version"], "1.2");
    let is_text = |of: &Value, names: &[&str]| {
        for name in names {
            assert!(of[*name].is_string(), "{name} of {of}");
        }
    };
    let is_number = |of: &Value, names: &[&str]| {
        for name in names {
            assert!(of[*name].is_number(), "{name} of {of}");
        }
    };
    let are_pairs = |list: &Value| {
        for pair in list.as_array().unwrap() {
            is_text(pair, &["name", "value"]);
        }
    };
    is_text(&log["creator"], &["name", "version"]);
    for entry in log["entries"].as_array().unwrap() {
        let (request, response) = (&entry["request"], &entry["response"]);
        let started = entry["startedDateTime"].as_str().unwrap();
        chrono::DateTime::parse_from_rfc3339(started).unwrap();
        assert!(entry["time"].as_f64().unwrap() >= 0.0);
        assert!(entry["cache"].is_object());
        is_number(&entry["timings"], &["send", "wait", "receive"]);
        is_text(request, &["method", "url", "httpVersion"]);
        is_text(response, &["statusText", "httpVersion", "redirectURL"]);
        is_number(response, &["status"]);
        for message in [request, response] {
            are_pairs(&message["headers"]);
            are_pairs(&message["cookies"]);
            is_number(message, &["headersSize", "bodySize"]);
        }
        are_pairs(&request["queryString"]);
        is_number(&response["content"], &["size"]);
        is_text(&response["content"], &["mimeType"]);
    }
}

#[test]
fn an_export_of_chromium_is_replayed_and_exported_as_har_1_2() {
    assert_is_har_1_2(&serde_json::from_str(CHROMIUM).unwrap());
    let home = Home::new();
    let proxy = alone(&home, &["--offline"]);
    home.write("in.har", CHROMIUM);
    let imported = home.run(&["import", "in.har", "--site", "127.0.0.1:21600", "--shared"]);
    assert_eq!(imported.stdout, "Imported 13 responses\n", "{imported:?}");
    for words in [
        "1 entry not imported (10): the method is not GET",
        "1 entry not imported (15): a newer response was stored",
    ] {
        assert!(imported.stderr.contains(words), "{}", imported.stderr);
    }
    let bytes: Vec<u8> = (0..=255).collect();
    let zipped = format!("{{\"zipped\":\"{}\"}}", "z".repeat(300));
    let items = "[{\"n\": \"M\u{fc}sli\"}, {\"n\": \"\u{2603} \u{1f600}\"}]";
    for (path, status, body) in [
        ("/api/items?limit=2&sort=name", 200, items.as_bytes()),
        ("/api/gz", 200, zipped.as_bytes()),
        ("/api/me", 200, b"{\"cookie\": \"sid=s1\"}"),
        ("/old", 302, b""),
        ("/missing", 404, b"<h1>no</h1>"),
        ("/empty", 204, b""),
        ("/bytes.bin", 200, &bytes),
        ("/latin1", 200, "gr\u{fc}\u{df}".as_bytes()),
        ("/private", 200, b"{\"secret\":true}"),
    ] {
        let hit = proxy.get(path);
        assert_eq!((hit.status(), hit.x_cache()), (status, "HIT"), "{path}");
        assert_eq!(hit.body, body, "{path}");
    }
    let text = proxy.get("/latin1");
    assert_eq!(
        text.field("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let part = proxy.get_with("/bytes.bin", "Range: bytes=10-19\r\n");
    assert_eq!((part.status(), &part.body[..]), (206, &bytes[10..20]));
    let exported = home.run(&["export", "out.har"]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    let file = std::fs::read_to_string(home.path("work/out.har")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    assert_is_har_1_2(&file);
    assert_eq!(file["log"]["entries"].as_array().unwrap().len(), 13);
}

#[test]
fn a_body_that_is_longer_than_an_entry_in_memory_may_be_is_imported_from_the_file() {
    let home = Home::new();
    let proxy = alone(&home, &["--offline"]);
    // Text with escapes, and binary data, both longer than what is read at a time.
    let long = "\u{20ac}\"\n".repeat(400_000);
    let bytes: Vec<u8> = (0..=255).cycle().take(2_000_000).collect();
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &bytes);
    let entries = [
        entry(
            &format!("http://127.0.0.1:{}/text", proxy.port),
            response(200, &[], text(&long)),
        ),
        entry(
            &format!("http://127.0.0.1:{}/bytes", proxy.port),
            response(
                200,
                &[],
                json!({"size": bytes.len(), "mimeType": "image/png", "text": encoded, "encoding": "base64"}),
            ),
        ),
        entry(
            &format!("http://127.0.0.1:{}/header", proxy.port),
            response(200, &[("x-long", &long)], text("x")),
        ),
    ];
    write(&home, "in.har", &entries);
    let imported = home.run(&["import", "in.har"]);
    assert_eq!(imported.stdout, "Imported 2 responses\n", "{imported:?}");
    assert!(
        imported.stderr.contains("(3): its headers, its URL"),
        "{imported:?}"
    );
    assert_eq!(proxy.get("/text").body, long.as_bytes());
    assert_eq!(proxy.get("/bytes").body, bytes);
}
