//! A proxy whose stdout and stderr nobody reads: a pager that waits, a stopped terminal, a stuck collector of logs.

use std::{
    io::{ErrorKind, PipeReader, PipeWriter, Write as _},
    net::TcpStream,
    process::{Child, Stdio},
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    process::{Pid, Signal, kill_process},
};

use crate::{client::Client, harness::until, instance::Home, origin::Origin, ports::free_port};

/// A pipe that is full. Nobody reads it as long as its reader is held.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    loop {
        match writer.write(&[b'\n'; 512]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

/// A proxy that is killed when the test fails.
struct Unread(Child);

impl Drop for Unread {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_proxy_whose_output_nobody_reads_serves_clears_and_stops() {
    let origin = Origin::counting("");
    let home = Home::new();
    let (_stdout, to_stdout) = full_pipe();
    let (_stderr, to_stderr) = full_pipe();
    let port = free_port();
    let mut command = home.command(&["--port", &port.to_string(), "--origin", &origin.url()]);
    let child = command
        .stdin(Stdio::null())
        .stdout(to_stdout)
        .stderr(to_stderr)
        .spawn();
    let mut proxy = Unread(child.unwrap());
    until("it serves", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    // The address may be there before the control socket.
    until("it can be cleared", || {
        home.run(&["--clear-cache", "--port", &port.to_string()])
            .stderr
            == "0 entries, 0 B, 1 proxy\n"
    });
    for round in 0..2 {
        for number in 0..50 {
            let mut client = Client::connect(port);
            let target = format!("/{number}");
            let answer = client.ask(&target, "Connection: close\r\n").answer();
            answer.expect(200, "MISS", &format!("GET {target} #{round}"));
        }
        let cleared = home.run(&["--clear-cache"]);
        assert_eq!(
            (cleared.code, cleared.stdout.as_str()),
            (Some(0), "Cache cleared\n")
        );
    }
    kill_process(Pid::from_child(&proxy.0), Signal::TERM).unwrap();
    let mut status = None;
    until("the proxy has stopped", || {
        status = proxy.0.try_wait().unwrap();
        status.is_some()
    });
    assert!(status.unwrap().success(), "{status:?}");
}
