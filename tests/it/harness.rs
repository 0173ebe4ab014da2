//! The proxy under test, in the test process and on its own port.

use std::{
    net::TcpListener,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use caching_proxy::{
    admin::{self, Caller, PurgeRequest},
    cache::{
        CacheStats, Clear, Cleared, FilterSpec, GetStats, PurgeAction, Purged, WorkerCacheMode,
    },
    clock,
    config::{Config, ConfigLoader, Flags},
    origin::{OriginUrl, tls_config},
    policy::{Mode, PerOrigin},
    reload::{OfflineChange, Reloaded},
    server::Server,
};

pub(crate) use crate::waiting::{DEADLINE, until};
use crate::{
    client::{Answer, Client, Ending},
    origin::Origin,
    ports,
};

/// The HTTP date `offset_secs` seconds from now; a negative number gives a past date.
pub(crate) fn http_date(offset_secs: i64) -> String {
    let moment = chrono::Utc::now() + chrono::Duration::seconds(offset_secs);
    moment.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

enum Order {
    Clear(mpsc::Sender<Cleared>),
    Purge(PurgeRequest, mpsc::Sender<Purged>),
    Reload(Flags, mpsc::Sender<Reloaded>),
    Offline(bool, mpsc::Sender<OfflineChange>),
    Stats(mpsc::Sender<CacheStats>),
    Stop(mpsc::Sender<()>),
}

/// A proxy before its start.
pub(crate) struct Builder {
    config: Config,
    listener: TcpListener,
}

impl Builder {
    /// Sets the policy.
    pub(crate) fn mode(self, mode: Mode) -> Self {
        self.with(|config| config.policy.mode = mode)
    }

    /// Changes anything in the configuration.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Takes policy, routes and rules from a configuration file with this text.
    pub(crate) fn file(self, text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("proxy.toml");
        std::fs::write(&path, text).unwrap();
        let flags = [
            ("config", path.into()),
            ("origin", "http://origin.test".into()),
        ];
        let loaded = Config::load(&flags.into(), &|_| None);
        let loaded = loaded.unwrap_or_else(|error| panic!("{text}: {error}"));
        let others = loaded.origins.iter().skip(1).cloned().collect();
        self.with(|config| {
            config.origins = PerOrigin::new(config.origins.first().clone(), others);
            (config.policy, config.rules) = (loaded.policy, loaded.rules);
            config.routes = loaded.routes;
        })
    }

    /// Starts the proxy and waits until it listens.
    pub(crate) fn start(self) -> TestProxy {
        let (orders, inbox) = tokio::sync::mpsc::unbounded_channel();
        let (ready, started) = mpsc::channel();
        let port = self.config.port;
        let thread = std::thread::spawn(move || {
            actix::System::new().block_on(run(self.config, self.listener, ready, inbox));
        });
        started
            .recv_timeout(DEADLINE)
            .expect("the proxy did not start");
        TestProxy {
            port,
            orders,
            thread: Some(thread),
        }
    }
}

/// Workers look in the index of the cache, unless `CACHING_PROXY_TEST_WORKER_CACHE` is `off`.
fn worker_cache() -> WorkerCacheMode {
    match std::env::var("CACHING_PROXY_TEST_WORKER_CACHE").as_deref() {
        Ok("off") => WorkerCacheMode::Off,
        Ok(other) => panic!("CACHING_PROXY_TEST_WORKER_CACHE is {other:?}, not \"off\""),
        Err(_) => WorkerCacheMode::On,
    }
}

async fn run(
    config: Config,
    listener: TcpListener,
    ready: mpsc::Sender<()>,
    mut inbox: tokio::sync::mpsc::UnboundedReceiver<Order>,
) {
    let is_tls = config.origins.iter().any(OriginUrl::is_tls);
    let tls =
        is_tls.then(|| tls_config(config.origin_ca.as_deref()).expect("the certificates are read"));
    let server = Server::start_with(Arc::new(config), tls, vec![listener], worker_cache())
        .expect("the server starts");
    ready.send(()).expect("the test waits");
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Clear(answer) => {
                let removal = server.cache().send(Clear).await.expect("the cache answers");
                let (cleared, _) = removal.confirmed().await.expect("the disk confirms it");
                answer.send(cleared).expect("the test waits");
            }
            Order::Purge(request, answer) => {
                let purged =
                    admin::purge(&server.shared(), &request, Caller::Command, clock::now()).await;
                answer.send(purged.unwrap()).expect("the test waits");
            }
            Order::Reload(flags, answer) => {
                let loader = ConfigLoader::new(flags, Config::from_flags);
                let reloaded = server.reload(loader).run().await;
                answer.send(reloaded.unwrap()).expect("the test waits");
            }
            Order::Offline(is_offline, answer) => {
                let loader = ConfigLoader::new(Flags::new(), Config::from_flags);
                let reload = server.reload(loader);
                let change = reload.set_offline(is_offline).await;
                answer.send(change).expect("the test waits");
            }
            Order::Stats(answer) => {
                let stats = server
                    .cache()
                    .send(GetStats)
                    .await
                    .expect("the cache answers");
                answer.send(stats).expect("the test waits");
            }
            Order::Stop(stopped) => {
                server.stop().await;
                stopped.send(()).ok();
                break;
            }
        }
    }
}

/// A running proxy. Dropping it stops it.
pub(crate) struct TestProxy {
    /// The listening port.
    pub(crate) port: u16,
    orders: tokio::sync::mpsc::UnboundedSender<Order>,
    thread: Option<JoinHandle<()>>,
}

impl TestProxy {
    /// A proxy for an origin URL, with the defaults except for two workers.
    pub(crate) fn for_url(url: &str) -> Builder {
        Self::on(ports::listener(), url)
    }

    /// The same on a listener of the test's.
    pub(crate) fn on(listener: TcpListener, url: &str) -> Builder {
        let origin = OriginUrl::parse(url).unwrap_or_else(|error| panic!("{url}: {error:?}"));
        let mut config = Config::for_origin(origin);
        config.port = listener.local_addr().unwrap().port();
        config.workers = 2;
        Builder { config, listener }
    }

    /// A proxy before that origin, to be set up further.
    pub(crate) fn builder(origin: &Origin) -> Builder {
        Self::for_url(&origin.url())
    }

    /// A proxy before that origin, all defaults.
    pub(crate) fn to(origin: &Origin) -> Self {
        Self::builder(origin).start()
    }

    /// Starts a proxy for this origin with this policy.
    pub(crate) fn with_mode(origin: &Origin, mode: Mode) -> Self {
        Self::builder(origin).mode(mode).start()
    }

    /// Sends an order and waits for its result.
    #[track_caller]
    fn order<T>(&self, what: &str, order: impl FnOnce(mpsc::Sender<T>) -> Order) -> T {
        let (answer, result) = mpsc::channel();
        self.orders.send(order(answer)).expect("the proxy runs");
        result
            .recv_timeout(DEADLINE)
            .unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Empties the cache and waits until that is done.
    pub(crate) fn clear(&self) -> Cleared {
        self.order("clear", Order::Clear)
    }

    /// Removes the responses that `names` match and waits until that is done.
    pub(crate) fn purge(&self, names: FilterSpec) -> Purged {
        let how = PurgeAction::Remove;
        self.order("purge", |answer| {
            Order::Purge(
                PurgeRequest {
                    names,
                    how,
                    ..PurgeRequest::default()
                },
                answer,
            )
        })
    }

    /// Activates the reloadable settings among these flags and waits until that is done.
    pub(crate) fn reload(&self, flags: Flags) -> Reloaded {
        self.order("reload", |answer| Order::Reload(flags, answer))
    }

    /// Disconnects the proxy from its origins, or connects it again, and waits until that is done.
    pub(crate) fn set_offline(&self, is_offline: bool) -> OfflineChange {
        self.order("offline", |answer| Order::Offline(is_offline, answer))
    }

    /// Waits until this number of requests has joined the fetches in progress.
    #[track_caller]
    pub(crate) fn wait_for_followers(&self, count: u64) {
        until(&format!("{count} followers"), || {
            let followers = self.stats().followers;
            assert!(followers <= count, "{followers} followers, not {count}");
            followers == count
        });
    }

    /// The statistics of the cache.
    pub(crate) fn stats(&self) -> CacheStats {
        self.order("stats", Order::Stats)
    }

    /// Stops the proxy gracefully and waits until it has stopped.
    pub(crate) fn stop(mut self) {
        let (stopped, wait) = mpsc::channel();
        self.orders
            .send(Order::Stop(stopped))
            .expect("the proxy runs");
        wait.recv_timeout(DEADLINE * 3)
            .expect("the proxy did not stop");
        self.thread.take().map(JoinHandle::join);
    }

    /// Opens a new connection.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.port)
    }

    /// Sends a GET on a new connection and reads the response.
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.get_with(target, "")
    }

    /// The same with more headers: lines, each with CRLF.
    pub(crate) fn get_with(&self, target: &str, fields: &str) -> Answer {
        self.request("GET", target, fields, b"")
    }

    /// One GET of the target for each row: the header lines of the request, and the X-Cache and body of its 200 response.
    #[track_caller]
    pub(crate) fn expect_gets(&self, target: &str, rows: &[(&str, &str, &str)]) {
        for (index, (lines, x_cache, body)) in rows.iter().enumerate() {
            let response = self.get_with(target, lines);
            let found = (response.status(), response.x_cache(), response.text());
            assert_eq!(
                (found, response.ending),
                ((200, *x_cache, (*body).to_owned()), Ending::Whole),
                "row {index}, {target} {lines:?}: {:?}",
                response.head
            );
        }
    }

    /// Sends any request on a new connection and reads the response.
    pub(crate) fn request(&self, method: &str, target: &str, fields: &str, body: &[u8]) -> Answer {
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: proxy.test\r\nConnection: close\r\n{fields}{length}\r\n"
        );
        let mut client = self.connect();
        client.send([head.as_bytes(), body].concat());
        client.answer_to(method)
    }

    /// Sends a GET on a new connection, and leaves the response unread.
    pub(crate) fn begin(&self, target: &str, fields: &str) -> Client {
        let mut client = self.connect();
        client.ask(target, fields);
        client
    }
}

impl Drop for TestProxy {
    fn drop(&mut self) {
        // Does not wait: the proxy stops in the background.
        self.orders.send(Order::Stop(mpsc::channel().0)).ok();
    }
}
