//! `--take-over`: a new process gets the port of a running proxy, which finishes its requests.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rustix::process::Signal;

use crate::{
    client::{Client, Ending},
    instance::{Finished, Home, Instance},
    origin::{Exchange, Gate, Origin},
    ports,
    waiting::until,
};

const STORE: &[&str] = &["--store", "cache", "--disk-reserve", "0"];
/// How many responses are stored.
const STORED: usize = 50;

/// An origin whose responses to `/held` wait at the gate in their middle, and those to POST before their beginning.
fn origin(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |exchange| {
        let target = exchange.target();
        match (exchange.request.method().as_str(), target.as_str()) {
            ("POST", _) => {
                gate.wait();
                exchange.ok("", "posted");
            }
            (_, "/held") => held(exchange, &gate),
            _ => {
                let number = exchange.nth;
                exchange.ok(
                    "Cache-Control: max-age=600\r\n",
                    format!("{target} #{number}"),
                );
            }
        }
    })
}

fn held(exchange: &mut Exchange<'_>, gate: &Gate) {
    let fields = "Cache-Control: max-age=600\r\nContent-Length: 10";
    exchange.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nfirst "));
    gate.wait();
    exchange.send("last");
}

/// The command that starts the process that takes over from `proxy`.
fn command(home: &Home, proxy: &Instance, origin: &Origin, args: &[&str]) -> std::process::Command {
    let (port, url) = (proxy.port.to_string(), origin.url());
    let own = ["--take-over", "--port", &port, "--origin", &url];
    home.command(&[&own, args].concat())
}

#[track_caller]
fn take_over(home: &Home, proxy: &Instance, origin: &Origin, args: &[&str]) -> Instance {
    Instance::launch(command(home, proxy, origin, args), proxy.port).unwrap()
}

/// Requests of a client, each on the connection of the one before as long as that stays open.
fn ask_until(ended: &AtomicBool, port: u16, client_number: usize) -> usize {
    let mut asked = 0;
    let mut client = Client::connect(port);
    while !ended.load(Ordering::Relaxed) {
        let target = format!("/{}", (client_number + asked) % STORED);
        let answer = client.ask(&target, "").answer();
        assert_eq!((answer.status(), answer.ending), (200, Ending::Whole));
        assert!(
            answer.text().starts_with(&format!("{target} #")),
            "{answer:?}"
        );
        asked += 1;
        // Every second client connects for each request.
        if client_number.is_multiple_of(2) || answer.field("connection") == Some("close") {
            client = Client::connect(port);
        }
    }
    asked
}

#[test]
fn no_request_fails_and_nothing_stored_is_lost() {
    let (home, origin) = (Home::new(), origin(&Gate::default()));
    let mut proxy = home.start(&origin.url(), STORE);
    let targets: Vec<String> = (0..STORED).map(|number| format!("/{number}")).collect();
    let stored: Vec<String> = targets.iter().map(|it| proxy.get(it).text()).collect();
    let (ended, port) = (&AtomicBool::new(false), proxy.port);
    thread::scope(|scope| {
        let ask = |number| scope.spawn(move || ask_until(ended, port, number));
        let clients: Vec<_> = (0..8).map(ask).collect();
        for _ in 0..3 {
            let next = take_over(&home, &proxy, &origin, STORE);
            assert!(proxy.wait().success(), "{}", proxy.log());
            proxy = next;
        }
        ended.store(true, Ordering::Relaxed);
        for client in clients {
            assert!(client.join().unwrap() > 0);
        }
    });
    for (target, body) in targets.iter().zip(&stored) {
        proxy.get(target).expect(200, "HIT", body);
    }
}

#[test]
fn the_process_before_finishes_its_requests() {
    let gate = Gate::default();
    let (home, origin) = (Home::new(), origin(&gate));
    let mut before = home.start(&origin.url(), STORE);
    let mut slow = Client::connect(before.port);
    slow.ask("/held", "").wait_for("first");
    let after = take_over(&home, &before, &origin, STORE);
    after.get("/a").expect(200, "MISS", "/a #0");
    after.get("/a").expect(200, "HIT", "/a #0");
    gate.open();
    slow.answer().expect(200, "MISS", "first last");
    drop(slow);
    assert!(before.wait().success());
    before.log_line(&["takes over the port"]);
    after.log_line(&["the process before this one has ended"]);
}

#[test]
fn an_unsafe_request_in_progress_invalidates_in_the_new_process() {
    let gate = Gate::default();
    let (home, origin) = (Home::new(), origin(&gate));
    let mut before = home.start(&origin.url(), STORE);
    before.get("/a").expect(200, "MISS", "/a #0");
    before.get("/b").expect(200, "MISS", "/b #0");
    let mut unsafe_client = Client::connect(before.port);
    unsafe_client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    origin.wait_for(3);
    let after = take_over(&home, &before, &origin, STORE);
    after.get("/a").expect(200, "HIT", "/a #0");
    gate.open();
    unsafe_client
        .answer_to("POST")
        .expect(200, "MISS", "posted");
    drop(unsafe_client);
    assert!(before.wait().success());
    after.log_line(&["the process before this one has ended"]);
    after.get("/a").expect(200, "MISS", "/a #2");
    after.get("/b").expect(200, "HIT", "/b #0");
}

/// The client of a POST to `/a`, which waits at the gate, and the number of requests at the origin.
fn post_in_progress(proxy: &Instance, origin: &Origin) -> Client {
    let requests = origin.count();
    let mut client = Client::connect(proxy.port);
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    origin.wait_for(requests + 1);
    client
}

#[test]
fn an_unsafe_request_that_ends_after_a_signal_invalidates_in_the_new_process() {
    let gate = Gate::default();
    let (home, origin) = (Home::new(), origin(&gate));
    let mut before = home.start(&origin.url(), STORE);
    before.get("/a").expect(200, "MISS", "/a #0");
    let mut unsafe_client = post_in_progress(&before, &origin);
    let after = take_over(&home, &before, &origin, STORE);
    after.get("/a").expect(200, "HIT", "/a #0");
    before.signal(Signal::TERM);
    before.log_line(&["shutting down"]);
    gate.open();
    unsafe_client
        .answer_to("POST")
        .expect(200, "MISS", "posted");
    after.get("/a").expect(200, "MISS", "/a #2");
    assert!(before.wait().success());
    after.log_line(&["the process before this one has ended"]);
}

#[test]
fn an_unsafe_request_two_processes_before_invalidates_in_the_newest() {
    let gate = Gate::default();
    let (home, origin) = (Home::new(), origin(&gate));
    let mut first = home.start(&origin.url(), STORE);
    first.get("/a").expect(200, "MISS", "/a #0");
    let mut unsafe_client = post_in_progress(&first, &origin);
    let mut second = take_over(&home, &first, &origin, STORE);
    let third = take_over(&home, &second, &origin, STORE);
    third.get("/a").expect(200, "HIT", "/a #0");
    gate.open();
    unsafe_client
        .answer_to("POST")
        .expect(200, "MISS", "posted");
    third.get("/a").expect(200, "MISS", "/a #2");
    drop(unsafe_client);
    assert!(first.wait().success());
    assert!(second.wait().success());
    third.log_line(&["the process before this one has ended"]);
}

#[test]
fn a_process_that_is_killed_with_unsafe_requests_in_progress_ends_everything() {
    let gate = Gate::default();
    let (home, origin) = (Home::new(), origin(&gate));
    let before = home.start(&origin.url(), STORE);
    before.get("/a").expect(200, "MISS", "/a #0");
    let _unsafe_client = post_in_progress(&before, &origin);
    let after = take_over(&home, &before, &origin, STORE);
    after.get("/a").expect(200, "HIT", "/a #0");
    before.kill();
    after.log_line(&["did not say all that it has ended"]);
    until("the cache is cleared", || {
        after.get("/a").x_cache() == "MISS"
    });
    gate.open();
}

#[test]
fn a_connection_that_stays_is_answered_once_more_without_the_cache() {
    let (home, origin) = (Home::new(), origin(&Gate::default()));
    let mut before = home.start(&origin.url(), &[]);
    let mut client = Client::connect(before.port);
    client.ask("/a", "").answer().expect(200, "MISS", "/a #0");
    let after = take_over(&home, &before, &origin, &[]);
    after.get("/a").expect(200, "MISS", "/a #1");
    let answer = client.ask("/a", "").answer();
    // What it had stored may have been cleared in the new process.
    answer.expect(200, "MISS", "/a #2");
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(before.wait().success());
}

#[test]
fn pipelined_requests_are_all_answered() {
    let gate = Gate::default();
    let (home, origin) = (Home::new(), origin(&gate));
    let mut before = home.start(&origin.url(), &[]);
    let mut client = Client::connect(before.port);
    client.ask("/held", "").ask("/a", "").ask("/b", "");
    client.wait_for("first");
    let _after = take_over(&home, &before, &origin, &[]);
    gate.open();
    client.answer().expect(200, "MISS", "first last");
    client.answer().expect(200, "MISS", "/a #0");
    let last = client.answer();
    last.expect(200, "MISS", "/b #0");
    assert_eq!(last.field("connection"), Some("close"));
    assert!(before.wait().success());
}

#[test]
fn bodies_that_arrive_and_bodies_on_disk_are_sent_to_their_ends() {
    const LENGTH: usize = 12 * 1024 * 1024;
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            let fields = format!("Cache-Control: max-age=600\r\nContent-Length: {LENGTH}");
            exchange.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n"));
            exchange.filler(LENGTH / 2);
            if exchange.target() == "/arriving" {
                gate.wait();
            }
            exchange.filler(LENGTH / 2);
        }
    });
    let home = Home::new();
    let args = [STORE, &["--max-memory", "4MiB", "--max-object", "1MiB"]].concat();
    let mut before = home.start(&origin.url(), &args);
    assert_eq!(before.get("/stored").body.len(), LENGTH);
    let ask = |target: &str| {
        let mut client = Client::connect(before.port);
        client.ask(target, "").wait_for_bytes(LENGTH / 4);
        client
    };
    let mut clients: Vec<Client> = ["/stored", "/arriving", "/arriving"].map(ask).into();
    assert_eq!(origin.count(), 2);
    let after = take_over(&home, &before, &origin, &args);
    gate.open();
    for client in &mut clients {
        let answer = client.answer();
        assert_eq!((answer.ending, answer.body.len()), (Ending::Whole, LENGTH));
    }
    drop(clients);
    assert!(before.wait().success());
    let stored = after.get("/stored");
    assert_eq!((stored.x_cache(), stored.body.len()), ("HIT", LENGTH));
}

#[test]
fn commands_reach_the_new_process() {
    let gate = Gate::default();
    let (home, origin) = (Home::new(), origin(&gate));
    let before = home.start(&origin.url(), STORE);
    let mut slow = Client::connect(before.port);
    slow.ask("/held", "").wait_for("first");
    let after = take_over(&home, &before, &origin, STORE);
    after.get("/a").expect(200, "MISS", "/a #0");
    let listed = home.run_ok(&["ls"]);
    assert!(listed.contains("/a"), "{listed}");
    assert_eq!(home.run(&["--clear-cache"]).stdout, "Cache cleared\n");
    after.get("/a").expect(200, "MISS", "/a #1");
    gate.open();
    slow.answer().expect(200, "MISS", "first last");
}

#[test]
fn the_control_socket_stays_in_its_place() {
    let (home, origin) = (Home::new(), origin(&Gate::default()));
    let mut before = home.start(&origin.url(), &[]);
    let socket = home.control_sockets().remove(0);
    let files = [socket.with_extension("lock"), socket];
    let described = |lock: &PathBuf| {
        let text = fs::read(lock).unwrap();
        serde_json::from_slice::<serde_json::Value>(&text).unwrap()["pid"].clone()
    };
    let process_before = described(&files[0]);
    // A file that is removed keeps its number as long as it has another name.
    let kept = |path: &PathBuf| PathBuf::from(format!("{}.kept", path.display()));
    for path in &files {
        fs::hard_link(path, kept(path)).unwrap();
    }
    let _after = take_over(&home, &before, &origin, &[]);
    assert!(before.wait().success());
    for path in &files {
        let number = |path: &PathBuf| fs::symlink_metadata(path).unwrap().ino();
        assert_eq!(number(path), number(&kept(path)), "{path:?}");
        fs::remove_file(kept(path)).unwrap();
    }
    assert_ne!(described(&files[0]), process_before);
    let port = before.port.to_string();
    let cleared = home.run(&["--clear-cache", "--port", &port]);
    assert_eq!(cleared.stdout, "Cache cleared\n");
}

#[test]
fn a_process_that_cannot_start_leaves_the_proxy_as_it_was() {
    let (home, origin) = (Home::new(), origin(&Gate::default()));
    let proxy = home.start(&origin.url(), STORE);
    proxy.get("/a").expect(200, "MISS", "/a #0");
    let taken = ports::listener();
    let address = taken.local_addr().unwrap().to_string();
    let start = |args: &[&str]| Finished::of(command(&home, &proxy, &origin, args));
    start(&["--metrics", &address]).refused(3, &["--metrics", &address]);
    start(&["--tls-cert", "none.pem", "--tls-key", "none.pem"]).refused(2, &["none.pem"]);
    start(&["--bind", "0.0.0.0"]).refused(
        3,
        &[
            "in use by another caching-proxy",
            "which listens on 127.0.0.1; --take-over needs the --bind of that proxy",
        ],
    );
    proxy.get("/a").expect(200, "HIT", "/a #0");
    assert!(!proxy.log().contains("takes over"), "{}", proxy.log());
}

#[test]
fn tiers_that_cannot_be_opened_leave_the_proxy_as_it_was() {
    let (home, origin) = (Home::new(), origin(&Gate::default()));
    let proxy = home.start(&origin.url(), STORE);
    proxy.get("/a").expect(200, "MISS", "/a #0");
    let _other = home.start(&origin.url(), &["--store", "other"]);
    home.write("file", "");
    let start = |args: &[&str]| Finished::of(command(&home, &proxy, &origin, args));
    start(&["--store", "file"]).refused(2, &["file is not a directory"]);
    start(&["--store", "other"]).refused(3, &["other is in use by"]);
    let secret = ["--redis", "redis://127.0.0.1:1", "--identity-secret-file"];
    start(&[&secret[..], &["none"]].concat()).refused(2, &["cannot read the secret"]);
    proxy.get("/a").expect(200, "HIT", "/a #0");
    assert!(!proxy.log().contains("takes over"), "{}", proxy.log());
}

#[test]
fn without_a_proxy_on_the_port_the_start_is_as_usual() {
    let (home, origin) = (Home::new(), origin(&Gate::default()));
    let proxy = home.start(&origin.url(), &["--take-over"]);
    proxy.get("/a").expect(200, "MISS", "/a #0");
}

#[test]
fn a_signal_ends_what_is_left_to_the_process_before() {
    let (home, origin) = (Home::new(), origin(&Gate::default()));
    let mut before = home.start(&origin.url(), &[]);
    let mut idle = Client::connect(before.port);
    idle.ask("/a", "").answer().expect(200, "MISS", "/a #0");
    let _after = take_over(&home, &before, &origin, &[]);
    before.log_line(&["takes over the port"]);
    before.signal(Signal::TERM);
    assert!(before.wait().success());
    assert!(idle.is_closed());
}

#[test]
fn the_sockets_of_the_dashboard_and_of_metrics_are_taken_over() {
    let (home, origin) = (Home::new(), origin(&Gate::default()));
    let (dashboard, metrics) = (ports::free_port(), ports::free_port());
    let (dashboard, metrics) = (dashboard.to_string(), format!("127.0.0.1:{metrics}"));
    let args = ["--dashboard", &dashboard, "--metrics", &metrics];
    let mut before = home.start(&origin.url(), &args);
    let after = take_over(&home, &before, &origin, &args);
    assert!(before.wait().success());
    after.get("/a").expect(200, "MISS", "/a #0");
    let mut client = Client::connect(metrics.rsplit(':').next().unwrap().parse().unwrap());
    let answer = client.ask("/metrics", "").answer();
    assert!(
        answer.text().contains("caching_proxy_requests"),
        "{answer:?}"
    );
    // Nothing of it is left beside the sockets of the new process.
    let sockets = home.control_sockets();
    assert_eq!(sockets.len(), 1, "{sockets:?}");
    let dir = sockets[0].parent().unwrap();
    let files = fs::read_dir(dir).unwrap().count();
    until("the files of the process before are gone", || files == 2);
}
