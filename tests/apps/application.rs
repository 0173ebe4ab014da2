//! The processes of an application, and where its parts are.

use std::{
    fs::File,
    io::Write as _,
    net::TcpStream,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{
    instance::{Finished, Home},
    ports::free_port,
    waiting::until,
};

/// What `tests/apps/install` has installed by this name.
pub(crate) fn packages(name: &str) -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.join("target/apps").join(name)
}

/// A file beside the tests.
pub(crate) fn source(path: &str) -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.join("tests/apps").join(path)
}

/// The path by which programs are found. Debian has servers in `/usr/sbin`, which is not on the path of every user.
fn path() -> String {
    format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default())
}

fn program(name: &str) -> Option<PathBuf> {
    let path = path();
    let mut found = std::env::split_paths(&path).map(|directory| directory.join(name));
    found.find(|program| program.is_file())
}

/// Whether there is a program with this name; for `apps/NAME`, whether `tests/apps/install` has installed NAME.
pub(crate) fn is_installed(name: &str) -> bool {
    match name.strip_prefix("apps/") {
        Some(name) => packages(name).join("installed").exists(),
        None => program(name).is_some(),
    }
}

/// A command that has the directories of the home, and none of the settings of the person who runs the test.
pub(crate) fn command(home: &Home, program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command
        .current_dir(home.path("work"))
        .env_clear()
        .env("PATH", path())
        .env("HOME", home.path("work"))
        .env("TMPDIR", home.path("tmp"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null());
    command
}

/// A command that runs Python with the packages of that name.
pub(crate) fn python(home: &Home, name: &str) -> Command {
    let mut python = command(home, packages("python").join("bin/python"));
    python.env("PYTHONPATH", packages(name).join("packages"));
    python
}

/// A command that runs a script in Node with the packages of that name.
pub(crate) fn node(home: &Home, name: &str, script: impl AsRef<Path>) -> Command {
    let mut node = command(home, "node");
    node.env("NODE_PATH", packages(name).join("node_modules"));
    node.arg(script.as_ref());
    node
}

/// Runs a command that must succeed. Returns what it wrote to stdout.
#[track_caller]
pub(crate) fn output(command: Command) -> String {
    let what = format!("{command:?}");
    let finished = Finished::of(command);
    assert_eq!(finished.code, Some(0), "{what}: {finished:?}");
    finished.stdout
}

/// A server that runs. Dropping it ends it and the processes that it started.
pub(crate) struct Application {
    /// The port on which it listens.
    pub(crate) port: u16,
    child: Child,
    output: PathBuf,
}

impl Application {
    /// Starts a server, which gets the port as its last argument, and waits until it listens.
    pub(crate) fn start(home: &Home, mut command: Command) -> Self {
        let port = free_port();
        command.arg(port.to_string());
        Self::start_on(port, home, command)
    }

    /// Starts a server that listens on this port, and waits until it does.
    pub(crate) fn start_on(port: u16, home: &Home, mut command: Command) -> Self {
        let output = home.path(&format!("tmp/{port}.output"));
        let written = File::create(&output).unwrap();
        let child = command
            .stdout(written.try_clone().unwrap())
            .stderr(written)
            .process_group(0)
            .spawn()
            .unwrap();
        let mut application = Self {
            port,
            child,
            output,
        };
        until("the application listens", || {
            let ended = application.child.try_wait().unwrap();
            assert!(ended.is_none(), "{command:?} ended: {ended:?}");
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        application
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it has written so far.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        if std::thread::panicking() {
            write!(std::io::stderr(), "its output:\n{}", self.output()).ok();
        }
        kill_process_group(Pid::from_child(&self.child), Signal::KILL).ok();
        self.child.wait().ok();
    }
}
