//! What the handler and the stream of a client's connection tell each other.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::Waker,
};

use crate::proxy::response::zero_copy::ZeroCopyBody;

/// A client's connection, as its handler knows it.
#[derive(Clone, Debug, Default)]
pub struct Connection(Rc<State>);

#[derive(Debug, Default)]
struct State {
    requests: Cell<u64>,
    stage: Cell<Stage>,
    /// Somebody would tell this request's client of interim responses.
    listening: Cell<bool>,
    /// All that was written before the answer to the last request has left.
    settled: Cell<bool>,
    /// Heads of interim responses to the last request that are not being written yet.
    interim: RefCell<Vec<u8>>,
    upload: Cell<RequestFraming>,
    /// A body whose head has been handed to the server, and which nobody writes yet.
    outgoing: RefCell<Option<Box<ZeroCopyBody>>>,
    /// Such a body is under way.
    sending: Cell<bool>,
    open_ended: Cell<bool>,
    broken: Cell<bool>,
    /// Of the connection's task while its next step is the handler's to allow.
    in_turn: TaskWaker,
    /// Of the same task while interim responses could leave at once.
    told: TaskWaker,
}

/// Wakes a task, once for each time it asked for that.
#[derive(Debug, Default)]
struct TaskWaker(RefCell<Option<Waker>>);

impl TaskWaker {
    fn set(&self, waker: &Waker) {
        let mut kept = self.0.borrow_mut();
        match &mut *kept {
            Some(kept) => kept.clone_from(waker),
            None => *kept = Some(waker.clone()),
        }
    }

    fn ring(&self) {
        let waker = self.0.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// How far the answer to the last request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing of it is left to come.
    #[default]
    Over,
    /// The handler has none yet.
    Awaited,
    /// It is on its way to the client.
    Leaving,
}

/// How much of interim responses may wait for a client, in bytes; what goes beyond is not told.
const MAX_INTERIM_BYTES: usize = 64 * 1024;

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestFraming {
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
        self.0.stage.get() != Stage::Over
    }

    /// What follows the head of the last one.
    pub fn upload(&self) -> RequestFraming {
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

    /// To be called whenever everything has left that was to be written.
    pub fn flushed(&self, waker: &Waker) {
        // Of an answer that is leaving more may follow. Of one that is awaited nothing was written: what came before
        // it is out, and so is a 100 (Continue).
        if self.0.stage.get() == Stage::Awaited {
            self.0.settled.set(true);
            if self.0.listening.get() {
                self.0.told.set(waker);
            }
        }
    }

    /// Heads of interim responses, whole, that may be written now, before anything else is.
    pub fn take_interim(&self) -> Option<Vec<u8>> {
        if !self.0.settled.get() || self.0.interim.borrow().is_empty() {
            return None;
        }
        Some(self.0.interim.take())
    }

    /// The body that is to be written behind what the server has written, and before what it will. Whoever takes it has
    /// to say when it has left.
    pub fn take_outgoing(&self) -> Option<Box<ZeroCopyBody>> {
        match self.0.sending.get() {
            true => self.0.outgoing.take(),
            false => None,
        }
    }

    /// The body that was taken has left.
    pub fn outgoing_has_left(&self) {
        self.0.sending.set(false);
    }

    pub(crate) fn hand_over(&self, outgoing: Box<ZeroCopyBody>) {
        self.0.sending.set(true);
        self.0.outgoing.replace(Some(outgoing));
    }

    pub(crate) fn is_sending(&self) -> bool {
        self.0.sending.get()
    }

    /// Wakes the task of the connection when a handler begins or ends.
    pub fn wake_later(&self, waker: &Waker) {
        self.0.in_turn.set(waker);
    }
}

/// Tells the connection that an answer is under way, until it is dropped.
pub(crate) struct ActiveRequest(Option<Connection>);

impl ActiveRequest {
    pub(crate) fn new(connection: Option<&Connection>, upload: RequestFraming) -> Self {
        if let Some(connection) = connection {
            let state = &connection.0;
            state.requests.set(state.requests.get() + 1);
            state.stage.set(Stage::Awaited);
            state.listening.set(false);
            state.settled.set(false);
            state.interim.take();
            state.open_ended.set(false);
            state.upload.set(upload);
            state.in_turn.ring();
        }
        Self(connection.cloned())
    }
}

impl ActiveRequest {
    /// Who may tell the client of interim responses to the request that has just come. None outside of a connection.
    pub(crate) fn listen(&self) -> Option<InterimSender> {
        let connection = self.0.clone()?;
        connection.0.listening.set(true);
        Some(InterimSender {
            request: connection.requests(),
            connection,
        })
    }

    /// The connection, where it could write the body of the answer by itself: while nothing more comes of the request,
    /// nothing but that body follows its head.
    pub(crate) fn writer(&self) -> Option<&Connection> {
        let connection = self.0.as_ref()?;
        (connection.upload() == RequestFraming::None).then_some(connection)
    }

    /// The final answer begins.
    pub(crate) fn leaves(&self) {
        if let Some(connection) = &self.0 {
            let state = &connection.0;
            state.stage.set(Stage::Leaving);
            if !state.settled.get() {
                // From here on nobody could say where among the bytes of answers they belong.
                state.interim.take();
            }
        }
    }

    pub(crate) fn open_ended(&self) {
        if let Some(connection) = &self.0 {
            connection.0.open_ended.set(true);
            connection.0.in_turn.ring();
        }
    }

    pub(crate) fn broken(&self) {
        if let Some(connection) = &self.0 {
            connection.0.broken.set(true);
        }
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.0.stage.set(Stage::Over);
            connection.0.in_turn.ring();
        }
    }
}

/// Tells a client of interim responses while it waits for the answer to one request.
pub(crate) struct InterimSender {
    connection: Connection,
    request: u64,
}

impl InterimSender {
    /// Hands on the head of one. It is dropped when it comes too late, or when too much waits for the client.
    pub(crate) fn tell(&self, head: &[u8]) {
        let state = &self.connection.0;
        if state.stage.get() != Stage::Awaited || self.connection.requests() != self.request {
            return;
        }
        let mut interim = state.interim.borrow_mut();
        if interim.len() + head.len() <= MAX_INTERIM_BYTES {
            interim.extend_from_slice(head);
            drop(interim);
            state.told.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(connection: &Connection) -> (ActiveRequest, InterimSender) {
        let busy = ActiveRequest::new(Some(connection), RequestFraming::None);
        let listener = busy.listen().unwrap();
        (busy, listener)
    }

    #[test]
    fn interim_responses_wait_until_what_came_before_them_has_left() {
        let connection = Connection::default();
        let (_busy, listener) = begin(&connection);
        listener.tell(b"a");
        assert_eq!(connection.take_interim(), None);
        connection.flushed(Waker::noop());
        assert_eq!(connection.take_interim(), Some(b"a".to_vec()));
        listener.tell(b"b");
        listener.tell(b"c");
        assert_eq!(connection.take_interim(), Some(b"bc".to_vec()));
        assert_eq!(connection.take_interim(), None);
    }

    #[test]
    fn interim_responses_that_could_leave_do_so_before_the_answer() {
        let connection = Connection::default();
        let (busy, listener) = begin(&connection);
        connection.flushed(Waker::noop());
        listener.tell(b"a");
        busy.leaves();
        listener.tell(b"too late");
        drop(busy);
        assert_eq!(connection.take_interim(), Some(b"a".to_vec()));
    }

    #[test]
    fn interim_responses_overtaken_by_their_answer_are_dropped() {
        let connection = Connection::default();
        let (busy, listener) = begin(&connection);
        listener.tell(b"a");
        busy.leaves();
        connection.flushed(Waker::noop());
        assert_eq!(connection.take_interim(), None);
        drop(busy);
        connection.flushed(Waker::noop());
        let (_busy, _listener) = begin(&connection);
        connection.flushed(Waker::noop());
        listener.tell(b"of the request before");
        assert_eq!(connection.take_interim(), None);
    }

    #[test]
    fn interim_responses_that_nobody_takes_are_bounded() {
        let connection = Connection::default();
        let (_busy, listener) = begin(&connection);
        for _ in 0..10 {
            listener.tell(&[b'x'; MAX_INTERIM_BYTES / 4]);
        }
        connection.flushed(Waker::noop());
        assert_eq!(connection.take_interim().unwrap().len(), MAX_INTERIM_BYTES);
    }
}
