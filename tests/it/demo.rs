//! `caching-proxy demo`: the proxy in front of a built-in API.

use rustix::process::Signal;

use crate::{
    client::Client,
    instance::{Home, Instance},
    ports::{free_port, listener},
};

fn start(home: &Home) -> Instance {
    for _ in 0..5 {
        let port = free_port();
        let command = home.command(&["demo", "--port", &port.to_string()]);
        if let Ok(instance) = Instance::launch(command, port) {
            return instance;
        }
    }
    panic!("no port was free five times in a row");
}

#[test]
fn a_repeated_request_is_a_hit_until_the_cache_is_cleared() {
    let home = Home::new();
    let mut demo = start(&home);
    let port = demo.port.to_string();
    let mut lines = demo.stdout();
    let origin = lines.split_off(lines.find('\n').unwrap() + 1);
    assert_eq!(lines, format!("Proxy starting on port {port}\n"));
    assert!(origin.starts_with("Origin: http://127.0.0.1:"), "{origin}");
    let first = demo.get("/products/1");
    assert_eq!((first.status(), first.x_cache()), (200, "MISS"));
    let second = demo.get("/products/1");
    assert_eq!((second.text(), second.x_cache()), (first.text(), "HIT"));
    let cleared = home.run(&["--clear-cache", "--port", &port]);
    assert_eq!(cleared.stdout, "Cache cleared\n");
    assert_eq!(demo.get("/products/1").x_cache(), "MISS");
    demo.signal(Signal::INT);
    assert_eq!(demo.wait().code(), Some(0));
    assert_eq!(home.control_sockets(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn the_commands_to_try_are_printed_and_work() {
    let home = Home::new();
    let demo = start(&home);
    let port = demo.port;
    demo.log_line(&["curl", &format!(" http://127.0.0.1:{port}/products/1")]);
    demo.log_line(&["caching-proxy why /no-store", &format!(" --port {port}")]);
    demo.log_line(&["caching-proxy --clear-cache", &format!(" --port {port}")]);
    demo.log_line(&["Dashboard: http://127.0.0.1:"]);
    demo.log_line(&["Ctrl-C ends the demo"]);
    for _ in 0..2 {
        assert_eq!(demo.get("/no-store").x_cache(), "MISS");
    }
    let why = home.run(&["why", "/no-store", "--port", &port.to_string()]);
    assert_eq!(why.code, Some(0));
    assert!(why.stdout.contains("no-store"), "{why:?}");
}

#[test]
fn two_demos_run_at_the_same_time() {
    let home = Home::new();
    // Without a port, each takes a free one.
    let launch = || Instance::launch(home.command(&["demo"]), 0).unwrap();
    let demos = [launch(), launch()];
    let [first, second] = demos.each_ref().map(|demo| {
        let stdout = demo.stdout();
        let port = stdout.lines().next().unwrap().rsplit(' ').next();
        port.unwrap().parse::<u16>().unwrap()
    });
    assert_ne!(first, second);
    for port in [first, second] {
        let mut client = Client::connect(port);
        assert_eq!(client.ask("/products", "").answer().status(), 200);
    }
}

#[test]
fn a_port_in_use_is_refused() {
    let taken = listener();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = Home::new().run(&["demo", "--port", &port]);
    refused.refused(3, &[&format!("port {port} is in use"), "--port"]);
}

#[test]
fn the_demo_ignores_the_configuration_file_and_the_environment() {
    let home = Home::new();
    home.write("config/proxy.toml", "this is no TOML");
    let port = free_port();
    let mut command = home.command(&["demo", "--port", &port.to_string()]);
    command.env("CACHING_PROXY_POLICY", "sometimes");
    let demo = Instance::launch(command, port).unwrap();
    assert_eq!(demo.get("/hello").status(), 200);
    // A reload does not read them either.
    let reloaded = home.run(&["reload", "--port", &port.to_string()]);
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
}
