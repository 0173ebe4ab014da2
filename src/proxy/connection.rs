//! What the handler and the stream of a client's connection tell each other.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::Waker,
};

/// A client's connection, as its handler knows it.
#[derive(Clone, Debug, Default)]
pub struct Connection(Rc<State>);

#[derive(Debug, Default)]
struct State {
    requests: Cell<u64>,
    answering: Cell<bool>,
    upload: Cell<Upload>,
    open_ended: Cell<bool>,
    broken: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upload {
    /// There is none.
    #[default]
    None,
    /// So many bytes.
    Sized(u64),
    /// In chunks.
    Chunked,
}

impl Connection {
    /// How many requests it has brought to the handler.
    pub fn requests(&self) -> u64 {
        self.0.requests.get()
    }

    /// True while the answer to the last of them is under way.
    pub fn is_answering(&self) -> bool {
        self.0.answering.get()
    }

    /// What follows the head of the last one.
    pub fn upload(&self) -> Upload {
        self.0.upload.get()
    }

    /// True while an answer is under way that may pause for ever, so that only the client can tell when it is over.
    pub fn is_open_ended(&self) -> bool {
        self.is_answering() && self.0.open_ended.get()
    }

    /// True when an answer broke off whose end the client could take for the end of a whole one.
    pub fn is_broken(&self) -> bool {
        self.0.broken.get()
    }

    /// Wakes the task of the connection when a handler begins or ends.
    pub fn wake_later(&self, waker: &Waker) {
        let mut kept = self.0.waker.borrow_mut();
        match &mut *kept {
            Some(kept) => kept.clone_from(waker),
            None => *kept = Some(waker.clone()),
        }
    }

    fn changed(&self) {
        let waker = self.0.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Tells the connection that an answer is under way, until it is dropped.
pub(super) struct Busy(Option<Connection>);

impl Busy {
    pub(super) fn new(connection: Option<&Connection>, upload: Upload) -> Self {
        if let Some(connection) = connection {
            let state = &connection.0;
            state.requests.set(state.requests.get() + 1);
            state.answering.set(true);
            state.open_ended.set(false);
            state.upload.set(upload);
            connection.changed();
        }
        Self(connection.cloned())
    }
}

impl Busy {
    pub(super) fn open_ended(&self) {
        if let Some(connection) = &self.0 {
            connection.0.open_ended.set(true);
            connection.changed();
        }
    }

    pub(super) fn broken(&self) {
        if let Some(connection) = &self.0 {
            connection.0.broken.set(true);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.0.answering.set(false);
            connection.changed();
        }
    }
}
