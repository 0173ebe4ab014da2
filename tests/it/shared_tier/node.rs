//! A proxy that uses a Redis server.

use rustix::process::Signal;

use super::server::RedisServer;
use crate::{
    instance::{Home, Instance},
    origin::Origin,
    waiting::until,
};

/// A proxy with its home.
pub(super) struct Node {
    pub(super) home: Home,
    pub(super) proxy: Instance,
    origin: String,
    args: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

impl Node {
    /// Starts a proxy that uses `redis`, and waits until it does.
    pub(super) fn start(origin: &Origin, redis: &RedisServer, args: &[&str]) -> Self {
        Self::start_at(origin, &redis.url(), args)
    }

    /// Starts a proxy that uses the Redis of this URL, and waits until it does.
    pub(super) fn start_at(origin: &Origin, url: &str, args: &[&str]) -> Self {
        Self::start_in(origin, url, args, Vec::new())
    }

    /// The same with more environment variables.
    pub(super) fn start_in(
        origin: &Origin,
        url: &str,
        args: &[&str],
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        let args: Vec<String> = ["--redis", url]
            .iter()
            .chain(args)
            .map(|arg| (*arg).to_owned())
            .collect();
        let home = Home::new();
        let proxy = launch(&home, &origin.url(), &args, &environment);
        let node = Self {
            home,
            proxy,
            origin: origin.url(),
            args,
            environment,
        };
        node.wait_until_used();
        node
    }

    /// Stops the proxy as a service manager does.
    pub(super) fn stop(&mut self) {
        self.proxy.signal(Signal::TERM);
        assert!(self.proxy.wait().success(), "{}", self.proxy.log());
    }

    /// Kills the proxy, so that it cannot clean up.
    pub(super) fn kill(&mut self) {
        self.proxy.signal(Signal::KILL);
        self.proxy.wait();
    }

    /// Starts it again in its home, and waits until it uses Redis.
    pub(super) fn start_again(&mut self) {
        self.launch_again();
        self.wait_until_used();
    }

    /// Starts it again in its home.
    pub(super) fn launch_again(&mut self) {
        self.proxy = launch(&self.home, &self.origin, &self.args, &self.environment);
    }

    fn stats(&self) -> serde_json::Value {
        self.home.run_json(&["stats", "--json"])
    }

    pub(super) fn shared_stats(&self) -> serde_json::Value {
        self.stats()["shared"].clone()
    }

    pub(super) fn wait_until_used(&self) {
        until("Redis is in use", || self.is_used());
    }

    /// Whether Redis is in use.
    pub(super) fn is_used(&self) -> bool {
        self.shared_stats()["bypassed"].is_null()
    }

    /// How often it has looked into Redis.
    pub(super) fn lookups(&self) -> u64 {
        self.shared_stats()["lookups"].as_u64().unwrap()
    }

    /// Runs a command until it holds at all instances that Redis knows. While Redis is younger than the lease, there could be
    /// others.
    pub(super) fn run_everywhere(&self, args: &[&str]) {
        until("it holds at all instances", || {
            let finished = self.home.run(&[args, &["--wait", "1s"]].concat());
            let others_alone = "cache. Redis may not know all proxies that share the cache, ";
            match finished.code {
                Some(0) => true,
                Some(4) => finished.stderr.contains(others_alone),
                _ => panic!("{args:?}: {finished:?}"),
            }
        });
    }

    /// Waits until so many responses are on disk.
    pub(super) fn settle_on_disk(&self, responses: u64) {
        until("everything is on disk", || {
            let disk = self.stats()["disk"].clone();
            disk["responses"] == responses && disk["waiting_bytes"] == 0
        });
    }
}

fn launch(
    home: &Home,
    origin: &str,
    args: &[String],
    environment: &[(&'static str, String)],
) -> Instance {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let environment = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    let environment: Vec<(&str, &str)> = environment.collect();
    home.start_with(origin, &args, &environment)
}
