//! One [`Worker`] for each thread, on however many sockets the server listens.

use std::{
    cell::RefCell,
    sync::{Arc, Weak},
};

use actix_web::web;

use crate::proxy::{Shared, Worker};

thread_local! {
    /// The worker of this thread, as long as a service has it.
    static WORKER: RefCell<Weak<Worker>> = const { RefCell::new(Weak::new()) };
}

/// The worker of this thread for the proxy of `shared`, made with `make` if there is none.
pub(super) fn worker_of_thread(
    shared: &Arc<Shared>,
    make: impl FnOnce() -> Worker,
) -> web::Data<Worker> {
    WORKER.with_borrow_mut(|known| {
        let is_ours = |worker: &Arc<Worker>| Arc::ptr_eq(&worker.shared, shared);
        if let Some(worker) = known.upgrade().filter(is_ours) {
            return web::Data::from(worker);
        }
        let worker = web::Data::new(make());
        *known = Arc::downgrade(&worker);
        worker
    })
}
