//! `caching-proxy demo`: a small slow API and the proxy in front of it, in one process.

mod api;

use std::{
    env,
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
};

use caching_proxy::config::{Config, ConfigError, ConfigLoader, Flags};

use crate::{failure::Failure, inherited::InheritedSockets, listen, serve::Startup};

/// Any free port of this machine alone.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Serves until a signal ends it. `port` is the proxy's; `None` means any free port.
pub(super) fn run(port: Option<u16>) -> Result<(), Failure> {
    let api = TcpListener::bind(ANY_PORT).map_err(Failure::Start)?;
    let origin = format!("http://{}", api.local_addr().map_err(Failure::Start)?);
    let mut address = ANY_PORT;
    address.set_port(port.unwrap_or(0));
    let proxy = listen::bind(address)?;
    let port = proxy.local_addr().map_err(Failure::Start)?.port();
    let flags = Flags::from([
        ("port", OsString::from(port.to_string())),
        ("origin", origin.into()),
    ]);
    let startup = Startup {
        config: Arc::new(load(&flags)?),
        loader: ConfigLoader::new(flags, load),
        hints: Some(hints(&program(), port)),
        inherited: InheritedSockets::default(),
        takes_over: false,
    };
    std::thread::spawn(move || {
        if let Err(error) = api::serve(api) {
            log::error!("the demo API has stopped: {error}");
        }
    });
    startup.serve(|_| Ok(vec![proxy]))
}

/// The defaults and a dashboard. No file and no variable is read: the demo works in any directory.
fn load(flags: &Flags) -> Result<Config, ConfigError> {
    Ok(Config {
        dashboard: Some(ANY_PORT),
        ..Config::from_flags(flags)?
    })
}

/// The command by which this program was started, if it can be typed again without quotes.
fn program() -> String {
    let typed = env::args().next().filter(|name| {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
        !name.is_empty() && name.chars().all(is_plain)
    });
    typed.unwrap_or_else(|| env!("CARGO_PKG_NAME").to_owned())
}

/// The commands to try, and what to look at in each.
fn hints(program: &str, port: u16) -> String {
    let curl = "curl -sS -D - -w '%{time_total} s\\n'";
    format!(
        "
The proxy runs in front of a demo API that needs 0.3 seconds for each response.
Try these commands in another terminal:

  {curl} http://127.0.0.1:{port}/products/1
      Run it twice. First: X-Cache: MISS, 0.3 s. Then: X-Cache: HIT, almost no time.

  {curl} http://127.0.0.1:{port}/no-store
  {program} why /no-store --port {port}
      Always X-Cache: MISS. The second command explains why.

  {program} --clear-cache --port {port}
      Empties the cache: the next request for /products/1 is a MISS again.

More paths: /products?limit=3 /hello /me /login /no-cache /slow /image /moved /broken
The dashboard above shows each request. Ctrl-C ends the demo.
"
    )
}
