//! The behaviour of the binary on a terminal: output, signals, `--clear-cache`.

use std::{net::TcpListener, os::unix::fs::PermissionsExt, path::Path};

use rustix::process::Signal;

use crate::{
    harness::until,
    instance::{Finished, Home, Instance},
    origin::{Gate, Origin},
    ports::{self, free_port},
};

#[test]
fn the_proxy_prints_two_lines_and_serves() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    proxy
        .get("/products?limit=1")
        .expect(200, "MISS", "GET /products?limit=1 #0");
    proxy
        .get("/products?limit=1")
        .expect(200, "HIT", "GET /products?limit=1 #0");
    proxy.log_line(&["HIT", "/products"]);
    let expected = format!(
        "Proxy starting on port {}\nOrigin: {}\n",
        proxy.port,
        origin.url()
    );
    assert_eq!(proxy.stdout(), expected);
}

#[test]
fn the_proxy_listens_on_loopback_only() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    // Another program may use the same port on another address of this machine.
    TcpListener::bind(("127.0.0.2", proxy.port)).expect("127.0.0.2 is not taken");
    let everywhere = home.start(&origin.url(), &["--bind", "0.0.0.0"]);
    TcpListener::bind(("127.0.0.2", everywhere.port)).expect_err("0.0.0.0 covers 127.0.0.2");
}

#[test]
fn clear_cache_reaches_a_running_proxy() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    for number in 0..3 {
        proxy.get(&format!("/{number}"));
    }
    let cleared = clear_cache(&home, &["--clear-cache"]);
    assert!(
        cleared.stderr.contains('3'),
        "three entries: {}",
        cleared.stderr
    );
    proxy.get("/0").expect(200, "MISS", "GET /0 #1");
    proxy.get("/0").expect(200, "HIT", "GET /0 #1");
}

#[test]
fn clear_cache_reaches_variants_and_a_fetch_in_flight() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| match (exchange.target().as_str(), exchange.nth) {
            ("/slow", 0) => {
                exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
                gate.wait();
                exchange.send(" old.");
            }
            (_, nth) => exchange.ok("Vary: Accept\r\n", format!("#{nth}")),
        }
    });
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    proxy
        .get_with("/", "Accept: a\r\n")
        .expect(200, "MISS", "#0");
    proxy
        .get_with("/", "Accept: b\r\n")
        .expect(200, "MISS", "#1");
    let mut slow = crate::client::Client::connect(proxy.port);
    slow.ask("/slow", "").wait_for("first");
    assert_eq!(home.run(&["--clear-cache"]).code, Some(0));
    gate.open();
    slow.answer().expect(200, "MISS", "first old.");
    proxy.get("/slow").expect(200, "MISS", "#1");
    proxy
        .get_with("/", "Accept: a\r\n")
        .expect(200, "MISS", "#2");
    proxy
        .get_with("/", "Accept: b\r\n")
        .expect(200, "MISS", "#3");
}

/// Runs a clear, which succeeds and says nothing else on stdout.
fn clear_cache(home: &Home, arguments: &[&str]) -> Finished {
    let cleared = home.run(arguments);
    assert_eq!(
        (cleared.code, cleared.stdout.as_str()),
        (Some(0), "Cache cleared\n"),
        "{cleared:?}"
    );
    cleared
}

#[test]
fn clear_cache_reaches_all_instances_or_the_one_on_port() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxies = [
        home.start(&origin.url(), &[]),
        home.start(&origin.url(), &[]),
    ];
    let [one, two] = &proxies;
    let fill = || {
        proxies
            .iter()
            .for_each(|proxy| drop((proxy.get("/"), proxy.get("/"))))
    };
    fill();
    clear_cache(&home, &["--clear-cache", "--port", &one.port.to_string()]);
    assert_eq!(
        (one.get("/").x_cache(), two.get("/").x_cache()),
        ("MISS", "HIT")
    );
    fill();
    clear_cache(&home, &["--clear-cache"]);
    assert_eq!(
        (one.get("/").x_cache(), two.get("/").x_cache()),
        ("MISS", "MISS")
    );
}

#[test]
fn a_port_in_file_or_environment_does_not_limit_clear_cache() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxies = [
        home.start(&origin.url(), &[]),
        home.start(&origin.url(), &[]),
    ];
    proxies.iter().for_each(|proxy| drop(proxy.get("/")));
    home.write(
        "config/proxy.toml",
        &format!("port = {}\n", proxies[0].port),
    );
    let mut command = home.command(&["--clear-cache"]);
    command.env("CACHING_PROXY_PORT", proxies[0].port.to_string());
    assert_eq!(Finished::of(command).code, Some(0));
    for proxy in &proxies {
        assert_eq!(proxy.get("/").x_cache(), "MISS");
    }
}

#[test]
fn clear_cache_without_a_running_proxy_is_reported_and_succeeds() {
    let home = Home::new();
    let cleared = clear_cache(&home, &["--clear-cache"]);
    assert!(cleared.stderr.contains("running"), "{}", cleared.stderr);
}

#[test]
fn clear_cache_of_a_port_without_a_proxy_is_an_error() {
    let origin = Origin::counting("");
    let home = Home::new();
    let port = free_port().to_string();
    home.run(&["--clear-cache", "--port", &port])
        .refused(4, &["no running caching-proxy found on port", &port]);
    let proxy = home.start(&origin.url(), &[]);
    proxy.get("/");
    // The error names the proxy that was probably meant.
    home.run(&["--clear-cache", "--port", &port])
        .refused(4, &[&port, &proxy.port.to_string(), &origin.url()]);
    proxy.get("/").expect(200, "HIT", "GET / #0");
}

#[test]
fn the_log_says_at_the_start_where_routes_lead() {
    let origin = Origin::counting("");
    let other = Origin::counting("");
    let home = Home::new();
    let route = |path: &str| format!("{path}={}", other.url());
    let proxy = home.start(
        &origin.url(),
        &["--route", &route("/api/*"), "--route", &route("/shop/")],
    );
    proxy.log_line(&["routes: /api/* to ", &other.url(), ", /shop/ to "]);
    proxy.log_line(&[
        "the route for \"/shop/\" (--route) is for that path alone",
        "; /shop/* is for all below it",
    ]);
}

#[test]
fn the_log_says_at_the_start_what_is_in_force_and_what_to_open() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &["--bind", "0.0.0.0"]);
    let url = format!(
        "listening on http://127.0.0.1:{}/ for {}",
        proxy.port,
        origin.url()
    );
    proxy.log_line(&[
        &url,
        "policy standard",
        "256.0 MiB",
        "no configuration file",
    ]);
    home.write(
        "config/proxy.toml",
        "policy = \"strict\"\nmax_memory = \"64MiB\"\n",
    );
    let proxy = home.start(&origin.url(), &[]);
    proxy.log_line(&[
        "policy strict",
        "64.0 MiB",
        "configuration file config/proxy.toml",
    ]);
}

/// How many stops are tried. Without a remedy a few of a hundred aborted.
const STOPS: usize = 25;

#[test]
fn a_stop_with_a_filled_cache_never_aborts() {
    let origin = Origin::counting("");
    let home = Home::new();
    for _ in 0..STOPS {
        let mut proxy = home.start(&origin.url(), &["--workers", "2"]);
        let mut client = crate::client::Client::connect(proxy.port);
        for number in 0..200 {
            client.ask(&format!("/{number}"), "").answer();
        }
        drop(client);
        proxy.signal(Signal::TERM);
        let status = proxy.wait();
        assert!(status.success(), "{status:?} {}", proxy.log());
    }
}

#[test]
fn clear_cache_finds_instances_started_without_a_runtime_directory() {
    let origin = Origin::counting("");
    let home = Home::new();
    let port = free_port();
    let mut command = home.command(&["--port", &port.to_string(), "--origin", &origin.url()]);
    command.env_remove("XDG_RUNTIME_DIR");
    let proxy = Instance::launch(command, port).expect("the port was free");
    proxy.get("/");
    assert_eq!(home.run(&["--clear-cache"]).code, Some(0));
    assert_eq!(proxy.get("/").x_cache(), "MISS");
}

#[test]
fn files_of_a_killed_instance_do_not_disturb_clear_cache() {
    let origin = Origin::counting("");
    let home = Home::new();
    let killed = home.start(&origin.url(), &[]);
    let port = killed.port;
    killed.kill();
    clear_cache(&home, &["--clear-cache"]);
    let command = home.command(&["--port", &port.to_string(), "--origin", &origin.url()]);
    let again = Instance::launch(command, port).expect("the port is free again");
    again.get("/");
    assert_eq!(home.run(&["--clear-cache"]).code, Some(0));
    assert_eq!(again.get("/").x_cache(), "MISS");
}

#[test]
fn a_new_instance_on_the_port_of_a_killed_one_can_be_cleared_at_once() {
    let origin = Origin::counting("");
    let home = Home::new();
    let killed = home.start(&origin.url(), &[]);
    let port = killed.port;
    killed.kill();
    let command = home.command(&["--port", &port.to_string(), "--origin", &origin.url()]);
    let again = Instance::launch(command, port).expect("the port is free again");
    again.get("/");
    assert_eq!(
        home.run(&["--clear-cache", "--port", &port.to_string()])
            .code,
        Some(0)
    );
    assert_eq!(again.get("/").x_cache(), "MISS");
}

#[test]
fn a_port_in_use_names_its_holder() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    let port = proxy.port.to_string();
    let second = home.run(&["--port", &port, "--origin", "http://127.0.0.1:9"]);
    second.refused(3, &[&port, "another caching-proxy", &origin.url()]);
    let stranger = ports::listener();
    let port = stranger.local_addr().unwrap().port().to_string();
    home.run(&["--port", &port, "--origin", "http://127.0.0.1:9"])
        .refused(3, &[&port]);
    // The refused instance has not affected the running one.
    proxy.get("/").expect(200, "MISS", "GET / #0");
    assert_eq!(home.run(&["--clear-cache"]).code, Some(0));
    assert_eq!(proxy.get("/").x_cache(), "MISS");
}

#[test]
fn a_signal_ends_the_proxy_and_leaves_no_files() {
    let origin = Origin::counting("");
    let home = Home::new();
    for signal in [Signal::TERM, Signal::INT] {
        let mut proxy = home.start(&origin.url(), &[]);
        proxy.get("/");
        assert_eq!(home.control_sockets().len(), 1);
        proxy.signal(signal);
        assert_eq!(proxy.wait().code(), Some(0), "{}", proxy.log());
        assert_eq!(home.control_sockets().len(), 0);
    }
}

#[test]
fn a_signal_lets_requests_in_progress_finish() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst ");
            gate.wait();
            exchange.send("last");
        }
    });
    let home = Home::new();
    let mut proxy = home.start(&origin.url(), &[]);
    let mut asker = crate::client::Client::connect(proxy.port);
    asker.ask("/", "Connection: close\r\n").wait_for("first ");
    proxy.signal(Signal::TERM);
    until("the port is closed", || {
        std::net::TcpStream::connect(("127.0.0.1", proxy.port)).is_err()
    });
    gate.open();
    asker.answer().expect(200, "MISS", "first last");
    assert_eq!(proxy.wait().code(), Some(0), "{}", proxy.log());
}

#[test]
fn the_control_directory_and_socket_are_private_to_the_user() {
    let origin = Origin::counting("");
    let home = Home::new();
    let _proxy = home.start(&origin.url(), &[]);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let sockets = home.control_sockets();
    assert_eq!((sockets.len(), mode(&sockets[0])), (1, 0o600));
    assert_eq!(
        sockets[0].parent(),
        Some(home.path("run/caching-proxy").as_path())
    );
    assert_eq!(mode(&home.path("run/caching-proxy")), 0o700);
}

#[test]
fn a_control_directory_open_to_others_is_refused() {
    let home = Home::new();
    let directory = home.path("run/caching-proxy");
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o777)).unwrap();
    let port = free_port().to_string();
    let refused = home.run(&["--port", &port, "--origin", "http://127.0.0.1:9"]);
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert_eq!(refused.stdout, "");
    assert!(
        refused.stderr.contains(directory.to_str().unwrap()),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_lock_file_that_is_a_link_is_reported_and_the_others_are_cleared() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    proxy.get("/");
    let (lock, target) = (home.path("run/caching-proxy/1.lock"), home.path("target"));
    std::os::unix::fs::symlink(&target, &lock).unwrap();
    home.run(&["--clear-cache"])
        .refused(4, &[lock.to_str().unwrap(), "port 1 ", "regular file"]);
    assert!(!target.exists());
    assert_eq!(proxy.get("/").x_cache(), "MISS");
}

#[test]
fn a_low_limit_on_open_files_is_reported_at_the_start() {
    let home = Home::new();
    for limit in [8, 20, 50] {
        let port = free_port().to_string();
        let args = [
            "--workers=1",
            "--port",
            &port,
            "--origin",
            "http://127.0.0.1:9",
        ];
        let command = home.command_after(&format!("ulimit -n {limit}"), &args);
        Finished::of(command).refused(1, &["error: ", &format!("files is {limit},"), "ulimit -n"]);
    }
}

#[test]
fn workers_that_cannot_be_started_end_the_program() {
    let home = Home::new();
    let port = free_port().to_string();
    let args = [
        "--workers=16",
        "--port",
        &port,
        "--origin",
        "http://127.0.0.1:9",
    ];
    // The limit is high enough, but most descriptors are in use, so some workers get none.
    let taken = "ulimit -n 160; for file in {20..116}; do eval \"exec $file</dev/null\"; done";
    let command = home.command_after(taken, &args);
    Finished::of(command).refused(1, &["error: cannot start the server", "open files"]);
    assert_eq!(home.control_sockets().len(), 0);
}
