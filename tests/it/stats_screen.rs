//! `stats --watch` in a real terminal that can be scripted: tmux. Ignored unless asked for:
//! `cargo test -- --include-ignored` runs these tests, and they fail where tmux is missing.

use std::{path::PathBuf, process::Command};

use crate::{
    chromium::installed,
    harness::until,
    instance::{Home, Instance},
    origin::Origin,
};

/// A terminal that runs one command. Dropping it ends it.
struct Terminal<'a> {
    home: &'a Home,
    tmux: PathBuf,
}

impl<'a> Terminal<'a> {
    /// Runs `stats --watch`.
    fn watching(home: &'a Home, proxy: &Instance, columns: &str, rows: &str) -> Self {
        let terminal = Self {
            home,
            tmux: installed("tmux"),
        };
        let program = env!("CARGO_BIN_EXE_caching-proxy");
        let port = proxy.port;
        let line = format!("'{program}' stats --watch --port {port}; echo code $?; exec cat");
        terminal.run(&["new-session", "-d", "-x", columns, "-y", rows, &line]);
        terminal
    }

    fn run(&self, args: &[&str]) -> String {
        let home = self.home;
        let mut tmux = Command::new(&self.tmux);
        tmux.arg("-f").arg("/dev/null");
        tmux.arg("-S").arg(home.path("tmp/tmux")).args(args);
        tmux.env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap());
        tmux.env("HOME", home.path("work"));
        tmux.env("XDG_RUNTIME_DIR", home.path("run"));
        tmux.env("TERM", "xterm").env("LANG", "C.UTF-8");
        String::from_utf8(tmux.output().unwrap().stdout).unwrap()
    }

    /// The visible lines.
    fn lines(&self) -> Vec<String> {
        let shown = self.run(&["capture-pane", "-p"]);
        shown.trim_end().lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn shows(&self, words: &str) {
        until(&format!("{words:?} in {:#?}", self.lines()), || {
            self.lines().iter().any(|line| line.contains(words))
        });
    }

    fn ask(&self, format: &str) -> String {
        self.run(&["display-message", "-p", format])
            .trim()
            .to_owned()
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}

/// A proxy that has had requests of every kind.
fn busy(home: &Home) -> (Origin, Instance) {
    let origin = Origin::start(|exchange| match exchange.target().as_str() {
        "/no-store" => exchange.ok("Cache-Control: no-store\r\n", "body"),
        "/cookie" => exchange.ok("Set-Cookie: a=b\r\n", "body"),
        "/vary" => exchange.ok("Vary: *\r\n", "body"),
        "/no-cache" => exchange.ok("Cache-Control: no-cache\r\nETag: \"a\"\r\n", "body"),
        "/broken" => exchange.send("nonsense\r\n\r\n"),
        _ => exchange.ok("", "body"),
    });
    let proxy = home.start(&origin.url(), &[]);
    for target in ["/a", "/a", "/no-store", "/cookie", "/vary", "/broken"] {
        proxy.get(target);
    }
    for field in ["no-cache", "no-store", "max-age=0"] {
        proxy.get_with("/a", &format!("Cache-Control: {field}\r\n"));
    }
    proxy.get_with("/b", "Cache-Control: only-if-cached\r\n");
    proxy.get("/no-cache");
    proxy.get("/no-cache");
    (origin, proxy)
}

#[test]
#[ignore = "needs tmux: cargo test -- --include-ignored"]
fn the_screen_fits_the_terminal_and_follows_its_size() {
    let home = Home::new();
    let (_origin, proxy) = busy(&home);
    let terminal = Terminal::watching(&home, &proxy, "80", "24");
    terminal.shows("in the last second");
    let lines = terminal.lines();
    assert!(lines.len() <= 24, "{lines:#?}");
    assert!(lines[0].contains("on port"), "{lines:#?}");
    for title in ["Responses", "Why misses went", "Not stored", "Failed"] {
        assert!(
            lines.iter().any(|line| line.starts_with(title)),
            "{lines:#?}"
        );
    }
    terminal.run(&["resize-window", "-x", "40", "-y", "10"]);
    terminal.shows(" more lines");
    let lines = terminal.lines();
    assert!(lines[0].contains("on port"), "{lines:#?}");
    assert_eq!(lines.len(), 10, "{lines:#?}");
    terminal.run(&["resize-window", "-x", "120", "-y", "60"]);
    until("all of it is shown again", || {
        let lines = terminal.lines();
        lines.len() > 24 && lines.iter().all(|line| !line.contains(" more "))
    });
}

#[test]
#[ignore = "needs tmux: cargo test -- --include-ignored"]
fn an_interrupt_restores_the_terminal_and_shows_the_last_figures() {
    let home = Home::new();
    let (_origin, proxy) = busy(&home);
    let terminal = Terminal::watching(&home, &proxy, "100", "50");
    terminal.shows("Hit ratio");
    until("it has a screen of its own, without a cursor", || {
        terminal.ask("#{alternate_on} #{cursor_flag}") == "1 0"
    });
    terminal.run(&["send-keys", "C-c"]);
    terminal.shows("code 0");
    assert_eq!(terminal.ask("#{alternate_on} #{cursor_flag}"), "0 1");
    terminal.shows("Hit ratio");
    terminal.shows("policy = \"always\" in a rule caches it");
}

#[test]
#[ignore = "needs tmux: cargo test -- --include-ignored"]
fn the_end_of_the_proxy_ends_the_screen_and_restores_the_terminal() {
    let home = Home::new();
    let (_origin, mut proxy) = busy(&home);
    let terminal = Terminal::watching(&home, &proxy, "100", "50");
    terminal.shows("Hit ratio");
    proxy.signal(rustix::process::Signal::TERM);
    assert!(proxy.wait().success());
    terminal.shows("error: ");
    terminal.shows("code ");
    assert_eq!(terminal.ask("#{alternate_on} #{cursor_flag}"), "0 1");
    terminal.shows("Hit ratio");
}
