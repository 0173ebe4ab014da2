//! The configuration that a request goes by.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use tokio::sync::watch;

use crate::{
    config::{Config, Selection},
    observe::{Observer, RouteSlot},
    policy::{PerRoute, Route},
    proxy::request::{name_table::NameTable, recent_heads::RecentHeads},
    reload::{ActiveConfig, CacheState},
};

/// The configuration that a request goes by, from its beginning to its end.
pub(crate) struct RequestConfig {
    pub(crate) config: Arc<Config>,
    pub(crate) names: NameTable,
    pub(crate) recent_heads: RecentHeads,
    allows_fast_path: bool,
    depends_on_host: bool,
    cache_state: CacheState,
    /// Where the requests of each route are counted.
    route_slots: PerRoute<RouteSlot>,
}

impl RequestConfig {
    fn new(in_force: &ActiveConfig, observer: &Observer) -> Rc<Self> {
        let routes = &in_force.config.routes;
        let slot = |route: &Route| observer.route_slot(&route.name);
        let names = NameTable::new(&in_force.config);
        Rc::new(Self {
            route_slots: routes.map(RouteSlot::DEFAULT, slot),
            config: Arc::clone(&in_force.config),
            // A header that the proxy sets itself differs from what the client sent, so it must not make the identity. With
            // --cors a response depends on the site that asks. Offline other rules hold.
            allows_fast_path: !in_force.config.cors
                && !in_force.config.offline
                && !names.sets_credential(),
            names,
            recent_heads: RecentHeads::default(),
            depends_on_host: in_force.config.depends_on_host(),
            cache_state: in_force.cache_state,
        })
    }

    /// Where a request to which this applies is counted.
    pub(crate) fn route_slot(&self, selection: Selection) -> RouteSlot {
        *self.route_slots.get(selection.route())
    }

    /// Whether a plain hit may take the fast path.
    pub(crate) fn allows_fast_path(&self) -> bool {
        self.allows_fast_path && self.may_use_cache()
    }

    /// Whether the route or the key may depend on the Host of the client.
    pub(crate) fn depends_on_host(&self) -> bool {
        self.depends_on_host
    }

    /// Whether what is stored may be served.
    pub(crate) fn may_use_cache(&self) -> bool {
        self.cache_state == CacheState::Usable
    }
}

/// The newest configuration, as one worker knows it. Checking for a newer one reads one number.
pub(crate) struct WorkerConfig {
    current: RefCell<Rc<RequestConfig>>,
    updates: RefCell<watch::Receiver<ActiveConfig>>,
    observer: Arc<Observer>,
}

impl WorkerConfig {
    pub(crate) fn new(mut updates: watch::Receiver<ActiveConfig>, observer: Arc<Observer>) -> Self {
        let current = RequestConfig::new(&updates.borrow_and_update(), &observer);
        Self {
            observer,
            current: RefCell::new(current),
            updates: RefCell::new(updates),
        }
    }

    /// What a request that begins now goes by.
    pub(crate) fn current(&self) -> Rc<RequestConfig> {
        // A closed channel means that nothing is left that could change the configuration.
        if self.updates.borrow().has_changed().unwrap_or(false) {
            let mut updates = self.updates.borrow_mut();
            let current = RequestConfig::new(&updates.borrow_and_update(), &self.observer);
            self.current.replace(current);
        }
        Rc::clone(&self.current.borrow())
    }

    /// Whether a request that begins now would go by `config`.
    pub(crate) fn is_current(&self, config: &Arc<Config>) -> bool {
        Arc::ptr_eq(&self.current().config, config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::LiveRequests;

    fn in_force() -> ActiveConfig {
        let config = Config::for_origin("http://origin.test".parse().unwrap());
        ActiveConfig::new(Arc::new(config))
    }

    #[test]
    fn a_request_keeps_its_configuration_and_the_next_request_gets_the_new_one() {
        let (first, second) = (in_force(), in_force());
        let (sender, updates) = watch::channel(first.clone());
        let worker_config =
            WorkerConfig::new(updates, Arc::new(Observer::new(LiveRequests::Off, 1)));
        let began_before = worker_config.current();
        assert!(Rc::ptr_eq(&began_before, &worker_config.current()));
        sender.send_replace(second.clone());
        assert!(Arc::ptr_eq(&began_before.config, &first.config));
        assert!(Arc::ptr_eq(&worker_config.current().config, &second.config));
        assert!(
            !worker_config.is_current(&first.config) && worker_config.is_current(&second.config)
        );
        drop(sender);
        assert!(worker_config.is_current(&second.config));
    }
}
