//! `--store`: what is cached survives restarts, and may be larger than memory.

use rustix::process::Signal;

use crate::{
    client::Client,
    instance::{Finished, Home, Instance},
    origin::Origin,
    ports::free_port,
    waiting::until,
};

/// A body that is told from others by its first bytes.
fn body(name: &str, bytes: usize) -> String {
    format!(
        "{name}:{}",
        "x".repeat(bytes.saturating_sub(name.len() + 1))
    )
}

/// An origin whose bodies have as many bytes as the path says.
fn sized() -> Origin {
    Origin::start(|exchange| {
        let target = exchange.target().to_owned();
        let bytes = target.trim_start_matches('/').parse().unwrap_or(0);
        exchange.ok("ETag: \"v\"\r\n", body(&target, bytes));
    })
}

fn start(home: &Home, origin: &Origin, args: &[&str]) -> Instance {
    // The file system may be nearly full.
    let args: Vec<&str> = ["--store", "cache", "--disk-reserve", "0"]
        .iter()
        .chain(args)
        .copied()
        .collect();
    home.start(&origin.url(), &args)
}

/// Stops a proxy as a service manager does.
fn stop(mut proxy: Instance) {
    proxy.signal(Signal::TERM);
    assert!(proxy.wait().success(), "{}", proxy.log());
}

/// Waits until everything that is stored is on disk.
fn settle(home: &Home, responses: u64) {
    until("everything is on disk", || {
        let stats = home.run_json(&["stats", "--json"]);
        let disk = &stats["disk"];
        disk["responses"] == responses && disk["waiting_bytes"] == 0
    });
}

#[test]
fn what_is_stored_is_a_hit_after_a_restart() {
    let origin = Origin::counting("Cache-Control: max-age=600\r\nX-Kind: plain\r\n");
    let home = Home::new();
    let proxy = start(&home, &origin, &[]);
    proxy.get("/a").expect(200, "MISS", "GET /a #0");
    proxy.get("/a?b=1").expect(200, "MISS", "GET /a?b=1 #0");
    stop(proxy);
    let proxy = start(&home, &origin, &[]);
    let hit = proxy.get("/a");
    hit.expect(200, "HIT", "GET /a #0");
    assert_eq!(hit.field("x-kind"), Some("plain"));
    assert!(hit.field("age").is_some());
    proxy.get("/a?b=1").expect(200, "HIT", "GET /a?b=1 #0");
    proxy.get("/c").expect(200, "MISS", "GET /c #0");
    assert_eq!(origin.count(), 3);
}

#[test]
fn what_was_on_disk_is_there_after_a_kill() {
    let origin = Origin::counting("Cache-Control: max-age=600\r\n");
    let home = Home::new();
    let proxy = start(&home, &origin, &[]);
    proxy.get("/a").expect(200, "MISS", "GET /a #0");
    settle(&home, 1);
    proxy.kill();
    let proxy = start(&home, &origin, &[]);
    proxy.get("/a").expect(200, "HIT", "GET /a #0");
}

#[test]
fn what_a_clear_a_purge_or_an_unsafe_request_has_ended_does_not_come_back() {
    let origin = Origin::counting("Cache-Control: max-age=600\r\nCache-Tag: t\r\n");
    let home = Home::new();
    for (paths, end) in [
        (["/a", "/a"], &["purge", "/a"][..]),
        (["/p/1", "/p/2"], &["purge", "/p/*"]),
        (["/t", "/t"], &["purge", "--tag", "t"]),
        (["/c", "/d"], &["--clear-cache"]),
        (["/post", "/post"], &[]),
    ] {
        let proxy = start(&home, &origin, &[]);
        for path in paths {
            proxy.get(path);
            assert_eq!(proxy.get(path).x_cache(), "HIT", "{path}");
        }
        match end {
            [] => {
                let mut client = Client::connect(proxy.port);
                client.send("POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
                assert_eq!(client.answer().status(), 200);
            }
            end => assert_eq!(home.run(end).code, Some(0), "{end:?}"),
        }
        proxy.kill();
        let before = origin.count();
        let proxy = start(&home, &origin, &[]);
        for path in paths {
            proxy.get(path);
        }
        assert!(origin.count() > before, "{end:?}");
        proxy.kill();
    }
}

#[test]
fn a_guess_is_doubted_after_a_restart_if_an_unsafe_request_concerned_it() {
    let origin = Origin::counting("ETag: \"v\"\r\n");
    let home = Home::new();
    let proxy = start(&home, &origin, &[]);
    proxy.get("/items?limit=10");
    proxy.get("/users");
    settle(&home, 2);
    let mut client = Client::connect(proxy.port);
    client.send("POST /items HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().status(), 200);
    stop(proxy);
    let proxy = start(&home, &origin, &[]);
    proxy.get("/users").expect(200, "HIT", "GET /users #0");
    let again = proxy.get("/items?limit=10");
    assert_eq!(again.x_cache(), "MISS");
    assert!(origin.last().field("if-none-match").is_some());
}

#[test]
fn each_user_gets_the_own_response_after_a_restart() {
    let origin = Origin::start(|exchange| {
        let user = exchange
            .request
            .field("authorization")
            .unwrap_or_else(|| "none".to_owned());
        exchange.ok("Cache-Control: max-age=600\r\n", user);
    });
    let home = Home::new();
    let get =
        |proxy: &Instance, user: &str| proxy.get_with("/me", &format!("Authorization: {user}\r\n"));
    let proxy = start(&home, &origin, &[]);
    for user in ["one", "two"] {
        get(&proxy, user).expect(200, "MISS", user);
    }
    stop(proxy);
    let proxy = start(&home, &origin, &[]);
    for user in ["one", "two"] {
        get(&proxy, user).expect(200, "HIT", user);
    }
    get(&proxy, "three").expect(200, "MISS", "three");
}

#[test]
fn variants_are_found_by_their_headers_after_a_restart() {
    let origin = Origin::start(|exchange| {
        let language = exchange
            .request
            .field("accept-language")
            .unwrap_or_default();
        exchange.ok(
            "Cache-Control: max-age=600\r\nVary: Accept-Language\r\n",
            language,
        );
    });
    let home = Home::new();
    let get = |proxy: &Instance, language: &str| {
        proxy.get_with("/", &format!("Accept-Language: {language}\r\n"))
    };
    let proxy = start(&home, &origin, &[]);
    for language in ["de", "fr", "it"] {
        get(&proxy, language).expect(200, "MISS", language);
    }
    stop(proxy);
    let proxy = start(&home, &origin, &[]);
    for language in ["it", "de", "fr"] {
        get(&proxy, language).expect(200, "HIT", language);
    }
    get(&proxy, "en").expect(200, "MISS", "en");
}

#[test]
fn more_is_stored_than_fits_in_memory() {
    let origin = sized();
    let home = Home::new();
    let args = ["--max-memory", "1MiB", "--max-object", "256KiB"];
    let proxy = start(&home, &origin, &args);
    let paths: Vec<String> = (0..40).map(|n| format!("/{}", 100_000 + n)).collect();
    for path in &paths {
        proxy.get(path);
    }
    settle(&home, 40);
    for path in &paths {
        let bytes = path.trim_start_matches('/').parse().unwrap();
        proxy.get(path).expect(200, "HIT", &body(path, bytes));
    }
    assert_eq!(origin.count(), 40);
}

#[test]
fn what_was_ended_is_not_sent_from_disk_when_memory_is_full() {
    let origin = sized();
    let home = Home::new();
    let args = ["--max-memory", "1MiB", "--max-object", "256KiB"];
    let proxy = start(&home, &origin, &args);
    let lengths = (0..20).flat_map(|n| [50_000 + n, 100_000 + n]);
    let paths: Vec<String> = lengths.map(|length| format!("/{length}")).collect();
    for path in &paths {
        proxy.get(path);
    }
    settle(&home, 40);
    for path in ["/50000", "/100000"].repeat(3) {
        let bytes = path.trim_start_matches('/').parse().unwrap();
        proxy.get(path).expect(200, "HIT", &body(path, bytes));
    }
    let mut client = Client::connect(proxy.port);
    for path in ["/50001", "/100001"] {
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
        ));
        assert_eq!(client.answer().status(), 200);
        assert_eq!(proxy.get(path).x_cache(), "MISS", "{path}");
    }
    assert_eq!(home.run(&["purge", "/*2"]).code, Some(0));
    for path in ["/50002", "/100012"] {
        assert_eq!(proxy.get(path).x_cache(), "MISS", "{path}");
    }
    for path in ["/50003", "/100003"] {
        let bytes = path.trim_start_matches('/').parse().unwrap();
        proxy.get(path).expect(200, "HIT", &body(path, bytes));
    }
    assert_eq!(home.run(&["--clear-cache"]).code, Some(0));
    for path in &paths {
        assert_eq!(proxy.get(path).x_cache(), "MISS", "{path}");
    }
}

#[test]
fn a_body_that_is_too_large_for_memory_is_stored_on_disk_with_its_ranges() {
    let origin = sized();
    let home = Home::new();
    let args = ["--max-memory", "1MiB", "--max-object", "128KiB"];
    let proxy = start(&home, &origin, &args);
    let whole = body("/5000000", 5_000_000);
    proxy.get("/5000000").expect(200, "MISS", &whole);
    for proxy in [proxy]
        .into_iter()
        .chain(std::iter::once_with(|| start(&home, &origin, &args)))
    {
        proxy.get("/5000000").expect(200, "HIT", &whole);
        let part = proxy.get_with("/5000000", "Range: bytes=4900000-4900009\r\n");
        part.expect(206, "HIT", &whole[4_900_000..4_900_010]);
        assert_eq!(
            part.field("content-range"),
            Some("bytes 4900000-4900009/5000000")
        );
        proxy
            .get_with("/5000000", "If-None-Match: \"v\"\r\n")
            .expect(304, "HIT", "");
        stop(proxy);
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_body_of_any_length_is_fetched_once() {
    let origin = sized();
    let home = Home::new();
    let args = ["--max-memory", "1MiB", "--max-object", "128KiB"];
    let proxy = start(&home, &origin, &args);
    let lengths = [0, 10, 65_536, 65_537, 131_072, 131_073, 300_000, 1_048_577];
    let get = |proxy: &Instance, x_cache: &str| {
        for bytes in lengths {
            let path = format!("/{bytes}");
            proxy.get(&path).expect(200, x_cache, &body(&path, bytes));
        }
    };
    get(&proxy, "MISS");
    settle(&home, lengths.len() as u64);
    get(&proxy, "HIT");
    stop(proxy);
    let proxy = start(&home, &origin, &args);
    get(&proxy, "HIT");
    get(&proxy, "HIT");
    assert_eq!(origin.count(), lengths.len());
}

#[test]
fn a_second_proxy_cannot_use_the_store() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = start(&home, &origin, &[]);
    let port = crate::ports::free_port().to_string();
    let args = [
        "--port",
        &port,
        "--origin",
        &origin.url(),
        "--store",
        "cache",
    ];
    home.run(&args).refused(
        3,
        &[
            "--store",
            "cache is in use by port",
            &proxy.port.to_string(),
            "process",
        ],
    );
    stop(proxy);
    stop(start(&home, &origin, &[]));
}

#[test]
fn a_directory_with_other_files_is_refused_and_left_alone() {
    let home = Home::new();
    home.write("photos/holiday.jpg", "x");
    let port = crate::ports::free_port().to_string();
    let args = [
        "--port",
        &port,
        "--origin",
        "http://127.0.0.1:9",
        "--store",
        "photos",
    ];
    home.run(&args).refused(2, &["photos", "holiday.jpg"]);
    assert_eq!(
        std::fs::read(home.path("work/photos/holiday.jpg")).unwrap(),
        b"x"
    );
}

#[test]
fn a_store_without_its_format_is_refused_and_a_restored_one_is_used() {
    let origin = Origin::counting("Cache-Control: max-age=600\r\n");
    let home = Home::new();
    let proxy = start(&home, &origin, &[]);
    proxy.get("/a").expect(200, "MISS", "GET /a #0");
    stop(proxy);
    let format = home.path("work/cache/format");
    let text = std::fs::read_to_string(&format).unwrap();
    std::fs::remove_file(&format).unwrap();
    let port = crate::ports::free_port().to_string();
    let url = origin.url();
    let args = ["--port", &port, "--origin", &url, "--store", "cache"];
    let as_printf = text.replace('\n', "\\n");
    let remedy = format!("printf '{as_printf}' > cache/format");
    home.run(&args)
        .refused(2, &["cache", "has lost its file `format`", &remedy]);
    std::fs::write(&format, text).unwrap();
    let proxy = start(&home, &origin, &[]);
    proxy.get("/a").expect(200, "HIT", "GET /a #0");
}

#[test]
fn other_settings_about_users_do_not_see_what_was_stored_before() {
    let origin = Origin::counting("Cache-Control: max-age=600\r\n");
    let home = Home::new();
    let proxy = start(&home, &origin, &[]);
    proxy.get("/a");
    stop(proxy);
    let proxy = start(&home, &origin, &["--policy", "strict"]);
    assert_eq!(proxy.get("/a").x_cache(), "MISS");
    stop(proxy);
    let proxy = start(&home, &origin, &[]);
    proxy.get("/a").expect(200, "HIT", "GET /a #0");
}

#[test]
fn only_if_cached_is_answered_from_disk() {
    let origin = Origin::counting("Cache-Control: max-age=600\r\n");
    let home = Home::new();
    let proxy = start(&home, &origin, &[]);
    proxy.get("/a");
    stop(proxy);
    let proxy = start(&home, &origin, &[]);
    let only = "Cache-Control: only-if-cached\r\n";
    proxy.get_with("/a", only).expect(200, "HIT", "GET /a #0");
    assert_eq!(proxy.get_with("/b", only).status(), 504);
}

#[test]
fn an_offline_proxy_serves_what_is_on_disk() {
    let mut origin = Origin::counting("Cache-Control: max-age=0\r\nETag: \"v\"\r\n");
    let home = Home::new();
    let proxy = start(&home, &origin, &[]);
    proxy.get("/a");
    stop(proxy);
    let proxy = start(&home, &origin, &["--offline"]);
    origin.stop();
    proxy.get("/a").expect(200, "HIT", "GET /a #0");
    let missing = proxy.get("/a?b");
    assert_eq!(missing.status(), 504);
    assert!(missing.text().contains("GET /a"), "{}", missing.text());
}

#[test]
fn an_export_has_the_bodies_of_what_is_on_disk() {
    let origin = sized();
    let home = Home::new();
    let args = ["--max-memory", "1MiB", "--max-object", "128KiB"];
    let proxy = start(&home, &origin, &args);
    let paths = ["/10", "/100000", "/300000"];
    for path in paths {
        proxy.get(path);
    }
    stop(proxy);
    let proxy = start(&home, &origin, &args);
    let exported = home.run(&["export", "out.har"]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    drop(proxy);
    std::fs::remove_dir_all(home.path("work/cache")).unwrap();
    let proxy = start(&home, &origin, &["--offline"]);
    assert_eq!(home.run(&["import", "out.har"]).code, Some(0));
    for path in paths {
        let bytes = path.trim_start_matches('/').parse().unwrap();
        proxy.get(path).expect(200, "HIT", &body(path, bytes));
    }
}

#[test]
fn commands_see_what_is_on_disk_alone() {
    let origin = Origin::counting("Cache-Control: max-age=600\r\nCache-Tag: t\r\n");
    let home = Home::new();
    let proxy = start(&home, &origin, &[]);
    for path in ["/a", "/b"] {
        proxy.get(path);
    }
    stop(proxy);
    let proxy = start(&home, &origin, &[]);
    let listed = home.run_json(&["ls", "--json"]);
    assert_eq!(listed["total"], 2, "{listed}");
    assert_eq!(listed["entries"][0]["path"], "/a");
    assert_eq!(listed["entries"][0]["is_on_disk"], true);
    let shown = home.run_json(&["show", "/a", "--json"]);
    assert_eq!(shown["answers"][0]["status"], 200, "{shown}");
    let why = home.run_ok(&["why", "/a"]);
    assert!(why.contains("HIT"), "{why}");
    let dry = home.run_ok(&["purge", "/*", "--dry-run"]);
    assert_eq!(
        dry,
        "0 responses would be purged in memory, 0 B; on disk: 2\n  /a\n  /b\n"
    );
    let soft = home.run_ok(&["purge", "/b", "--soft"]);
    assert_eq!(
        soft,
        "0 responses marked as stale in memory, 0 B; on disk: 1\n  /b\n"
    );
    let listed = home.run_json(&["ls", "--sort", "fresh", "--json"]);
    assert_eq!(listed["entries"][0]["path"], "/b", "{listed}");
    assert_eq!(listed["entries"][0]["is_stale"], true, "{listed}");
    let purged = home.run_ok(&["purge", "--tag", "t"]);
    assert_eq!(
        purged,
        "0 responses purged in memory, 0 B; on disk: 2\n  /a\n  /b\n"
    );
    assert_eq!(proxy.get("/a").x_cache(), "MISS");
    let cleared: Finished = home.run(&["--clear-cache"]);
    assert_eq!(cleared.stdout, "Cache cleared\n");
    assert!(cleared.stderr.contains("on disk"), "{cleared:?}");
    assert_eq!(home.run_json(&["ls", "--json"])["total"], 0);
}

#[test]
fn an_empty_directory_name_is_refused() {
    let home = Home::new();
    let port = free_port().to_string();
    let args = [
        "--port",
        &port,
        "--origin",
        "http://127.0.0.1:1",
        "--store",
        "",
    ];
    let refused = home.run(&args);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("is not a directory"), "{refused:?}");
}

#[test]
fn an_import_takes_what_fits_on_disk_alone() {
    let origin = sized();
    let home = Home::new();
    let args = ["--max-memory", "1MiB", "--max-object", "128KiB"];
    let proxy = start(&home, &origin, &args);
    proxy.get("/3000000");
    let exported = home.run(&["export", "out.har"]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    drop(proxy);
    std::fs::remove_dir_all(home.path("work/cache")).unwrap();
    let args = [&args[..], &["--offline"]].concat();
    let proxy = start(&home, &origin, &args);
    let imported = home.run(&["import", "out.har"]);
    assert_eq!(imported.stdout, "Imported 1 response\n", "{imported:?}");
    let expected = body("/3000000", 3_000_000);
    proxy.get("/3000000").expect(200, "HIT", &expected);
    drop(proxy);
    let without = [&args[..], &["--max-disk-object", "1MiB"]].concat();
    std::fs::remove_dir_all(home.path("work/cache")).unwrap();
    let _proxy = start(&home, &origin, &without);
    let refused = home.run(&["import", "out.har"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
}
