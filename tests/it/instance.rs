//! The real binary, run with separate directories for each test.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
};

use crate::{
    client::{Answer, Client},
    ports::free_port,
    waiting::{DEADLINE, until},
};

const BINARY: &str = env!("CARGO_BIN_EXE_caching-proxy");

/// Directories and environment of one test.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    /// Creates empty directories.
    pub(crate) fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        for directory in ["run", "tmp", "work"] {
            std::fs::create_dir(home.path(directory)).unwrap();
        }
        // The runtime directory of a login session is private to its user.
        let private = PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(home.path("run"), private).unwrap();
        home
    }

    /// A path inside the home.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.0.path().join(relative)
    }

    /// Writes a file below the working directory, and creates its directory.
    pub(crate) fn write(&self, relative: &str, text: &str) {
        let path = self.path("work").join(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A command that runs the binary with the directories and the environment of this home only.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.at_home(Command::new(BINARY), args)
    }

    /// A command that runs these lines of bash and then the binary, which inherits limits and open files.
    pub(crate) fn command_after(&self, lines: &str, args: &[&str]) -> Command {
        let mut shell = Command::new("bash");
        shell
            .arg("-c")
            .arg(format!("{lines}\nexec \"$0\" \"$@\""))
            .arg(BINARY);
        self.at_home(shell, args)
    }

    fn at_home(&self, mut command: Command, args: &[&str]) -> Command {
        command
            .args(args)
            .current_dir(self.path("work"))
            .env_clear();
        command
            .env("HOME", self.path("work"))
            .env("TMPDIR", self.path("tmp"));
        command.env("XDG_RUNTIME_DIR", self.path("run"));
        // Hides the proxies that run on this machine outside the test.
        command.env("CACHING_PROXY_TEST_ROOT", self.path(""));
        command
    }

    /// Runs the binary and waits for its end.
    pub(crate) fn run(&self, args: &[&str]) -> Finished {
        Finished::of(self.command(args))
    }

    /// Runs a command that must succeed with an empty stderr. Returns its stdout.
    #[track_caller]
    pub(crate) fn run_ok(&self, args: &[&str]) -> String {
        let Finished {
            code,
            stdout,
            stderr,
        } = self.run(args);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?} {stdout}");
        stdout
    }

    /// The same as [`Home::run_ok`], with stdout parsed as JSON.
    #[track_caller]
    pub(crate) fn run_json(&self, args: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.run_ok(args)).unwrap()
    }

    /// Starts a proxy for this origin on a free port.
    pub(crate) fn start(&self, origin: &str, args: &[&str]) -> Instance {
        self.start_with(origin, args, &[])
    }

    /// The same with more environment variables.
    pub(crate) fn start_with(
        &self,
        origin: &str,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Instance {
        // Another program may take the port between finding it free and binding it.
        for _ in 0..5 {
            let port = free_port();
            let mut command = self.command(&["--port", &port.to_string(), "--origin", origin]);
            command.args(args).envs(environment.iter().copied());
            if let Ok(instance) = Instance::launch(command, port) {
                return instance;
            }
        }
        panic!("no port was free five times in a row");
    }

    /// The control sockets of running and of ended instances.
    pub(crate) fn control_sockets(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for directory in ["run", "tmp"] {
            sockets_below(&self.path(directory), &mut found);
        }
        found
    }
}

fn sockets_below(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            sockets_below(&entry.path(), found);
        } else if kind.is_socket() {
            found.push(entry.path());
        }
    }
}

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit code.
    pub(crate) code: Option<i32>,
    /// All of stdout.
    pub(crate) stdout: String,
    /// All of stderr.
    pub(crate) stderr: String,
}

impl Finished {
    /// Runs the command and waits for its end. The limit is three deadlines, because a command may have several waits.
    pub(crate) fn of(command: Command) -> Self {
        let output = assert_cmd::Command::from_std(command)
            .timeout(DEADLINE * 3)
            .output()
            .unwrap();
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Panics unless the command failed with this code, an empty stdout and all these words on stderr.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(
            (self.code, self.stdout.as_str()),
            (Some(code), ""),
            "{self:?}"
        );
        for word in words {
            assert!(
                self.stderr.contains(word),
                "stderr does not say {word:?}:\n{}",
                self.stderr
            );
        }
    }
}

/// A running proxy process. Dropping it kills it.
pub(crate) struct Instance {
    /// The listening port.
    pub(crate) port: u16,
    child: Child,
    stdout: Output,
    stderr: Output,
}

impl Instance {
    /// Starts the command and waits for its two startup lines. `Err` if it ended because the port is in use.
    pub(crate) fn launch(mut command: Command, port: u16) -> Result<Self, ExitStatus> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let stderr = Output::collect(child.stderr.take().unwrap(), mpsc::channel().0);
        let (sender, lines) = mpsc::channel();
        let stdout = Output::collect(child.stdout.take().unwrap(), sender);
        for _ in 0..2 {
            if lines.recv_timeout(DEADLINE).is_err() {
                let ended = child.try_wait().unwrap().or_else(|| {
                    // stdout closes shortly before the process has ended.
                    child.kill().ok();
                    child.wait().ok()
                });
                match ended {
                    Some(status) if status.code() == Some(3) => return Err(status),
                    _ => panic!("it did not start ({ended:?}):\n{}", stderr.whole()),
                }
            }
        }
        Ok(Self {
            port,
            child,
            stdout,
            stderr,
        })
    }

    /// All of stdout so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    /// All of stderr so far.
    pub(crate) fn log(&self) -> String {
        self.stderr.so_far()
    }

    /// Waits for a log line with all these words, and returns it.
    #[track_caller]
    pub(crate) fn log_line(&self, words: &[&str]) -> String {
        let found = || {
            let log = self.log();
            log.lines()
                .find(|line| words.iter().all(|word| line.contains(word)))
                .map(str::to_owned)
        };
        until(
            &format!("a log line with {words:?} in\n{}", self.log()),
            || found().is_some(),
        );
        found().unwrap_or_default()
    }

    /// Sends a GET on a new connection and reads the response.
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.get_with(target, "")
    }

    /// The same with more headers: lines, each with CRLF.
    pub(crate) fn get_with(&self, target: &str, fields: &str) -> Answer {
        let mut client = Client::connect(self.port);
        client
            .ask(target, &format!("Connection: close\r\n{fields}"))
            .answer()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)
            .unwrap();
    }

    /// Waits for the end of the process and of its output.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        self.stdout.whole();
        self.stderr.whole();
        status.unwrap()
    }

    /// Stops the process with SIGTERM. Returns its whole log.
    pub(crate) fn whole_log(mut self) -> String {
        self.signal(rustix::process::Signal::TERM);
        self.wait();
        self.log()
    }

    /// Kills the process, so that it cannot clean up.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A memory figure of the process in bytes, by its kernel name: `VmRSS`, or `VmHWM` for the highest value so far.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The output of a process, read as it arrives.
struct Output {
    text: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
}

impl Output {
    fn collect(pipe: impl Read + Send + 'static, line_came: mpsc::Sender<()>) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let reading = std::thread::spawn({
            let text = Arc::clone(&text);
            move || {
                let mut pipe = BufReader::new(pipe);
                let mut line = Vec::new();
                while matches!(pipe.read_until(b'\n', &mut line), Ok(read) if read > 0) {
                    text.lock()
                        .unwrap()
                        .push_str(&String::from_utf8_lossy(&line));
                    line.clear();
                    line_came.send(()).ok();
                }
            }
        });
        Self { text, reading }
    }

    fn so_far(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// The whole output. Waits until the process has closed it.
    fn whole(&self) -> String {
        until("all that it wrote is read", || self.reading.is_finished());
        self.so_far()
    }
}
