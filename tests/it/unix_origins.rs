//! Origins that listen on a Unix socket.

use std::{
    io,
    net::{Shutdown, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread,
};

use crate::{client::Client, failure::assert_plain, instance::Home, origin::Origin};

/// Listens on a Unix socket at `path`, and relays each connection to the scripted origin at `port`. The thread ends with
/// the test process.
fn relay(path: &Path, port: u16) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            pass_on(client, server);
        }
    });
}

fn pass_on(client: UnixStream, server: TcpStream) {
    let (mut requests, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        // A side that has ended by itself makes these fail, and that is all they are to notice.
        let _ = io::copy(&mut requests, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut responses, mut to_client) = (server, client);
    thread::spawn(move || {
        let _ = io::copy(&mut responses, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
}

/// The URL of a Unix socket in this home that leads to `origin`.
fn socket_of(home: &Home, origin: &Origin) -> String {
    let path = home.path("app.sock");
    relay(&path, origin.port());
    format!("unix:{}", path.display())
}

#[test]
fn a_unix_socket_is_an_origin() {
    let origin = Origin::counting("");
    let home = Home::new();
    let url = socket_of(&home, &origin);
    let proxy = home.start(&url, &["--workers=1"]);
    proxy.get("/x?y=1").expect(200, "MISS", "GET /x?y=1 #0");
    proxy.get("/x?y=1").expect(200, "HIT", "GET /x?y=1 #0");
    assert_eq!(origin.last().field("host").as_deref(), Some("localhost"));
    let post = "POST /y HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody";
    let mut client = Client::connect(proxy.port);
    client.send(post).answer().expect(200, "MISS", "POST /y #0");
    assert_eq!(origin.last().body, b"body");
    // Connections are kept, as those over TCP.
    let mut connections = origin.seen().into_iter().map(|seen| seen.connection);
    let first = connections.next().unwrap();
    assert!(connections.any(|connection| connection == first));
    let why = home.run_ok(&["why", "/x?y=1"]);
    assert!(why.contains("HIT"), "{why}");
}

#[test]
fn the_start_names_the_socket_and_the_host_may_be_preserved() {
    let origin = Origin::counting("");
    let home = Home::new();
    let url = socket_of(&home, &origin);
    let proxy = home.start(&url, &["--preserve-host"]);
    proxy.get("/").expect(200, "MISS", "GET / #0");
    assert_ne!(origin.last().field("host").as_deref(), Some("localhost"));
    let stdout = proxy.stdout();
    assert!(stdout.contains(&format!("Origin: {url}\n")), "{stdout}");
}

#[test]
fn a_socket_that_does_not_exist_is_refused_with_the_place() {
    let home = Home::new();
    let path = home.path("none.sock");
    let text = format!("port = 8000\norigin = \"unix:{}\"\n", path.display());
    home.write("config/proxy.toml", &text);
    let words = [
        "config/proxy.toml:2: origin",
        "none.sock",
        "start the application first",
    ];
    home.run(&[]).refused(2, &words);
    home.run(&["check-config"]).refused(2, &words);
    std::fs::write(&path, "").unwrap();
    home.run(&[])
        .refused(2, &["config/proxy.toml:2: origin", "is not a socket"]);
    Home::new()
        .run(&["--origin", "unix:app.sock"])
        .refused(2, &["--origin", "unix:/run/app.sock"]);
}

#[test]
fn a_socket_that_vanishes_is_a_502_until_it_is_back() {
    let origin = Origin::counting("");
    let home = Home::new();
    let url = socket_of(&home, &origin);
    let path = home.path("app.sock");
    let proxy = home.start(&url, &[]);
    std::fs::remove_file(&path).unwrap();
    let failed = proxy.get("/x");
    assert_plain(&failed, 502);
    assert!(
        failed.text().contains("no such socket"),
        "{}",
        failed.text()
    );
    assert!(!failed.text().contains("app.sock"), "{}", failed.text());
    relay(&path, origin.port());
    proxy.get("/x").expect(200, "MISS", "GET /x #0");
}
