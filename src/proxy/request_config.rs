//! The configuration in force, as one worker knows it.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use actix_web::HttpRequest;
use tokio::sync::watch;

use crate::{
    config::Config,
    policy::Time,
    proxy::{hit::fast_path::FastPath, response::client_response::ClientResponse, worker::Worker},
    reload::{ActiveConfig, CacheState},
};

/// What one request goes by, from its beginning to its end.
pub(crate) struct RequestConfig {
    pub(crate) config: Arc<Config>,
    quick: FastPath,
    stored: CacheState,
}

impl RequestConfig {
    fn new(in_force: &ActiveConfig) -> Rc<Self> {
        Rc::new(Self {
            config: Arc::clone(&in_force.config),
            quick: FastPath::new(&in_force.config),
            stored: in_force.cache_state,
        })
    }

    /// The answer to `request`, where it is plain and a hit.
    pub(crate) fn quick_answer(
        &self,
        request: &HttpRequest,
        worker: &Worker,
        now: Time,
    ) -> Option<ClientResponse> {
        let policy = &self.config.policy;
        let hit = || self.quick.answer(request, worker, policy, now);
        self.may_use_cache().then(hit).flatten()
    }

    /// Whether what is stored may answer.
    pub(crate) fn may_use_cache(&self) -> bool {
        self.stored == CacheState::Usable
    }
}

/// The newest configuration. To look whether there is a newer one is to read one number.
pub(crate) struct WorkerConfig {
    current: RefCell<Rc<RequestConfig>>,
    news: RefCell<watch::Receiver<ActiveConfig>>,
}

impl WorkerConfig {
    pub(crate) fn new(mut news: watch::Receiver<ActiveConfig>) -> Self {
        let current = RequestConfig::new(&news.borrow_and_update());
        Self {
            current: RefCell::new(current),
            news: RefCell::new(news),
        }
    }

    /// What a request that begins now goes by.
    pub(crate) fn get(&self) -> Rc<RequestConfig> {
        // Nobody who could change it is left when the channel is closed.
        if self.news.borrow().has_changed().unwrap_or(false) {
            let current = RequestConfig::new(&self.news.borrow_mut().borrow_and_update());
            self.current.replace(current);
        }
        Rc::clone(&self.current.borrow())
    }

    /// Whether a request that goes by `config` would do so if it began now.
    pub(crate) fn is(&self, config: &Arc<Config>) -> bool {
        Arc::ptr_eq(&self.get().config, config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_force() -> ActiveConfig {
        let config = Config::for_origin("http://origin.test".parse().unwrap());
        ActiveConfig::new(Arc::new(config))
    }

    #[test]
    fn a_request_keeps_what_it_began_with_and_the_next_one_gets_what_is_new() {
        let (first, second) = (in_force(), in_force());
        let (sender, news) = watch::channel(first.clone());
        let newest = WorkerConfig::new(news);
        let began_before = newest.get();
        assert!(Rc::ptr_eq(&began_before, &newest.get()));
        sender.send_replace(second.clone());
        assert!(Arc::ptr_eq(&began_before.config, &first.config));
        assert!(Arc::ptr_eq(&newest.get().config, &second.config));
        assert!(!newest.is(&first.config) && newest.is(&second.config));
        drop(sender);
        assert!(newest.is(&second.config));
    }
}
