//! A Redis server for a test. The tests from outside use this file too.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "two crates of tests use parts of it"
)]

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a server may take to start, or to answer.
const LIMIT: Duration = Duration::from_secs(30);

/// A Redis server. It is killed when this is dropped.
pub struct RedisServer {
    directory: TempDir,
    arguments: Vec<String>,
    child: Child,
    /// The port, if it does not listen on a socket in its directory.
    port: Option<u16>,
}

impl RedisServer {
    /// Starts a server without persistence on a socket in a directory of its own.
    pub fn start() -> Self {
        Self::start_with(&["--save", "", "--appendonly", "no"])
    }

    /// Starts a server with other arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let socket = directory.path().join("redis.sock");
        let socket = socket.to_str().unwrap();
        let mut all = vec!["--port", "0", "--unixsocket", socket];
        all.extend(arguments);
        Self::spawn(directory, &all, None)
    }

    fn spawn(directory: TempDir, arguments: &[&str], port: Option<u16>) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|one| (*one).to_owned()).collect();
        let child = spawn(&directory, &arguments);
        let server = Self {
            directory,
            arguments,
            child,
            port,
        };
        server.wait();
        server
    }

    /// Waits until it answers.
    fn wait(&self) {
        let deadline = Instant::now() + LIMIT;
        let is_ready = |reply: String| reply == "+PONG" || reply.starts_with("-NOAUTH");
        while !self.try_command(&["PING"]).is_some_and(is_ready) {
            assert!(Instant::now() < deadline, "redis-server does not start");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        match self.port {
            Some(port) => format!("redis://127.0.0.1:{port}"),
            None => format!("unix:{}", self.socket().display()),
        }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// The first line of the reply to a command, and the text behind it if that is a string.
    #[track_caller]
    pub fn command(&self, words: &[&str]) -> String {
        self.try_command(words).unwrap()
    }

    fn try_command(&self, words: &[&str]) -> Option<String> {
        match self.port {
            Some(port) => exchange(TcpStream::connect(("127.0.0.1", port)).ok()?, words),
            None => exchange(UnixStream::connect(self.socket()).ok()?, words),
        }
    }

    /// The keys that match a pattern, in their order.
    pub fn keys(&self, pattern: &str) -> Vec<String> {
        let script = "return table.concat(redis.call('KEYS', ARGV[1]), '\\n')";
        let keys = self.command(&["EVAL", script, "0", pattern]);
        let mut keys: Vec<String> = keys.lines().map(str::to_owned).collect();
        keys.sort();
        keys
    }

    /// Stops the process (SIGSTOP).
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets the process go on (SIGCONT).
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Kills the process.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, with what it has saved.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.directory, &self.arguments);
        self.wait();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(directory: &TempDir, arguments: &[String]) -> Child {
    let spawned = Command::new("redis-server")
        .args(arguments)
        .arg("--dir")
        .arg(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    spawned.unwrap_or_else(|error| {
        panic!("cannot start redis-server ({error}): install the package redis-server")
    })
}

/// Sends a command, and reads the first line of its reply and the string behind it.
fn exchange(mut stream: impl Connection, words: &[&str]) -> Option<String> {
    stream.limit(LIMIT);
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(command.as_bytes()).ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let line = line.strip_suffix("\r\n")?;
    let length = line
        .strip_prefix('$')
        .and_then(|length| length.parse().ok());
    let Some(length) = length else {
        return Some(line.to_owned());
    };
    let mut text = vec![0; length];
    reader.read_exact(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

trait Connection: std::io::Read + std::io::Write {
    fn limit(&self, time: Duration);
}

impl Connection for UnixStream {
    fn limit(&self, time: Duration) {
        self.set_read_timeout(Some(time)).unwrap();
    }
}

impl Connection for TcpStream {
    fn limit(&self, time: Duration) {
        self.set_read_timeout(Some(time)).unwrap();
    }
}

/// A cluster of three nodes.
pub struct RedisCluster {
    /// The nodes.
    pub nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts it, and waits until all slots have their node.
    pub fn start() -> Self {
        let nodes: Vec<RedisServer> = (0..3).map(|_| cluster_node()).collect();
        for (node, range) in
            nodes
                .iter()
                .zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]])
        {
            let [first, last] = range;
            assert_eq!(
                node.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]),
                "+OK"
            );
        }
        let [first, others @ ..] = nodes.as_slice() else {
            unreachable!("there are three");
        };
        for other in others {
            let port = other.port.unwrap().to_string();
            let bus = bus_port(other).to_string();
            assert_eq!(
                first.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]),
                "+OK"
            );
        }
        let deadline = Instant::now() + LIMIT;
        let is_ready = |node: &RedisServer| {
            let info = node.command(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_size:3")
        };
        while !nodes.iter().all(is_ready) {
            assert!(Instant::now() < deadline, "the cluster does not start");
            thread::sleep(Duration::from_millis(10));
        }
        Self { nodes }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        self.nodes[0].url().replace("redis:", "redis+cluster:")
    }
}

/// The bus of a node is at the port behind its own.
fn bus_port(node: &RedisServer) -> u16 {
    node.port.unwrap() + 1
}

fn cluster_node() -> RedisServer {
    let port = two_ports();
    let (text, bus) = (port.to_string(), (port + 1).to_string());
    let arguments = [
        "--port",
        &text,
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &bus,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--cluster-node-timeout",
        "2000",
    ];
    RedisServer::spawn(TempDir::new().unwrap(), &arguments, Some(port))
}

/// A port that is free, and so is the next one.
fn two_ports() -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
}
