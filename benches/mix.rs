//! How long hits and misses take while the cache is full, cleared, listed and purged.
//!
//! `cargo bench --bench mix`
//!
//! A whole proxy with one worker gets an open loop of 5,000 hits and 500 misses a second, of 1 KiB each. Latency counts from
//! the time at which a request was due. Rounds with changes (a clear, a list of all by size and a purge by pattern in each
//! second) alternate with rounds without, whose tails are those of the machine.

#![allow(clippy::print_stdout, reason = "the figures are the result")]

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use actix_web::rt::{System, time::sleep};
use caching_proxy::{
    cache::{Cache, Clear, EntryFilter, FilterSpec, ListOrder, ListQuery, PurgeAction},
    clock,
    config::Config,
    origin::OriginUrl,
    policy::{Routes, Rules},
    server::Server,
};

const BODY_BYTES: usize = 1024;
const MAX_MEMORY_BYTES: u64 = 64 * 1024 * 1024;
/// More responses than the memory holds.
const FILL: u32 = 60_000;
const HOT_KEYS: u32 = 1000;
const HIT_CLIENTS: u32 = 32;
const HITS_PER_SECOND: u32 = 5000;
const MISS_CLIENTS: u32 = 8;
const MISSES_PER_SECOND: u32 = 500;
const ROUNDS: u32 = 3;

/// How a response was served, and how long after it was due.
struct Sample {
    is_hit: bool,
    latency: Duration,
}

/// Serves the same response to every request, one thread for each connection.
fn serve(listener: TcpListener) {
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || respond(stream));
        }
    });
}

fn respond(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nContent-Type: text/plain\r\n";
    let body = "x".repeat(BODY_BYTES);
    let response = format!("{head}Content-Length: {BODY_BYTES}\r\n\r\n{body}");
    let mut received = Vec::new();
    loop {
        if read_more(&mut stream, &mut received)? == 0 {
            return Ok(());
        }
        if received.ends_with(b"\r\n\r\n") {
            received.clear();
            stream.write_all(response.as_bytes())?;
        }
    }
}

fn read_more(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 4096];
    let length = stream.read(&mut buffer)?;
    received.extend_from_slice(&buffer[..length]);
    Ok(length)
}

/// Requests `target` and reads the response. Returns whether it was a hit.
fn exchange(stream: &mut TcpStream, target: &str, received: &mut Vec<u8>) -> io::Result<bool> {
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
    received.clear();
    loop {
        if read_more(stream, received)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = received.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        if let Some(end) = end.filter(|end| received.len() == end + 4 + BODY_BYTES) {
            let head = received[..end].to_ascii_lowercase();
            return Ok(head.windows(12).any(|bytes| bytes == b"x-cache: hit"));
        }
    }
}

/// A proxy before an origin of its own. Returns its address and its cache.
fn start() -> io::Result<(SocketAddr, Cache)> {
    let origin = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", origin.local_addr()?);
    serve(origin);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let config = Config {
        workers: 1,
        max_memory_bytes: MAX_MEMORY_BYTES,
        ..Config::for_origin(OriginUrl::parse(&url).map_err(io::Error::other)?)
    };
    let (sender, cache) = mpsc::channel();
    thread::spawn(move || {
        System::new().block_on(async {
            let mut server =
                Server::start(Arc::new(config), None, vec![listener]).map_err(io::Error::other)?;
            let _ = sender.send(server.cache());
            Err::<(), io::Error>(server.ended().await)
        })
    });
    Ok((address, cache.recv().map_err(io::Error::other)?))
}

/// Stores more responses than the memory holds.
fn fill(proxy: SocketAddr, responses: u32) {
    let next = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..MISS_CLIENTS {
            scope.spawn(|| -> io::Result<()> {
                let mut stream = TcpStream::connect(proxy)?;
                let mut received = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= responses {
                        return Ok(());
                    }
                    exchange(&mut stream, &format!("/filled/{number}"), &mut received)?;
                }
            });
        }
    });
}

/// Sends requests for `length`, at so many a second, each at its time or as soon as the one before has its response.
fn load(
    proxy: SocketAddr,
    per_second: f64,
    length: Duration,
    target: impl Fn(u32) -> String,
) -> io::Result<Vec<Sample>> {
    let mut stream = TcpStream::connect(proxy)?;
    stream.set_nodelay(true)?;
    let (mut samples, mut received) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    let mut due = Duration::ZERO;
    for number in 0_u32.. {
        // An arrival in a stream without memory, with times between that spread well.
        let spread = f64::from(number.wrapping_mul(2_654_435_769_u32).max(1)) / f64::from(u32::MAX);
        due += Duration::from_secs_f64(-spread.ln() / per_second);
        if due > length {
            break;
        }
        thread::sleep(due.saturating_sub(begun.elapsed()));
        let is_hit = exchange(&mut stream, &target(number), &mut received)?;
        let latency = begun.elapsed().saturating_sub(due);
        samples.push(Sample { is_hit, latency });
    }
    Ok(samples)
}

/// Clears, lists and purges once a second until `is_over`.
async fn change(cache: &Cache, is_over: &AtomicBool) {
    let purged = FilterSpec {
        paths: vec!["/hot/1*".to_owned()],
        ..FilterSpec::default()
    };
    let list = ListQuery {
        filter: EntryFilter::all(),
        order: ListOrder::Size,
        offset: 0,
        limit: 50,
        disk_time: Duration::ZERO,
    };
    let step = Duration::from_millis(333);
    while !is_over.load(Ordering::Relaxed) {
        sleep(step).await;
        let _ = cache.list(&list, clock::now()).await;
        sleep(step).await;
        let matching = EntryFilter::new(&purged, (&Routes::default(), &Rules::default()), false);
        if let Ok(matching) = matching {
            let _ = cache
                .purge(matching, PurgeAction::Remove, clock::now())
                .await;
        }
        sleep(step).await;
        let _ = cache.send(Clear).await;
    }
}

/// One round of the load; `changed` is the cache if it is cleared, listed and purged meanwhile.
fn round(proxy: SocketAddr, changed: Option<&Cache>, number: u32, length: Duration) -> Vec<Sample> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        if let Some(cache) = changed {
            scope.spawn(|| System::new().block_on(change(cache, &is_over)));
        }
        let hits = (0..HIT_CLIENTS).map(|client| {
            let target = move |count: u32| format!("/hot/{}", (client * 31 + count * 7) % HOT_KEYS);
            let per_second = f64::from(HITS_PER_SECOND) / f64::from(HIT_CLIENTS);
            scope.spawn(move || load(proxy, per_second, length, target))
        });
        let misses = (0..MISS_CLIENTS).map(|client| {
            let target = move |count: u32| format!("/cold/{number}/{client}/{count}");
            let per_second = f64::from(MISSES_PER_SECOND) / f64::from(MISS_CLIENTS);
            scope.spawn(move || load(proxy, per_second, length, target))
        });
        let clients: Vec<_> = hits.chain(misses).collect();
        let samples = clients
            .into_iter()
            .filter_map(|client| client.join().ok()?.ok());
        let samples = samples.flatten().collect();
        is_over.store(true, Ordering::Relaxed);
        samples
    })
}

fn print(name: &str, samples: &[Sample], is_hit: bool) {
    let counted = samples.iter().filter(|sample| sample.is_hit == is_hit);
    let mut millis: Vec<f64> = counted
        .map(|sample| sample.latency.as_secs_f64() * 1000.0)
        .collect();
    millis.sort_by(f64::total_cmp);
    let at = |per_mille: usize| {
        let index = (millis.len() * per_mille / 1000).min(millis.len().saturating_sub(1));
        millis.get(index).copied().unwrap_or_default()
    };
    println!(
        "{name:<28} {:>7}: p50 {:>6.2} ms, p99 {:>6.2}, p99.9 {:>6.2}, longest {:>6.2}",
        millis.len(),
        at(500),
        at(990),
        at(999),
        at(1000)
    );
}

fn main() -> io::Result<()> {
    // `cargo test --benches` runs this too, shortly.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (fill_responses, length, rounds) = match is_bench {
        true => (FILL, Duration::from_secs(5), ROUNDS),
        false => (100, Duration::from_millis(100), 1),
    };
    let (proxy, cache) = start()?;
    fill(proxy, fill_responses);
    for number in 0..rounds {
        for (name, changed) in [("without changes", None), ("with changes", Some(&cache))] {
            let samples = round(
                proxy,
                changed,
                number * 2 + u32::from(changed.is_some()),
                length,
            );
            print(&format!("{name}, hits"), &samples, true);
            print(&format!("{name}, misses"), &samples, false);
        }
        fill(proxy, fill_responses);
    }
    Ok(())
}
