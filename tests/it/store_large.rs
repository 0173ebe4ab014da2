//! `--store`: bodies too large for memory, which many clients want while they arrive.

use std::{fs, path::Path, sync::LazyLock};

use crate::{
    client::{Client, Ending},
    instance::{Home, Instance},
    origin::{Exchange, Gate, Origin},
};

const MIB: usize = 1024 * 1024;
const LENGTH: usize = 12 * MIB;

/// 12 MiB that do not repeat.
fn body() -> &'static [u8] {
    static ALL: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let words = 0..u32::try_from(LENGTH / 4).unwrap();
        let word = |word: u32| word.wrapping_mul(2_654_435_761).to_le_bytes();
        words.flat_map(word).collect()
    });
    &ALL
}

/// Sends a half, waits at the gate, and sends the rest, or cuts the connection.
fn in_two_halves(exchange: &mut Exchange<'_>, gate: &Gate, is_cut: bool) {
    exchange.send(format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: {LENGTH}\r\n\r\n"
    ));
    exchange.send(&body()[..LENGTH / 2]);
    gate.wait();
    match is_cut {
        true => exchange.cut(),
        false => exchange.send(&body()[LENGTH / 2..]),
    }
}

/// An origin whose first response waits at the gate.
fn origin(is_cut: bool) -> (Origin, Gate) {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| match exchange.nth {
            0 => in_two_halves(exchange, &gate, is_cut),
            _ => exchange.ok("", "another fetch"),
        }
    });
    (origin, gate)
}

fn start(home: &Home, origin: &Origin) -> Instance {
    // It is made before anybody waits for it: that takes long.
    let _ = body();
    let args = ["--store", "cache", "--disk-reserve", "0"];
    let limits = ["--max-memory", "4MiB", "--max-object", "1MiB"];
    home.start(&origin.url(), &[args, limits].concat())
}

/// Ten clients of one fetch, each of which has the first 5 MiB.
fn ten_clients(proxy: &Instance) -> Vec<Client> {
    let begin = || {
        let mut client = Client::connect(proxy.port);
        client.ask("/a", "").wait_for_bytes(5 * MIB);
        client
    };
    (0..10).map(|_| begin()).collect()
}

#[test]
fn ten_clients_at_once_share_one_fetch_that_its_leader_leaves() {
    let (origin, gate) = origin(false);
    let home = Home::new();
    let proxy = start(&home, &origin);
    let mut clients = ten_clients(&proxy);
    drop(clients.remove(0));
    assert_eq!(origin.count(), 1);
    gate.open();
    for client in &mut clients {
        let answer = client.answer();
        assert_eq!((answer.status(), answer.ending), (200, Ending::Whole));
        assert!(answer.body == body());
    }
    let hit = proxy.get("/a");
    assert_eq!(hit.x_cache(), "HIT");
    assert!(hit.body == body());
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_cut_fetch_cuts_all_its_clients_and_is_not_stored() {
    let (origin, gate) = origin(true);
    let home = Home::new();
    let proxy = start(&home, &origin);
    let mut clients = ten_clients(&proxy);
    gate.open();
    for client in &mut clients {
        let answer = client.answer();
        assert_eq!(answer.ending, Ending::Cut);
        assert!(body().starts_with(&answer.body));
    }
    assert_eq!(origin.count(), 1);
    proxy.get("/a").expect(200, "MISS", "another fetch");
}

#[test]
fn a_clear_during_the_fetch_leaves_nothing_behind() {
    let (origin, gate) = origin(false);
    let home = Home::new();
    let proxy = start(&home, &origin);
    let mut clients = ten_clients(&proxy);
    assert_eq!(home.run(&["--clear-cache"]).code, Some(0));
    proxy.get("/a").expect(200, "MISS", "another fetch");
    gate.open();
    for client in &mut clients {
        let answer = client.answer();
        assert_eq!((answer.status(), answer.ending), (200, Ending::Whole));
        assert!(answer.body == body());
    }
    proxy.get("/a").expect(200, "HIT", "another fetch");
}

/// The bytes of all files below a directory.
fn bytes_below(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        // It was removed meanwhile.
        Err(_) => 0,
    });
    bytes.sum()
}

#[test]
fn the_limit_of_the_disk_holds_while_many_large_bodies_arrive() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| match exchange.target().as_str() {
            "/finished" => exchange.ok("Cache-Control: max-age=600\r\n", &body()[..3 * MIB]),
            _ => in_two_halves(exchange, &gate, false),
        }
    });
    let home = Home::new();
    let args = ["--store", "cache", "--disk-reserve", "0"];
    let limits = ["--max-memory", "4MiB", "--max-object", "1MiB"];
    let disk = ["--max-disk", "64MiB"];
    let proxy = home.start(&origin.url(), &[&args[..], &limits, &disk].concat());
    assert!(proxy.get("/finished").body == body()[..3 * MIB]);
    let limit = 64 * 1024 * 1024;
    let check = || {
        let stored = bytes_below(&home.path("work/cache"));
        // What is finished is there at least.
        let range = 3 * 1024 * 1024..=limit + limit / 20;
        assert!(range.contains(&stored), "{stored}");
    };
    let begin = |number| {
        let mut client = Client::connect(proxy.port);
        client
            .ask(&format!("/{number}"), "")
            .wait_for_bytes(5 * MIB);
        check();
        client
    };
    let mut clients: Vec<Client> = (0..12).map(begin).collect();
    gate.open();
    for client in &mut clients {
        let answer = client.answer();
        assert_eq!((answer.status(), answer.ending), (200, Ending::Whole));
        assert!(answer.body == body());
        check();
    }
    // Two have room at a time, and what was finished before stays.
    let dropped = &home.run_json(&["stats", "--json"])["disk"]["dropped"];
    assert_eq!(dropped, 10);
    assert_eq!(proxy.get("/finished").x_cache(), "HIT");
    assert_eq!(proxy.get("/0").x_cache(), "HIT");
}

#[test]
fn a_body_in_a_file_is_sent_whole_when_the_origin_forbids_to_store_it_any_longer() {
    let origin = Origin::start(|exchange| match exchange.request.field("if-none-match") {
        None => {
            let fields = "ETag: \"v\"\r\nCache-Control: max-age=0";
            exchange.send(format!(
                "HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: {LENGTH}\r\n\r\n"
            ));
            exchange.send(body());
        }
        Some(_) => exchange
            .send("HTTP/1.1 304 Not Modified\r\nETag: \"v\"\r\nCache-Control: no-store\r\n\r\n"),
    });
    let home = Home::new();
    let proxy = start(&home, &origin);
    for outcome in ["MISS", "HIT"] {
        let answer = proxy.get("/a");
        assert_eq!((answer.x_cache(), answer.ending), (outcome, Ending::Whole));
        assert!(answer.body == body());
    }
    assert_eq!(origin.count(), 2);
}
