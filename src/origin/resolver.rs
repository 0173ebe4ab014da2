//! The addresses of the origin's name.

use std::{cell::RefCell, io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{
    FutureExt as _,
    future::{LocalBoxFuture, Shared},
};
use tokio::{
    net::lookup_host,
    time::{Instant, timeout},
};

/// How long the addresses of a name are used before it is looked up again.
const ADDRESSES_TTL: Duration = Duration::from_secs(10);
/// How long old addresses are used after a look-up that failed, before the next one.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// How long a request waits for a look-up if no connection to the old addresses could be opened.
const LOOKUP_LIMIT: Duration = Duration::from_secs(1);

/// Looks up one name, one look-up at a time. Old addresses are used while a look-up is in progress, and while look-ups fail.
pub(super) struct Resolver {
    /// For the log.
    name: String,
    start: Box<dyn Fn() -> LocalBoxFuture<'static, Outcome>>,
    state: RefCell<Addresses>,
}

type Outcome = Result<Arc<[SocketAddr]>, Arc<io::Error>>;

#[derive(Default)]
struct Addresses {
    /// `None` until a look-up has succeeded.
    known: Option<Known>,
    /// The look-up in progress, and its number; `None` if there is none.
    lookup: Option<(u64, Shared<LocalBoxFuture<'static, Outcome>>)>,
    lookups: u64,
}

struct Known {
    addresses: Arc<[SocketAddr]>,
    /// When the name is looked up again.
    until: Instant,
    /// No connection to them could be opened: the name may have moved.
    is_doubtful: bool,
}

/// How long a request waits for a look-up.
enum Patience {
    None,
    Limited,
    Unlimited,
}

impl Resolver {
    /// The addresses of this host, with this port.
    pub(super) fn new(host: &str, port: u16) -> Self {
        let name = host.to_owned();
        Self::with(host, move || look_up(name.clone(), port).boxed_local())
    }

    fn with(name: &str, start: impl Fn() -> LocalBoxFuture<'static, Outcome> + 'static) -> Self {
        Self {
            name: name.to_owned(),
            start: Box::new(start),
            state: RefCell::default(),
        }
    }

    /// The addresses, never none.
    ///
    /// # Errors
    /// The name was never looked up successfully, and this time neither.
    pub(super) async fn addresses(&self, now: Instant) -> io::Result<Arc<[SocketAddr]>> {
        let patience = match &self.state.borrow().known {
            Some(known) if known.is_doubtful => Patience::Limited,
            Some(known) if now < known.until => return Ok(Arc::clone(&known.addresses)),
            Some(_) => Patience::None,
            None => Patience::Unlimited,
        };
        let (number, lookup) = self.lookup();
        let outcome = match patience {
            // This starts the look-up, which goes on in a thread of its own, or learns its result.
            Patience::None => lookup.now_or_never(),
            Patience::Limited => timeout(LOOKUP_LIMIT, lookup).await.ok(),
            Patience::Unlimited => Some(lookup.await),
        };
        if let Some(outcome) = &outcome {
            self.settle(number, outcome, now);
        }
        match (&self.state.borrow().known, outcome) {
            (Some(known), _) => Ok(Arc::clone(&known.addresses)),
            (None, Some(Err(error))) => Err(io::Error::new(error.kind(), error.to_string())),
            (None, _) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// No connection to the addresses could be opened.
    pub(super) fn doubt(&self) {
        if let Some(known) = &mut self.state.borrow_mut().known {
            known.is_doubtful = true;
        }
    }

    /// The look-up in progress, or a new one.
    fn lookup(&self) -> (u64, Shared<LocalBoxFuture<'static, Outcome>>) {
        let mut state = self.state.borrow_mut();
        if let Some(lookup) = &state.lookup {
            return lookup.clone();
        }
        state.lookups += 1;
        let lookup = (state.lookups, (self.start)().shared());
        state.lookup.insert(lookup).clone()
    }

    /// Notes how a look-up ended. Only the first request that learns it does so.
    fn settle(&self, number: u64, outcome: &Outcome, now: Instant) {
        let mut state = self.state.borrow_mut();
        if state
            .lookup
            .as_ref()
            .is_none_or(|lookup| lookup.0 != number)
        {
            return;
        }
        state.lookup = None;
        match (outcome, &mut state.known) {
            (Ok(addresses), known) => {
                *known = Some(Known {
                    addresses: Arc::clone(addresses),
                    until: now + ADDRESSES_TTL,
                    is_doubtful: false,
                });
            }
            (Err(error), Some(known)) => {
                log::warn!(
                    "cannot look up {}: {error}; its old addresses are used",
                    self.name
                );
                known.until = now + RETRY_INTERVAL;
                known.is_doubtful = false;
            }
            (Err(_), None) => {}
        }
    }
}

async fn look_up(host: String, port: u16) -> Outcome {
    let addresses: Arc<[SocketAddr]> = lookup_host((host, port)).await?.collect();
    match addresses.is_empty() {
        true => Err(Arc::new(io::ErrorKind::NotFound.into())),
        false => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, rc::Rc};

    use futures_util::future::join_all;
    use tokio::sync::oneshot;

    use super::*;

    /// A resolver, and the look-ups that it has started.
    struct Script {
        resolver: Resolver,
        started: Rc<RefCell<VecDeque<oneshot::Sender<Outcome>>>>,
        begun: Instant,
    }

    impl Script {
        fn new() -> Self {
            let started = Rc::new(RefCell::new(VecDeque::new()));
            let lookups = Rc::clone(&started);
            let resolver = Resolver::with("origin.test", move || {
                let (sender, receiver) = oneshot::channel();
                lookups.borrow_mut().push_back(sender);
                async { receiver.await.unwrap() }.boxed_local()
            });
            Self {
                resolver,
                started,
                begun: Instant::now(),
            }
        }

        /// Ends the only look-up in progress.
        fn finish(&self, outcome: Outcome) {
            assert_eq!(self.started.borrow().len(), 1);
            let lookup = self.started.borrow_mut().pop_front().unwrap();
            lookup.send(outcome).unwrap();
        }

        fn idle(&self) -> bool {
            self.started.borrow().is_empty()
        }

        /// What a request gets this many seconds after the start without waiting.
        fn at(&self, seconds: u64) -> Option<u8> {
            let now = self.begun + Duration::from_secs(seconds);
            let addresses = self.resolver.addresses(now).now_or_never()?.unwrap();
            let [SocketAddr::V4(address)] = &*addresses else {
                panic!("{addresses:?}")
            };
            Some(address.ip().octets()[3])
        }

        /// A resolver that knows 192.0.2.1 since second 0.
        async fn knowing() -> Self {
            let script = Self::new();
            let asking = script.resolver.addresses(script.begun);
            let answering = async { script.finish(address(1)) };
            tokio::join!(asking, answering).0.unwrap();
            script
        }
    }

    fn address(last: u8) -> Outcome {
        Ok(Arc::new([SocketAddr::from(([192, 0, 2, last], 80))]))
    }

    fn failed() -> Outcome {
        Err(Arc::new(io::Error::other("no answer")))
    }

    #[tokio::test]
    async fn many_requests_share_one_lookup() {
        let script = Script::new();
        let asking = join_all((0..50).map(|_| script.resolver.addresses(script.begun)));
        let (found, ()) = tokio::join!(asking, async { script.finish(address(1)) });
        assert!(found.into_iter().all(|found| found.is_ok()));
        assert_eq!((script.at(9), script.idle()), (Some(1), true));
    }

    #[tokio::test]
    async fn old_addresses_are_used_during_a_lookup_and_new_ones_after_it() {
        let script = Script::knowing().await;
        for _ in 0..3 {
            assert_eq!(script.at(10), Some(1));
        }
        script.finish(address(2));
        assert_eq!(script.at(11), Some(2));
        assert_eq!((script.at(20), script.idle()), (Some(2), true));
    }

    #[tokio::test]
    async fn old_addresses_are_used_while_lookups_fail() {
        let script = Script::knowing().await;
        for begun in [10, 15, 20] {
            assert_eq!(script.at(begun), Some(1));
            script.finish(failed());
            assert_eq!(script.at(begun), Some(1));
            assert_eq!((script.at(begun + 4), script.idle()), (Some(1), true));
        }
    }

    #[tokio::test]
    async fn a_lookup_is_awaited_where_the_old_addresses_do_not_work() {
        let script = Script::knowing().await;
        for (outcome, expected) in [(address(2), 2), (failed(), 2)] {
            script.resolver.doubt();
            let asking = script.resolver.addresses(script.begun);
            let (found, ()) = tokio::join!(asking, async { script.finish(outcome) });
            let expected = address(expected).unwrap();
            assert_eq!(found.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn a_name_that_was_never_found_is_looked_up_at_each_request() {
        let script = Script::new();
        for _ in 0..2 {
            let asking = script.resolver.addresses(script.begun);
            let (found, ()) = tokio::join!(asking, async { script.finish(failed()) });
            assert_eq!(found.unwrap_err().to_string(), "no answer");
        }
    }
}
