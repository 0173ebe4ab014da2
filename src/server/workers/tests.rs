//! Workers with services that count their clients, over real sockets.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// No test waits longer than this.
const DEADLINE: Duration = Duration::from_secs(20);

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// The byte that the client gets.
fn byte(mut client: &TcpStream) -> u8 {
    let mut received = [0];
    client.read_exact(&mut received).unwrap();
    received[0]
}

/// Starts workers, runs `test` in another thread, and stops the workers.
fn with_workers<M, S, F>(
    limits: (usize, usize),
    listeners: &[TcpListener],
    make: impl Fn() -> M + Clone + Send + 'static,
    test: impl FnOnce() + Send + 'static,
) where
    M: Future<Output = io::Result<S>>,
    S: Fn(Accepted) -> F + 'static,
    F: Future + 'static,
{
    actix_rt::System::new().block_on(async {
        let mut workers = Workers::start(limits, listeners, StopSignal::new(), make).unwrap();
        let tested = actix_rt::task::spawn_blocking(test);
        timeout(DEADLINE, tested).await.unwrap().unwrap();
        workers.stop().await;
    });
}

#[test]
fn connections_of_all_listeners_are_accepted() {
    let [(one, at_one), (two, at_two)] = [listener(), listener()];
    let make = || async {
        Ok(
            |Accepted {
                 mut stream,
                 peer,
                 listener,
             }: Accepted| async move {
                assert_eq!(stream.peer_addr().unwrap(), peer);
                stream.write_all(&[b'a', b"01"[listener]]).await
            },
        )
    };
    with_workers((1, 10), &[one, two], make, move || {
        for (address, listener) in [
            (at_one, b'0'),
            (at_two, b'1'),
            (at_two, b'1'),
            (at_one, b'0'),
        ] {
            let client = connect(address);
            assert_eq!([byte(&client), byte(&client)], [b'a', listener]);
        }
    });
}

#[test]
fn clients_beyond_the_limit_wait_until_others_leave() {
    const LIMIT: usize = 3;
    let (listener, address) = listener();
    let (served, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let make = {
        let most = Arc::clone(&most);
        move || {
            let (served, most) = (Arc::clone(&served), Arc::clone(&most));
            let serve = move |Accepted { mut stream, .. }: Accepted| {
                let (served, most) = (Arc::clone(&served), Arc::clone(&most));
                async move {
                    most.fetch_max(served.fetch_add(1, SeqCst) + 1, SeqCst);
                    stream.write_all(b"a").await.unwrap();
                    // Until the client leaves.
                    stream.read_u8().await.unwrap_err();
                    served.fetch_sub(1, SeqCst);
                }
            };
            async move { Ok(serve) }
        }
    };
    with_workers((2, LIMIT), &[listener], make, move || {
        let mut clients: Vec<_> = (0..20).map(|_| connect(address)).collect();
        // The queue is in order. The first ones stay until all of them are served.
        let first: Vec<_> = clients.drain(..LIMIT).collect();
        for client in &first {
            assert_eq!(byte(client), b'a');
        }
        drop(first);
        for client in clients {
            assert_eq!(byte(&client), b'a');
        }
    });
    assert_eq!(most.load(SeqCst), LIMIT);
}

#[test]
fn connections_that_stay_are_spread_over_the_workers() {
    const CLIENTS: usize = 64;
    let (listener, address) = listener();
    let numbers = Arc::new(AtomicUsize::new(0));
    let make = move || {
        let number = u8::try_from(numbers.fetch_add(1, SeqCst)).unwrap();
        let serve = move |Accepted { mut stream, .. }: Accepted| async move {
            stream.write_all(&[number]).await.unwrap();
            stream.read_u8().await.unwrap_err();
        };
        async move { Ok(serve) }
    };
    with_workers((2, 1000), &[listener], make, move || {
        let clients: Vec<_> = (0..CLIENTS).map(|_| connect(address)).collect();
        let of_first = clients.iter().filter(|client| byte(client) == 0).count();
        let share = CLIENTS * 2 / 5..=CLIENTS * 3 / 5;
        assert!(share.contains(&of_first), "{of_first} of {CLIENTS}");
    });
}

#[test]
fn a_panic_while_a_client_is_served_ends_its_connection_alone() {
    let (listener, address) = listener();
    let make = || async {
        Ok(|Accepted { mut stream, .. }: Accepted| async move {
            assert_eq!(stream.read_u8().await.unwrap(), b'a');
            stream.write_all(b"b").await.unwrap();
        })
    };
    // The place of the client is free again.
    with_workers((1, 1), &[listener], make, move || {
        for sent in [b"x", b"a", b"y", b"a"] {
            let mut client = connect(address);
            client.write_all(sent).unwrap();
            let mut received = Vec::new();
            // The end may be a reset.
            let _ = client.read_to_end(&mut received);
            assert_eq!(received, if sent == b"a" { &b"b"[..] } else { b"" });
        }
    });
}

#[test]
fn connections_that_wait_when_the_server_stops_are_served() {
    const WAITING: usize = 40;
    let (listener, address) = listener();
    let blocked = Arc::new(Barrier::new(2));
    let make = {
        let blocked = Arc::clone(&blocked);
        move || {
            let blocked = Arc::clone(&blocked);
            let serve = move |Accepted { mut stream, .. }: Accepted| {
                let blocked = Arc::clone(&blocked);
                async move {
                    if stream.read_u8().await.unwrap() == b'b' {
                        // The first wait begins to block the worker, the second one ends it.
                        blocked.wait();
                        blocked.wait();
                    }
                    stream.write_all(b"a").await.unwrap();
                }
            };
            async move { Ok(serve) }
        }
    };
    actix_rt::System::new().block_on(async {
        let signal = StopSignal::new();
        let mut workers = Workers::start((1, 1000), &[listener], signal, make).unwrap();
        let first = connect(address);
        (&first).write_all(b"b").unwrap();
        blocked.wait();
        let waiting: Vec<_> = (0..WAITING).map(|_| connect(address)).collect();
        for mut client in &waiting {
            client.write_all(b"a").unwrap();
        }
        // The worker is told to stop before it can accept.
        workers.stop.send_replace(StopStage::Stopping);
        let clients = thread::spawn(move || {
            blocked.wait();
            [first].iter().chain(&waiting).map(byte).collect::<Vec<_>>()
        });
        workers.stop().await;
        assert_eq!(clients.join().unwrap(), [b'a'; 1 + WAITING]);
        assert!(TcpStream::connect(address).is_err());
    });
}

#[test]
fn a_worker_that_cannot_be_made_is_an_error_of_the_start() {
    let (listener, _) = listener();
    let serve = |_: Accepted| async {};
    actix_rt::System::new().block_on(async {
        let made = AtomicUsize::new(0);
        let made = Arc::new(made);
        let make = move || {
            let fails = made.fetch_add(1, SeqCst) == 1;
            async move {
                match fails {
                    true => Err(io::Error::other("the second one")),
                    false => Ok(serve),
                }
            }
        };
        let started = Workers::start((3, 10), &[listener], StopSignal::new(), make);
        let Err(error) = started else {
            panic!("it has started");
        };
        assert_eq!(error.to_string(), "the second one");
    });
}

#[test]
fn a_worker_that_ends_unasked_is_noticed() {
    let (listener, _) = listener();
    let serve = |_: Accepted| async {};
    actix_rt::System::new().block_on(async {
        let make = move || async move { Ok(serve) };
        let mut workers = Workers::start((2, 10), &[listener], StopSignal::new(), make).unwrap();
        let ended = timeout(Duration::ZERO, workers.ended()).await;
        assert!(ended.is_err(), "{ended:?}");
        workers.stop.send_replace(StopStage::Stopping);
        let ended = timeout(DEADLINE, workers.ended()).await.unwrap();
        assert_eq!(ended.to_string(), "a worker has ended");
    });
}
