//! A client's connection, as the handler and the stream of the connection share it.

use std::{
    cell::{Cell, RefCell},
    fmt,
    io::IoSlice,
    rc::Rc,
    task::Waker,
};

use actix_web::http::{StatusCode, Version};
use bytes::{Buf as _, Bytes};

use crate::{
    cache::Slices,
    proxy::{
        request::framing::{BodyFault, RequestFraming},
        response::{access_log::Fate, transfer_log::TransferLog},
        tunnel::established::Tunnel,
    },
};

/// How many bytes of interim responses may wait for a client. Those beyond are dropped.
const MAX_INTERIM_BYTES: usize = 64 * 1024;

/// A client's connection. Clones are the same connection.
#[derive(Clone, Debug, Default)]
pub struct Connection(Rc<ConnectionState>);

#[derive(Debug, Default)]
struct ConnectionState {
    requests: Cell<u64>,
    stage: Cell<ResponseStage>,
    /// An [`InterimSender`] exists for the last request.
    relays_interim: Cell<bool>,
    /// Everything that was written before the response to the last request is sent.
    flushed: Cell<bool>,
    /// Interim responses to the last request that are not being written yet.
    interim: RefCell<Vec<u8>>,
    framing: Cell<RequestFraming>,
    /// The last request is of HTTP/1.1 or later.
    understands_interim: Cell<bool>,
    /// The client of the last request has got a 100 for it, or will get it.
    continued: Cell<bool>,
    /// A body that the stream is to write, until the stream takes it.
    zero_copy: RefCell<Option<Box<ZeroCopyBody>>>,
    /// Such a body is being sent, or waits for that.
    sends_zero_copy: Cell<bool>,
    /// A tunnel, until the stream takes it.
    tunnel: RefCell<Option<Box<Tunnel>>>,
    /// A tunnel is open, or waits for the stream.
    is_tunnelling: Cell<bool>,
    open_ended: Cell<bool>,
    broken: Cell<bool>,
    /// Whether the framing of the last request's body is invalid. The connection ends with it.
    body_fault: BodyFault,
    /// The connection's task, while it waits for the handler.
    handler_waker: TaskWaker,
    /// The connection's task, while interim responses could be written at once.
    interim_waker: TaskWaker,
}

/// Wakes a task, once for each time that the task has asked for it.
#[derive(Debug, Default)]
struct TaskWaker(RefCell<Option<Waker>>);

impl TaskWaker {
    fn register(&self, waker: &Waker) {
        let mut registered = self.0.borrow_mut();
        match &mut *registered {
            Some(registered) => registered.clone_from(waker),
            None => *registered = Some(waker.clone()),
        }
    }

    fn wake(&self) {
        let waker = self.0.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// How far the response to the last request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ResponseStage {
    /// It is complete, or there was no request.
    #[default]
    Complete,
    /// The handler has none yet.
    Awaited,
    /// It is being sent.
    Sending,
}

impl Connection {
    /// How many requests have reached the handler.
    pub fn requests(&self) -> u64 {
        self.0.requests.get()
    }

    /// True until the response to the last request is complete.
    pub fn is_responding(&self) -> bool {
        self.0.stage.get() != ResponseStage::Complete
    }

    /// The framing of the last request.
    pub fn framing(&self) -> RequestFraming {
        self.0.framing.get()
    }

    /// True while a response is sent that may pause for ever, so that only the client's departure ends it.
    pub fn is_open_ended(&self) -> bool {
        self.is_responding() && self.0.open_ended.get()
    }

    /// True if a response was cut whose end the client could take for the end of a complete one.
    pub fn is_broken(&self) -> bool {
        self.0.broken.get()
    }

    /// The framing of the last request's body turned out to be invalid.
    pub fn set_body_malformed(&self) {
        self.0.body_fault.set();
    }

    /// Must be called whenever everything that was to be written is sent.
    pub fn flushed(&self, waker: &Waker) {
        // More may follow of a response that is being sent. Of an awaited one nothing is written yet: everything before
        // it is sent, a 100 (Continue) included.
        if self.0.stage.get() == ResponseStage::Awaited {
            self.0.flushed.set(true);
            if self.0.relays_interim.get() {
                self.0.interim_waker.register(waker);
            }
        }
    }

    /// True if an interim response may be written now: its client understands it (RFC 9110, 15.2), and the final response
    /// has not begun.
    pub fn takes_interim(&self) -> bool {
        let state = &self.0;
        state.stage.get() == ResponseStage::Awaited
            && state.flushed.get()
            && state.understands_interim.get()
    }

    /// Complete interim responses that may be written now, before anything else; `None` if there are none.
    pub fn take_interim(&self) -> Option<Vec<u8>> {
        if !self.0.flushed.get() || self.0.interim.borrow().is_empty() {
            return None;
        }
        Some(self.0.interim.take())
    }

    /// The body that is to be written after what actix-http has written, and before what it will write; `None` if there
    /// is none. The caller reports its end with [`Connection::zero_copy_sent`].
    pub fn take_zero_copy(&self) -> Option<Box<ZeroCopyBody>> {
        match self.0.sends_zero_copy.get() {
            true => self.0.zero_copy.take(),
            false => None,
        }
    }

    /// The body that was taken is sent.
    pub fn zero_copy_sent(&self) {
        self.0.sends_zero_copy.set(false);
    }

    pub(crate) fn start_zero_copy(&self, body: Box<ZeroCopyBody>) {
        self.0.sends_zero_copy.set(true);
        self.0.zero_copy.replace(Some(body));
    }

    pub(crate) fn is_sending_zero_copy(&self) -> bool {
        self.0.sends_zero_copy.get()
    }

    /// The tunnel that begins after everything that actix-http has written; `None` if there is none. The caller reports its
    /// end with [`Connection::tunnel_ended`].
    pub fn take_tunnel(&self) -> Option<Box<Tunnel>> {
        match self.is_tunnelling() {
            true => self.0.tunnel.take(),
            false => None,
        }
    }

    /// The tunnel that was taken has ended.
    pub fn tunnel_ended(&self) {
        self.0.is_tunnelling.set(false);
    }

    pub(crate) fn start_tunnel(&self, tunnel: Box<Tunnel>) {
        self.0.is_tunnelling.set(true);
        self.0.tunnel.replace(Some(tunnel));
    }

    pub(crate) fn is_tunnelling(&self) -> bool {
        self.0.is_tunnelling.get()
    }

    /// Wakes the connection's task when a handler begins or ends.
    pub fn wake_on_progress(&self, waker: &Waker) {
        self.0.handler_waker.register(waker);
    }
}

/// A request whose response is under way, until this is dropped.
pub(crate) struct ActiveRequest(Option<Connection>);

impl ActiveRequest {
    /// The request that has reached the handler; `connection` is `None` outside of a server, in tests.
    pub(crate) fn new(
        connection: Option<&Connection>,
        version: Version,
        framing: RequestFraming,
    ) -> Self {
        if let Some(connection) = connection {
            let state = &connection.0;
            state.requests.set(state.requests.get() + 1);
            state.stage.set(ResponseStage::Awaited);
            state.relays_interim.set(false);
            state.flushed.set(false);
            state.interim.take();
            state.open_ended.set(false);
            state.framing.set(framing);
            state.understands_interim.set(version >= Version::HTTP_11);
            state.continued.set(false);
            state.handler_waker.wake();
        }
        Self(connection.cloned())
    }

    /// Whether the framing of the request's body turns out to be invalid.
    pub(crate) fn body_fault(&self) -> BodyFault {
        let connection = self.0.as_ref();
        connection.map_or_else(BodyFault::default, |connection| {
            connection.0.body_fault.clone()
        })
    }

    /// The sender of interim responses to this request; `None` without a connection.
    pub(crate) fn interim_sender(&self) -> Option<InterimSender> {
        let connection = self.0.clone()?;
        connection.0.relays_interim.set(true);
        Some(InterimSender {
            request: connection.requests(),
            connection,
        })
    }

    /// True if the client was told to send the body that it announced with Expect.
    pub(crate) fn is_continued(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|connection| connection.0.continued.get())
    }

    /// The connection; `None` outside of a server, in tests.
    pub(crate) fn connection(&self) -> Option<&Connection> {
        self.0.as_ref()
    }

    /// The connection, if its stream may write the body of the response; `None` if more of the request may arrive. Then
    /// actix-http could write something between the headers and that body.
    pub(crate) fn zero_copy_connection(&self) -> Option<&Connection> {
        let connection = self.0.as_ref()?;
        (connection.framing() == RequestFraming::None).then_some(connection)
    }

    /// The final response begins.
    pub(crate) fn response_begins(&self) {
        if let Some(connection) = &self.0 {
            let state = &connection.0;
            state.stage.set(ResponseStage::Sending);
            if !state.flushed.get() {
                // Their place before the bytes of the final response is lost.
                state.interim.take();
            }
        }
    }

    /// The response may pause for ever.
    pub(crate) fn set_open_ended(&self) {
        if let Some(connection) = &self.0 {
            connection.0.open_ended.set(true);
            connection.0.handler_waker.wake();
        }
    }

    /// The response was cut, and the client could take that for its end.
    pub(crate) fn set_broken(&self) {
        if let Some(connection) = &self.0 {
            connection.0.broken.set(true);
        }
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.0.stage.set(ResponseStage::Complete);
            connection.0.handler_waker.wake();
        }
    }
}

/// Sends interim responses to a client that waits for the response to one request.
pub(crate) struct InterimSender {
    connection: Connection,
    request: u64,
}

impl InterimSender {
    /// Sends a 100 (Continue) unless the client has got one for this request.
    pub(crate) fn send_continue(&self) {
        self.send(StatusCode::CONTINUE, b"HTTP/1.1 100 Continue\r\n\r\n");
    }

    /// Sends one interim response. It is dropped if the final response has begun, if too many bytes wait, or if it is a
    /// second 100.
    pub(crate) fn send(&self, status: StatusCode, head: &[u8]) {
        let state = &self.connection.0;
        let is_awaited = state.stage.get() == ResponseStage::Awaited;
        let is_repeated = status == StatusCode::CONTINUE && state.continued.get();
        if !is_awaited || is_repeated || self.connection.requests() != self.request {
            return;
        }
        let mut interim = state.interim.borrow_mut();
        if interim.len() + head.len() <= MAX_INTERIM_BYTES {
            interim.extend_from_slice(head);
            drop(interim);
            if status == StatusCode::CONTINUE {
                state.continued.set(true);
            }
            state.interim_waker.wake();
        }
    }
}

/// A stored body that the stream of the connection writes itself.
pub struct ZeroCopyBody {
    source: ZeroCopySource,
    log: TransferLog,
    /// Keeps the request active as long as this body is sent; `None` if actix-http waits for its end.
    active: Option<ActiveRequest>,
}

/// The bytes of a [`ZeroCopyBody`].
pub(crate) enum ZeroCopySource {
    Bytes(Bytes),
    Slices(Slices),
}

impl ZeroCopyBody {
    pub(crate) fn new(source: ZeroCopySource, log: TransferLog) -> Self {
        Self {
            source,
            log,
            active: None,
        }
    }

    /// The request stays active until this body is sent.
    pub(crate) fn keep_active(&mut self, active: ActiveRequest) {
        self.active = Some(active);
    }

    /// How many bytes are still to be written.
    pub(crate) fn left_bytes(&self) -> u64 {
        match &self.source {
            ZeroCopySource::Bytes(bytes) => bytes.len() as u64,
            ZeroCopySource::Slices(slices) => slices.left_bytes(),
        }
    }

    /// Fills `slices` with the bytes that come next, a piece in each, and returns how many it has filled.
    pub fn fill_io_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        match (&self.source, slices) {
            (ZeroCopySource::Bytes(bytes), [slice, ..]) if !bytes.is_empty() => {
                *slice = IoSlice::new(bytes);
                1
            }
            (ZeroCopySource::Bytes(_), _) => 0,
            (ZeroCopySource::Slices(stored), slices) => stored.fill_io_slices(slices),
        }
    }

    /// Notes that this many bytes were written.
    pub fn written(&mut self, bytes: usize) {
        match &mut self.source {
            ZeroCopySource::Bytes(all) => all.advance(bytes.min(all.len())),
            ZeroCopySource::Slices(slices) => slices.advance(bytes as u64),
        }
        self.log.sent(bytes);
        if self.is_complete() {
            self.log.ended(Fate::Whole);
        }
    }

    /// True if actix-http waits for the end of this body.
    pub fn is_awaited(&self) -> bool {
        self.active.is_none()
    }

    /// True if all bytes are written.
    pub fn is_complete(&self) -> bool {
        self.left_bytes() == 0
    }
}

impl fmt::Debug for ZeroCopyBody {
    /// Leaves out the connection, which holds this body.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left_bytes = self.left_bytes();
        formatter
            .debug_struct("ZeroCopyBody")
            .field("left_bytes", &left_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(connection: &Connection) -> (ActiveRequest, InterimSender) {
        let active = ActiveRequest::new(Some(connection), Version::HTTP_11, RequestFraming::None);
        let sender = active.interim_sender().unwrap();
        (active, sender)
    }

    #[test]
    fn interim_responses_wait_until_everything_before_them_is_sent() {
        let connection = Connection::default();
        let (_busy, sender) = begin(&connection);
        sender.send(StatusCode::PROCESSING, b"a");
        assert_eq!(connection.take_interim(), None);
        connection.flushed(Waker::noop());
        assert_eq!(connection.take_interim(), Some(b"a".to_vec()));
        sender.send(StatusCode::PROCESSING, b"b");
        sender.send(StatusCode::PROCESSING, b"c");
        assert_eq!(connection.take_interim(), Some(b"bc".to_vec()));
        assert_eq!(connection.take_interim(), None);
    }

    #[test]
    fn interim_responses_that_can_be_sent_go_before_the_response() {
        let connection = Connection::default();
        let (active, sender) = begin(&connection);
        connection.flushed(Waker::noop());
        sender.send(StatusCode::PROCESSING, b"a");
        active.response_begins();
        sender.send(StatusCode::PROCESSING, b"too late");
        drop(active);
        assert_eq!(connection.take_interim(), Some(b"a".to_vec()));
    }

    #[test]
    fn interim_responses_overtaken_by_the_final_response_are_dropped() {
        let connection = Connection::default();
        let (active, sender) = begin(&connection);
        sender.send(StatusCode::PROCESSING, b"a");
        active.response_begins();
        connection.flushed(Waker::noop());
        assert_eq!(connection.take_interim(), None);
        drop(active);
        connection.flushed(Waker::noop());
        let (_busy, _sender) = begin(&connection);
        connection.flushed(Waker::noop());
        sender.send(StatusCode::PROCESSING, b"of the request before");
        assert_eq!(connection.take_interim(), None);
    }

    #[test]
    fn interim_responses_that_are_not_taken_are_bounded() {
        let connection = Connection::default();
        let (_busy, sender) = begin(&connection);
        for _ in 0..10 {
            sender.send(StatusCode::PROCESSING, &[b'x'; MAX_INTERIM_BYTES / 4]);
        }
        connection.flushed(Waker::noop());
        assert_eq!(connection.take_interim().unwrap().len(), MAX_INTERIM_BYTES);
    }
}
