//! Shipped files for running the proxy as a service: they match the program.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal};

use crate::{
    client::Client,
    instance::{Finished, Home, Instance},
    origin::Origin,
    ports::free_port,
};

fn shipped(name: &str) -> String {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    fs::read_to_string(config.join(name)).unwrap()
}

/// All values of a key in a systemd unit.
fn set<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let lines = unit.lines();
    lines
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .collect()
}

/// The arguments of a command of the unit, with another configuration file.
fn arguments<'a>(command: &'a str, file: &'a str) -> Vec<&'a str> {
    let program = "/usr/local/bin/caching-proxy ";
    let arguments = command.strip_prefix(program).unwrap().split(' ');
    arguments
        .map(|argument| match argument {
            "/etc/caching-proxy/proxy.toml" => file,
            other => other,
        })
        .collect()
}

#[test]
fn the_commands_of_the_systemd_unit_start_check_and_reload_the_proxy() {
    let unit = shipped("caching-proxy.service");
    let origin = Origin::counting("Cache-Control: no-store\r\n");
    let home = Home::new();
    let port = free_port();
    let file = |policy| {
        let port = format!("port = {port}\norigin = \"{}\"\n", origin.url());
        home.write("proxy.toml", &format!("{port}policy = \"{policy}\"\n"));
    };
    file("standard");
    // systemd creates this directory.
    let runtime_dir = home.path("run/caching-proxy-unit");
    fs::create_dir(&runtime_dir).unwrap();
    let mode = u32::from_str_radix(set(&unit, "RuntimeDirectoryMode")[0], 8).unwrap();
    fs::set_permissions(&runtime_dir, fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(set(&unit, "RuntimeDirectory"), ["caching-proxy"]);
    assert_eq!(
        set(&unit, "Environment"),
        ["XDG_RUNTIME_DIR=/run/caching-proxy"]
    );

    let mut command = home.command(&arguments(set(&unit, "ExecStart")[0], "proxy.toml"));
    command.env("XDG_RUNTIME_DIR", &runtime_dir);
    let proxy = Instance::launch(command, port).expect("the port was free");
    assert!(runtime_dir.join("caching-proxy").is_dir());
    let [check, hangup] = set(&unit, "ExecReload")[..] else {
        panic!("{unit}");
    };
    assert_eq!(hangup, "kill -HUP $MAINPID");
    let check = || Finished::of(home.command(&arguments(check, "proxy.toml"))).code;
    file("always");
    assert_eq!(check(), Some(0));
    proxy.signal(Signal::HUP);
    proxy.log_line(&["configuration reloaded: changed policy"]);
    file("sometimes");
    assert_eq!(check(), Some(2));
    assert_eq!(set(&unit, "RestartPreventExitStatus"), ["2"]);
}

#[test]
fn the_socket_units_listen_on_this_machine_alone_and_have_names_of_their_own() {
    let (plain, tls) = (
        shipped("caching-proxy.socket"),
        shipped("caching-proxy-tls.socket"),
    );
    for unit in [&plain, &tls] {
        for address in set(unit, "ListenStream") {
            let address: SocketAddr = address.parse().unwrap();
            assert!(address.ip().is_loopback(), "{address}");
        }
    }
    // A unit without a name for its sockets gives them its own, and starts the service of the same name.
    assert_eq!(set(&plain, "FileDescriptorName"), [""; 0]);
    assert_eq!(set(&tls, "FileDescriptorName"), ["tls-port"]);
    assert_eq!(set(&tls, "Service"), ["caching-proxy.service"]);
}

#[test]
fn the_units_say_how_to_install_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, count) in [
        ("caching-proxy.service", 2),
        ("caching-proxy.socket", 1),
        ("caching-proxy-tls.socket", 2),
    ] {
        let unit = shipped(name);
        let lines = unit
            .lines()
            .filter_map(|line| line.strip_prefix("#   install "));
        let files: Vec<&str> = lines
            .flat_map(str::split_whitespace)
            .filter(|word| word.starts_with("config/"))
            .collect();
        assert_eq!(files.len(), count, "{name}: {files:?}");
        assert!(files.iter().all(|file| root.join(file).exists()));
        assert!(name.ends_with(".service") || files.contains(&&*format!("config/{name}")));
    }
}

#[test]
fn the_build_context_has_every_file_that_the_image_needs() {
    let (recipe, context) = (shipped("Dockerfile"), shipped("Dockerfile.dockerignore"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copies = recipe.lines().filter_map(|line| line.strip_prefix("COPY "));
    for copy in copies.filter(|copy| !copy.starts_with("--from")) {
        let (sources, _) = copy.rsplit_once(' ').unwrap();
        for source in sources.split(' ') {
            assert!(root.join(source).exists(), "{source}");
            let let_in = format!("!{source}");
            assert!(context.lines().any(|line| line == let_in), "{source}");
        }
    }
    let least = concat!("FROM rust:", env!("CARGO_PKG_RUST_VERSION"), "-");
    assert!(recipe.contains(least), "{least}");
}

#[test]
fn the_health_check_of_the_container_reports_the_state_of_the_proxy() {
    let recipe = shipped("Dockerfile");
    let check = recipe.lines().find(|line| line.starts_with("HEALTHCHECK"));
    let (_, command) = check.unwrap().split_once(" CMD ").unwrap();
    let words: Vec<String> = serde_json::from_str(command).unwrap();
    assert_eq!(words[0], "/usr/local/bin/caching-proxy");
    let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    let origin = Origin::counting("");
    let home = Home::new();
    assert_eq!(home.run(&arguments).code, Some(4));
    let proxy = home.start(&origin.url(), &[]);
    proxy.get("/a");
    assert_eq!(home.run(&arguments).code, Some(0));
}

/// The lines of a block of a workflow, without their indentation.
fn run_block(workflow: &str, step: &str) -> String {
    let (_, step) = workflow.split_once(&format!("name: {step}\n")).unwrap();
    let (_, block) = step.split_once("run: |\n").unwrap();
    let lines = block.lines().take_while(|line| !line.is_empty());
    lines
        .map(|line| format!("{}\n", line.trim_start()))
        .collect()
}

#[test]
fn the_workflow_serves_a_recorded_api() {
    let workflow = shipped("github-actions.yml");
    let guide = include_str!("../../src/guide/offline.md");
    let (_, example) = guide.split_once("```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    assert!(
        workflow.ends_with(example),
        "the guide has another workflow"
    );

    // Recorded as the guide says, with a token, from an API that is gone afterwards.
    let origin = Origin::counting("Cache-Control: private\r\n");
    let home = Home::new();
    let recording = home.start(&origin.url(), &["--record"]);
    recording.get_with("/users", "Authorization: Bearer ann\r\n");
    fs::create_dir(home.path("work/tests")).unwrap();
    assert_eq!(home.run(&["export", "tests/api.har"]).code, Some(0));
    recording.kill();
    let url = origin.url();
    drop(origin);

    let port = free_port();
    let block = run_block(&workflow, "Serve the recorded API");
    let block = block.replace("8000", &port.to_string());
    let block = block.replace("https://api.example.com", &url);
    // A program on the path, and no function of the shell: `$!` would be the shell that runs the function.
    let program = env!("CARGO_BIN_EXE_caching-proxy");
    std::os::unix::fs::symlink(program, home.path("tmp/caching-proxy")).unwrap();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", home.path("tmp").display());
    let lines = format!("set -e\n{block}echo $! > pid");
    let mut command = home.command_after(&lines, &["ls", "--port", &port.to_string(), "--json"]);
    command.env("PATH", path);
    let _started = Started(home.path("work/pid"));
    let finished = Finished::of(command);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    for fields in ["", "Authorization: Bearer test\r\n"] {
        let response = Client::connect(port).ask("/users", fields).answer();
        response.expect(200, "HIT", "GET /users #0");
    }
}

/// A program that a script has started, by the file with its process id. Dropping it ends the program.
struct Started(PathBuf);

impl Drop for Started {
    fn drop(&mut self) {
        let pid = fs::read_to_string(&self.0).unwrap_or_default();
        if let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw) {
            rustix::process::kill_process(pid, Signal::KILL).ok();
        }
    }
}
