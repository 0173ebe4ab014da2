//! `warm` with a list: fetched targets, refused lines and output.

use std::{
    io::Write as _,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    harness::until,
    instance::{Finished, Home, Instance},
    origin::{Exchange, Gate, Origin},
};

/// The object that `--json` prints.
pub(crate) fn summary(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished:?}"))
}

fn targets(origin: &Origin) -> Vec<String> {
    let mut targets: Vec<String> = origin.seen().iter().map(|seen| seen.target()).collect();
    targets.sort();
    targets
}

/// An origin with a path for each kind of response; `/wait` and paths below it wait for the gate.
fn site(exchange: &mut Exchange<'_>) {
    match exchange.target().as_str() {
        "/no-store" => exchange.ok("Cache-Control: no-store\r\n", "n"),
        "/cookie" => exchange.ok("Set-Cookie: a=b\r\n", "c"),
        "/gone" => exchange.answer("404 Not Found", "", "g"),
        "/broken" => exchange.answer("500 Internal Server Error", "", "b"),
        "/cut" => {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
            exchange.close();
        }
        _ => exchange.ok("", "0123456789"),
    }
}

fn with_list(list: &str) -> (Origin, Home, Instance) {
    let origin = Origin::start(site);
    let home = Home::new();
    home.write("paths.txt", list);
    let proxy = home.start(&origin.url(), &[]);
    (origin, home, proxy)
}

#[test]
fn a_list_is_fetched_once_and_hit_afterwards() {
    let list = "\u{feff}/a\r\n\n  # a comment\n/b?c=d  \n/a\n/\u{e4}#part\n";
    let (origin, home, proxy) = with_list(list);
    let first = home.run(&["warm", "paths.txt"]);
    assert_eq!(
        (first.code, first.stderr.as_str()),
        (Some(0), ""),
        "{first:?}"
    );
    assert!(first.stdout.starts_with("3 paths in "), "{first:?}");
    assert!(
        first.stdout.contains("\n  stored now            3\n"),
        "{first:?}"
    );
    assert!(
        first.stdout.contains("\n  duplicates            1\n"),
        "{first:?}"
    );
    assert_eq!(targets(&origin), ["/%C3%A4", "/a", "/b?c=d"]);
    proxy.get("/b?c=d").expect(200, "HIT", "0123456789");
    let second = home.run(&["warm", "--json", "paths.txt"]);
    assert_eq!(second.code, Some(0));
    let second = summary(&second);
    assert_eq!(
        [
            &second["paths"],
            &second["fetched"],
            &second["already_stored"],
            &second["stored_now"]
        ],
        [3, 3, 3, 0]
    );
    assert_eq!(
        (&second["bytes"], &second["interrupted"]),
        (&json!(30), &json!(false))
    );
    assert_eq!(origin.count(), 3);
}

#[test]
fn urls_of_the_origin_and_the_proxy_are_taken_as_paths() {
    let (origin, home, proxy) = with_list("");
    let list = format!(
        "{}/a?b\nhttp://localhost:{}/c\nhttps://www.shop.test/d\n",
        origin.url(),
        proxy.port
    );
    home.write("paths.txt", &list);
    let port = proxy.port.to_string();
    let done = home.run(&[
        "warm",
        "paths.txt",
        "--port",
        &port,
        "--site",
        "www.shop.test",
    ]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(targets(&origin), ["/a?b", "/c", "/d"]);
}

#[test]
fn a_wrong_line_is_named_and_nothing_is_fetched() {
    let (origin, home, _proxy) = with_list("/a\nhttps://other.test/b\n\nproducts\n/a b\n");
    home.run(&["warm", "paths.txt"]).refused(
        2,
        &[
            "paths.txt",
            "line 2: other.test is neither the origin",
            "line 4: \"products\"",
            "line 5:",
            "%20",
        ],
    );
    home.write("paths.txt", "<?xml?>\n");
    home.run(&["warm", "paths.txt"])
        .refused(2, &["line 1:", "sitemap"]);
    home.run(&["warm", "none.txt"])
        .refused(2, &["cannot read none.txt"]);
    assert_eq!(origin.count(), 0);
}

#[test]
fn the_number_of_named_wrong_lines_is_limited() {
    let (_origin, home, _proxy) = with_list(&"wrong\n".repeat(1000));
    let refused = home.run(&["warm", "paths.txt"]);
    refused.refused(2, &["line 10:", "and 990 more lines"]);
    assert!(!refused.stderr.contains("line 11:"));
}

#[test]
fn a_list_is_read_from_stdin_and_headers_are_sent() {
    let (origin, home, _proxy) = with_list("");
    let mut command = home.command(&[
        "warm",
        "-",
        "-H",
        "Cookie: sid=1",
        "-H",
        "accept: text/html",
        "--json",
    ]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"/a\n/a").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let seen = origin.only();
    assert_eq!(seen.field("cookie").as_deref(), Some("sid=1"));
    assert_eq!(seen.field("accept").as_deref(), Some("text/html"));
    assert!(seen.field("user-agent").unwrap().contains("(warm)"));
    for (field, words) in [
        ("Range: bytes=0-1", "complete responses"),
        ("nothing", "'Name: value'"),
    ] {
        home.run(&["warm", "-", "-H", field]).refused(2, &[words]);
    }
}

#[test]
fn responses_that_are_not_stored_are_counted_by_reason() {
    let (_origin, home, _proxy) = with_list("/a\n/no-store\n/cookie\n");
    let done = home.run(&["warm", "paths.txt"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(
        done.stdout
            .contains("\n  not stored            2  no-store 1, set-cookie 1\n"),
        "{done:?}"
    );
    let done = summary(&home.run(&["warm", "paths.txt", "--json"]));
    assert_eq!(
        done["not_stored_reasons"],
        json!({"no-store": 1, "set-cookie": 1})
    );
    assert_eq!([&done["not_stored"], &done["already_stored"]], [2, 1]);
}

#[test]
fn failures_are_named_and_exit_with_1() {
    let (_origin, home, _proxy) = with_list("/a\n/gone\n/broken\n/cut\n");
    let done = home.run(&["warm", "paths.txt", "--concurrency", "1"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    for line in [
        "  failed                3\n",
        "failed: /gone: 404 Not Found\n",
        "failed: /broken: 500 Internal Server Error\n",
        "failed: /cut: the response is incomplete\n",
    ] {
        assert!(done.stdout.contains(line), "{line}{done:?}");
    }
    assert_eq!(done.stderr, "error: 3 requests failed\n");
    // The 404 is a hit now, and still a failure.
    let again = home.run(&["warm", "paths.txt", "--concurrency", "1", "--json"]);
    assert_eq!(again.code, Some(1));
    let again = summary(&again);
    assert_eq!(
        [
            &again["fetched"],
            &again["already_stored"],
            &again["failed"]
        ],
        [1, 1, 3]
    );
    assert_eq!(
        again["failures"][0],
        json!({"path": "/gone", "status": 404, "error": "404 Not Found"})
    );
    assert_eq!(again["failures"][2]["status"], json!(null));
}

#[test]
fn warm_without_a_running_proxy_exits_with_4() {
    let home = Home::new();
    home.write("paths.txt", "/a\n");
    home.run(&["warm", "paths.txt"])
        .refused(4, &["no running caching-proxy"]);
}

#[test]
fn a_silent_origin_is_waited_for_until_the_timeout() {
    let origin = Origin::start(|exchange| exchange.stall());
    let home = Home::new();
    home.write("paths.txt", "/a\n");
    let _proxy = home.start(&origin.url(), &[]);
    let done = home.run(&["warm", "paths.txt", "--timeout", "100ms"]);
    assert_eq!(done.code, Some(1));
    assert!(
        done.stdout
            .contains("failed: /a: no complete response within 100ms\n"),
        "{done:?}"
    );
}

#[test]
fn the_number_of_concurrent_requests_is_limited() {
    let gate = Gate::default();
    let [under_way, most] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let origin = Origin::start({
        let (gate, under_way, most) = (gate.clone(), Arc::clone(&under_way), Arc::clone(&most));
        move |exchange| {
            if exchange.target() == "/other" {
                return exchange.ok("Cache-Control: no-store\r\n", "");
            }
            let now = under_way.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            gate.wait();
            under_way.fetch_sub(1, Ordering::SeqCst);
            exchange.ok("", "x");
        }
    });
    let home = Home::new();
    let list: String = (0..40).map(|number| format!("/{number}\n")).collect();
    home.write("paths.txt", &list);
    let proxy = home.start(&origin.url(), &[]);
    let child = home
        .command(&["warm", "paths.txt", "--concurrency", "3"])
        .stdout(Stdio::null())
        .spawn();
    until("three requests are under way at the same time", || {
        under_way.load(Ordering::SeqCst) >= 3
    });
    // A fourth request would arrive before all of these, which follow it on the same path.
    for _ in 0..16 {
        proxy.get("/other");
    }
    assert_eq!(under_way.load(Ordering::SeqCst), 3);
    gate.open();
    assert_eq!(child.unwrap().wait().unwrap().code(), Some(0));
    assert_eq!((most.load(Ordering::SeqCst), origin.count()), (3, 40 + 16));
    home.run(&["warm", "paths.txt", "--concurrency", "0"])
        .refused(2, &["1..=256"]);
}

/// An origin that responds to all paths except those below `/wait`, and a run that was stopped while it waited.
fn stopped_run(home: &Home, gate: &Gate, args: &[&str]) -> (Origin, Instance, Finished) {
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            if exchange.target() == "/wait" {
                gate.wait();
            }
            site(exchange);
        }
    });
    home.write("paths.txt", "/a\n/no-store\n/wait\n/b\n");
    let proxy = home.start(&origin.url(), &[]);
    let child = home
        .command(&[&["warm", "paths.txt", "--concurrency", "1"], args].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    origin.wait_for(3);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let finished = Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    (origin, proxy, finished)
}

#[test]
fn an_interrupt_ends_with_a_summary() {
    let (home, gate) = (Home::new(), Gate::default());
    let (_origin, _proxy, stopped) = stopped_run(&home, &gate, &["--json"]);
    gate.open();
    assert_eq!(stopped.code, Some(1), "{stopped:?}");
    assert!(
        stopped.stderr.contains("interrupted; the paths"),
        "{stopped:?}"
    );
    let stopped = summary(&stopped);
    assert_eq!(
        [
            &stopped["paths"],
            &stopped["fetched"],
            &stopped["not_tried"]
        ],
        [4, 2, 2]
    );
    assert_eq!(stopped["interrupted"], true);
}

#[test]
fn a_resumed_run_fetches_only_the_remaining_targets() {
    let (home, gate) = (Home::new(), Gate::default());
    let (origin, _proxy, stopped) = stopped_run(&home, &gate, &["--resume", "state"]);
    assert_eq!(stopped.code, Some(1), "{stopped:?}");
    let notes = std::fs::read_to_string(home.path("work/state")).unwrap();
    assert_eq!(notes.lines().skip(1).collect::<Vec<_>>(), ["/no-store"]);
    gate.open();
    let resumed = home.run(&["warm", "paths.txt", "--resume", "state", "--json"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    let resumed = summary(&resumed);
    assert_eq!(
        [&resumed["paths"], &resumed["resumed"], &resumed["fetched"]],
        [4, 1, 3]
    );
    let count = |target: &str| {
        origin
            .seen()
            .iter()
            .filter(|seen| seen.target() == target)
            .count()
    };
    assert_eq!([count("/a"), count("/no-store"), count("/b")], [1, 1, 1]);
    // All targets are done: the next run begins anew.
    assert!(!home.path("work/state").exists());
    assert_eq!(
        home.run(&["warm", "paths.txt", "--resume", "state"]).code,
        Some(0)
    );
    assert_eq!(count("/no-store"), 2);
}

#[test]
fn an_unrelated_file_is_not_used_as_progress_file() {
    let (origin, home, _proxy) = with_list("/a\n");
    let foreign = [
        "my diary\n",
        "# caching-proxy warm --resume: fetched, and not stored, from http://other.test\n/a\n",
        "\u{0}",
    ];
    for text in foreign {
        home.write("state", text);
        home.run(&["warm", "paths.txt", "--resume", "state"])
            .refused(2, &["--resume", "another file"]);
        assert_eq!(
            std::fs::read_to_string(home.path("work/state")).unwrap(),
            text
        );
    }
    let nowhere = home.run(&["warm", "paths.txt", "--resume", "none/state"]);
    nowhere.refused(1, &["none/state"]);
    assert_eq!(origin.count(), 0);
}

#[test]
fn the_end_of_the_proxy_ends_the_run() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |_| gate.wait()
    });
    let home = Home::new();
    home.write(
        "paths.txt",
        &(0..100)
            .map(|number| format!("/{number}\n"))
            .collect::<String>(),
    );
    let proxy = home.start(&origin.url(), &[]);
    let child = home
        .command(&["warm", "paths.txt", "--concurrency", "1", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    origin.wait_for(1);
    proxy.kill();
    let output = child.wait_with_output().unwrap();
    gate.open();
    assert_eq!(output.status.code(), Some(4));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["interrupted"], json!(true));
    // The request in progress is a failure or not tried, depending on how the system reports the end of its connection.
    let not_tried = summary["not_tried"].as_u64().unwrap();
    assert!((98..=99).contains(&not_tried), "{not_tried}");
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_run_with_no_cache_fetches_stored_responses_again() {
    let origin = Origin::counting("");
    let home = Home::new();
    home.write("paths.txt", "/a\n");
    let proxy = home.start(&origin.url(), &[]);
    proxy.get("/a").expect(200, "MISS", "GET /a #0");
    let anew = home.run(&[
        "warm",
        "paths.txt",
        "-H",
        "Cache-Control: no-cache",
        "--json",
    ]);
    assert_eq!(summary(&anew)["stored_now"], 1);
    proxy.get("/a").expect(200, "HIT", "GET /a #1");
}

#[test]
fn a_run_waits_where_retry_after_asks_for_that() {
    let origin = Origin::start(
        |exchange| match (exchange.target().as_str(), exchange.nth) {
            ("/limited", 0) => {
                exchange.answer("429 Too Many Requests", "Retry-After: 1\r\n", "later")
            }
            ("/never", _) => exchange.answer("503 Unavailable", "Retry-After: 301\r\n", "later"),
            (target, _) => {
                let body = target.to_owned();
                exchange.ok("", body);
            }
        },
    );
    let home = Home::new();
    home.write("paths.txt", "/limited\n/a\n/b\n/c\n");
    let proxy = home.start(&origin.url(), &[]);
    let done = home.run(&["warm", "--json", "paths.txt"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let done = summary(&done);
    assert_eq!([&done["stored_now"], &done["failed"]], [4, 0], "{done}");
    let waited = done["waited_seconds"].as_f64().unwrap();
    assert!((0.5..10.0).contains(&waited), "{done}");
    for target in ["/limited", "/a", "/b", "/c"] {
        proxy.get(target).expect(200, "HIT", target);
    }
    // It would be longer than five minutes, and the proxy says how long it waits itself.
    home.write("paths.txt", "/never\n");
    let done = home.run(&["warm", "--json", "--concurrency", "1", "paths.txt"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    let done = summary(&done);
    let error = done["failures"][0]["error"].as_str().unwrap();
    assert!(
        error.contains("wants a request in 301 s; warm waits for 5m at most"),
        "{error}"
    );
    assert_eq!(done["failures"][0]["status"], 503);
}
