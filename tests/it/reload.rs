//! Reloads of the configuration by SIGHUP and by `reload`.

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    client::Client,
    instance::{Finished, Home, Instance},
    origin::{Gate, Origin},
    ports::free_port,
};

const FILE: &str = "config/proxy.toml";

/// Runs a command that must succeed.
#[track_caller]
fn reload(home: &Home, text: &str) -> Finished {
    home.write(FILE, text);
    let reloaded = home.run(&["reload"]);
    assert_eq!(
        (reloaded.code, reloaded.stdout.as_str()),
        (Some(0), "Configuration reloaded\n"),
        "{reloaded:?}"
    );
    reloaded
}

fn get_as(proxy: &Instance, user: &str) -> String {
    let answer = proxy.get_with("/me", &format!("X-Visitor: {user}\r\n"));
    format!("{} {}", answer.x_cache(), answer.text())
}

/// An origin that greets the user of the request.
fn greeting() -> Origin {
    Origin::start(|exchange| {
        let user = exchange
            .request
            .field("x-visitor")
            .unwrap_or("nobody".into());
        exchange.ok("", format!("{user} #{}", exchange.nth));
    })
}

#[test]
fn a_hangup_signal_reloads_the_file() {
    let origin = Origin::counting("Cache-Control: no-store\r\n");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    proxy.get("/a");
    proxy.get("/a").expect(200, "MISS", "GET /a #1");
    home.write(FILE, "policy = \"always\"\n");
    proxy.signal(Signal::HUP);
    proxy.log_line(&["INFO", "configuration reloaded: changed policy"]);
    proxy.get("/a").expect(200, "MISS", "GET /a #2");
    proxy.get("/a").expect(200, "HIT", "GET /a #2");
}

#[test]
fn stored_responses_and_connections_survive_a_reload() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    let mut client = Client::connect(proxy.port);
    client
        .ask("/a", "")
        .answer()
        .expect(200, "MISS", "GET /a #0");
    let reloaded = reload(
        &home,
        "ttl = \"10m\"\nmax_stale = \"1h\"\n[[rules]]\npath = \"/b\"\nignore_query = [\"x\"]\n",
    );
    assert_eq!(reloaded.stderr, "changed: ttl, max_stale, rules\n");
    client
        .ask("/a", "")
        .answer()
        .expect(200, "HIT", "GET /a #0");
    proxy.get("/b?x=1").expect(200, "MISS", "GET /b #0");
    proxy.get("/b?x=2").expect(200, "HIT", "GET /b #0");
    reload(&home, "");
    proxy.get("/b?x=2").expect(200, "MISS", "GET /b?x=2 #0");
}

#[test]
fn a_fetch_in_progress_finishes_and_is_stored() {
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
    let proxy = home.start(&origin.url(), &[]);
    let mut slow = Client::connect(proxy.port);
    slow.ask("/", "").wait_for("first");
    reload(&home, "ttl = \"10m\"\n");
    gate.open();
    slow.answer().expect(200, "MISS", "first last");
    proxy.get("/").expect(200, "HIT", "first last");
}

#[test]
fn a_shared_response_is_not_served_after_it_became_private() {
    let origin = greeting();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    assert_eq!(get_as(&proxy, "anna"), "MISS anna #0");
    assert_eq!(get_as(&proxy, "berta"), "HIT anna #0");
    let reloaded = reload(&home, "identity_headers = [\"x-visitor\"]\n");
    assert!(
        reloaded.stderr.contains("cache cleared, because"),
        "{reloaded:?}"
    );
    proxy.log_line(&["cache cleared, because", "entries 1"]);
    proxy.get("/me").expect(200, "MISS", "nobody #1");
    assert_eq!(get_as(&proxy, "berta"), "MISS berta #2");
    assert_eq!(get_as(&proxy, "anna"), "MISS anna #3");
    assert_eq!(get_as(&proxy, "berta"), "HIT berta #2");
}

#[test]
fn a_request_on_an_open_connection_gets_the_identity_of_the_new_configuration() {
    let origin = greeting();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    let mut anna = Client::connect(proxy.port);
    let mut ask = |x_cache, body| {
        let answer = anna.ask("/me", "X-Visitor: anna\r\n").answer();
        answer.expect(200, x_cache, body);
    };
    ask("MISS", "anna #0");
    ask("HIT", "anna #0");
    reload(&home, "identity_headers = [\"x-visitor\"]\n");
    ask("MISS", "anna #1");
    ask("HIT", "anna #1");
    assert_eq!(get_as(&proxy, "berta"), "MISS berta #2");
    ask("HIT", "anna #1");
}

#[test]
fn a_shared_fetch_is_not_stored_after_it_became_private() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            if exchange.nth > 0 {
                return exchange.ok("", format!("#{}", exchange.nth));
            }
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nannas ");
            gate.wait();
            exchange.send("text");
        }
    });
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    let mut anna = Client::connect(proxy.port);
    anna.ask("/me", "X-Visitor: anna\r\n").wait_for("annas");
    reload(&home, "identity_headers = [\"x-visitor\"]\n");
    gate.open();
    anna.answer().expect(200, "MISS", "annas text");
    proxy.get("/me").expect(200, "MISS", "#1");
}

#[test]
fn a_post_started_before_the_reload_is_not_stored() {
    let origin = greeting();
    let home = Home::new();
    let rule = "[[rules]]\npath = \"/me\"\nstore_post = true\n";
    home.write(FILE, rule);
    let proxy = home.start(&origin.url(), &[]);
    let post = |user: &str, more: &str| {
        let mut client = Client::connect(proxy.port);
        let head = "POST /me HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n";
        client.send(format!("{head}{user}{more}\r\n"));
        client
    };
    // The proxy sends 100 after it has read the head, with the configuration of that moment.
    let mut anna = post("X-Visitor: anna\r\n", "Expect: 100-continue\r\n");
    anna.wait_for("100 Continue");
    reload(
        &home,
        &format!("identity_headers = [\"x-visitor\"]\n{rule}"),
    );
    anna.send("body").answer().expect(200, "MISS", "anna #0");
    let mut nobody = post("", "");
    nobody
        .send("body")
        .answer()
        .expect(200, "MISS", "nobody #1");
    let mut nobody = post("", "");
    nobody.send("body").answer().expect(200, "HIT", "nobody #1");
}

#[test]
fn an_invalid_file_changes_nothing() {
    let origin = Origin::counting("Cache-Control: no-store\r\n");
    let home = Home::new();
    home.write(FILE, "policy = \"always\"\n");
    let proxy = home.start(&origin.url(), &[]);
    home.write(FILE, "policy = \"strict\"\n\nttl = \"soon\"\n");
    let mistake = "config/proxy.toml:3: ttl: \"soon\" is not ";
    home.run(&["reload"]).refused(2, &[mistake]);
    proxy.log_line(&["ERROR", "stays active", mistake]);
    proxy.signal(Signal::HUP);
    proxy.get("/a").expect(200, "MISS", "GET /a #0");
    proxy.get("/a").expect(200, "HIT", "GET /a #0");
    reload(&home, "policy = \"strict\"\n");
    proxy.get("/a").expect(200, "MISS", "GET /a #1");
    proxy.get("/a").expect(200, "MISS", "GET /a #2");
}

#[test]
fn a_setting_that_needs_a_restart_is_named_and_not_applied() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    let needs_restart = "timeout, client_timeout, max_memory, preserve_host";
    let reloaded = reload(
        &home,
        "ttl = \"1h\"\ntimeout = \"9s\"\nclient_timeout = \"8s\"\nmax_memory = \"32MiB\"\npreserve_host = true\n",
    );
    let warning = format!("warning: restart the proxy to apply: {needs_restart}\n");
    assert_eq!(reloaded.stderr, format!("changed: ttl\n{warning}"));
    proxy.log_line(&[
        "WARN",
        &format!("restart the proxy to apply: {needs_restart}"),
    ]);
    // The file still differs from the active settings, so the message is repeated.
    let reloaded = reload(&home, "ttl = \"1h\"\npreserve_host = true\n");
    assert!(
        reloaded
            .stderr
            .contains("restart the proxy to apply: preserve_host\n"),
        "{reloaded:?}"
    );
}

#[test]
fn tls_that_is_removed_from_the_file_needs_a_restart() {
    let origin = Origin::counting("");
    let home = Home::new();
    home.write(FILE, &format!("tls = true\ntls_port = {}\n", free_port()));
    let _proxy = home.start(&origin.url(), &[]);
    let reloaded = reload(&home, "");
    let warning = "nothing applied\nwarning: restart the proxy to apply: tls, tls_port\n";
    assert_eq!(reloaded.stderr, warning);
}

#[test]
fn another_port_than_any_free_one_needs_a_restart() {
    let origin = Origin::counting("");
    let home = Home::new();
    let any = "tls = true\ntls_port = 0\n";
    home.write(FILE, any);
    let proxy = home.start(&origin.url(), &[]);
    reload(&home, any);
    proxy.log_line(&["configuration reloaded: no changes"]);
    let reloaded = reload(&home, "tls = true\ntls_port = 1\n");
    let warning = "restart the proxy to apply: tls_port\n";
    assert!(reloaded.stderr.ends_with(warning), "{reloaded:?}");
}

#[test]
fn flags_and_environment_of_the_start_have_precedence_over_the_file() {
    let origin = Origin::counting("Cache-Control: no-store\r\n");
    let home = Home::new();
    let environment = [("CACHING_PROXY_TTL", "1h")];
    let proxy = home.start_with(&origin.url(), &["--policy", "always"], &environment);
    home.write(FILE, "policy = \"strict\"\nttl = \"2h\"\n");
    let mut command = home.command(&["reload", "--json"]);
    command.env("CACHING_PROXY_TTL", "3h");
    let reloaded = Finished::of(command);
    let document: Value = serde_json::from_str(&reloaded.stdout).unwrap();
    assert_eq!(document["changed"], Value::Array(Vec::new()), "{document}");
    assert_eq!(document["cache_cleared"], false);
    proxy.get("/a");
    assert_eq!(proxy.get("/a").x_cache(), "HIT");
}

#[test]
fn a_mistake_is_shown_with_its_position_as_by_check_config() {
    let origin = Origin::counting("");
    let home = Home::new();
    let _proxy = home.start(&origin.url(), &[]);
    home.write(FILE, "ttl = \"1h\"\npolicy = strict\n");
    let refused = home.run(&["reload"]);
    refused.refused(
        2,
        &["config/proxy.toml:2: ", "\n2 | policy = strict\n", "^"],
    );
    let checked = home.run(&["check-config", "--origin", &origin.url()]);
    let shown = format!(
        "{}\nthe old configuration stays active",
        checked.stderr.trim_end()
    );
    assert_eq!(refused.stderr.trim_end(), shown);
}

#[test]
fn a_reload_without_a_running_proxy_is_reported() {
    Home::new()
        .run(&["reload"])
        .refused(4, &["no running caching-proxy found"]);
}
