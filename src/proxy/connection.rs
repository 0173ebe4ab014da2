//! A client's connection, as the handler and the server share it.

use std::{
    cell::{Cell, Ref, RefCell},
    rc::{Rc, Weak},
    task::Waker,
};

use actix_web::{
    HttpMessage as _, HttpRequest,
    http::{StatusCode, Version},
};

use crate::{
    headers::ClientScheme,
    proxy::{
        request::plain::PlainHeaders, request_config::RequestConfig,
        response::client_response::SentHeaders, tunnel::established::Tunnel,
    },
};

/// How many bytes of interim responses may wait for a client. Those beyond are dropped.
const MAX_INTERIM_BYTES: usize = 64 * 1024;
/// Longer header lines of a request are not kept, in bytes.
const MAX_KEPT_LINES_BYTES: usize = 2 * 1024;

/// A client's connection. Clones are the same connection. The default one has no TLS.
#[derive(Clone, Default)]
pub struct Connection(Rc<ConnectionState>);

/// What is known of the last request, and what its handler passes to the server beside the response.
#[derive(Default)]
struct ConnectionState {
    scheme: ClientScheme,
    /// How many requests there were.
    requests: Cell<u64>,
    /// The final response to the last request has not begun.
    is_awaited: Cell<bool>,
    /// The last request is of HTTP/1.1 or later.
    understands_interim: Cell<bool>,
    /// The client awaits a 100 before it sends the body (RFC 9110, 10.1.1).
    expects_continue: Cell<bool>,
    /// The client has got a 100, or will get it.
    continued: Cell<bool>,
    /// Interim responses that are not being written yet.
    interim: RefCell<Vec<u8>>,
    /// An [`InterimSender`] exists for the last request.
    relays_interim: Cell<bool>,
    /// The task of the connection, while interim responses could be written.
    waker: RefCell<Option<Waker>>,
    open_ended: Cell<bool>,
    /// The first header lines of the response, until the server takes them.
    headers: Cell<SentHeaders>,
    /// A tunnel, until the server takes it.
    tunnel: RefCell<Option<Box<Tunnel>>>,
    last_headers: RefCell<LastHeaders>,
}

/// The headers of the last request. A client mostly sends the same ones with each request of a connection.
#[derive(Default)]
struct LastHeaders {
    /// The lines as they came; empty if they are not known, or too long.
    lines: Vec<u8>,
    /// What they mean under a configuration.
    meaning: Cell<Option<PlainHeaders>>,
    config: Weak<RequestConfig>,
}

impl Connection {
    /// A connection with or without TLS.
    pub fn new(scheme: ClientScheme) -> Self {
        Self(Rc::new(ConnectionState {
            scheme,
            ..ConnectionState::default()
        }))
    }

    /// Whether it has TLS.
    pub(crate) fn scheme(&self) -> ClientScheme {
        self.0.scheme
    }

    /// The connection that `request` came on; a new one outside of a server, in tests.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let extensions = request.extensions();
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// The next request has these header lines; none if they are not those that it is passed on with.
    pub fn receive_header_lines(&self, lines: &[u8]) {
        let mut last = self.0.last_headers.borrow_mut();
        if lines.is_empty() || last.lines != lines {
            last.meaning.set(None);
            last.lines.clear();
            if lines.len() <= MAX_KEPT_LINES_BYTES {
                last.lines.extend_from_slice(lines);
            }
        }
    }

    /// The header lines of the last request, as its client sent them; empty if they are not known, or too long.
    pub(crate) fn header_lines(&self) -> Ref<'_, Vec<u8>> {
        Ref::map(self.0.last_headers.borrow(), |last| &last.lines)
    }

    /// What the headers of the last request mean under `config`: unset before somebody sets it, for this request or for one
    /// before it with the same header lines.
    pub(crate) fn meaning_of_headers(
        &self,
        config: &Rc<RequestConfig>,
    ) -> Ref<'_, Cell<Option<PlainHeaders>>> {
        if self.0.last_headers.borrow().config.as_ptr() != Rc::as_ptr(config) {
            let mut last = self.0.last_headers.borrow_mut();
            last.meaning.set(None);
            last.config = Rc::downgrade(config);
        }
        Ref::map(self.0.last_headers.borrow(), |last| &last.meaning)
    }

    /// A request of this version has arrived. With `expects_continue` its client awaits a 100 before it sends the body.
    pub fn begin(&self, version: Version, expects_continue: bool) {
        let state = &self.0;
        state.requests.set(state.requests.get() + 1);
        state.is_awaited.set(true);
        state.understands_interim.set(version >= Version::HTTP_11);
        state.expects_continue.set(expects_continue);
        state.continued.set(false);
        state.relays_interim.set(false);
        state.open_ended.set(false);
        state.headers.take();
        // A fetch that goes on for others may have sent some to a request that was abandoned.
        state.interim.borrow_mut().clear();
    }

    /// The final response begins. Interim responses that precede it may be left; `None` if there are none.
    pub fn response_begins(&self) -> Option<Vec<u8>> {
        self.0.is_awaited.set(false);
        self.take_interim()
    }

    /// True if an interim response may be written now: its client understands it (RFC 9110, 15.2), and the final response
    /// has not begun.
    pub fn takes_interim(&self) -> bool {
        self.0.is_awaited.get() && self.0.understands_interim.get()
    }

    /// Complete interim responses that are to be written; `None` if there are none.
    pub fn take_interim(&self) -> Option<Vec<u8>> {
        let is_empty = self.0.interim.borrow().is_empty();
        (!is_empty).then(|| self.0.interim.take())
    }

    /// Wakes the task of the connection when there are interim responses to write.
    pub fn wake_on_interim(&self, waker: &Waker) {
        if self.0.relays_interim.get() {
            let mut registered = self.0.waker.borrow_mut();
            match &mut *registered {
                Some(registered) => registered.clone_from(waker),
                None => *registered = Some(waker.clone()),
            }
        }
    }

    /// True if the response may pause for ever, so that only the client's departure ends it.
    pub fn is_open_ended(&self) -> bool {
        self.0.open_ended.get()
    }

    /// The response may pause for ever.
    pub(crate) fn set_open_ended(&self) {
        self.0.open_ended.set(true);
    }

    /// The headers of the response, which actix-web's response does not have: it keeps neither their order nor their names
    /// as they were written.
    pub fn take_headers(&self) -> SentHeaders {
        self.0.headers.take()
    }

    pub(crate) fn set_headers(&self, headers: SentHeaders) {
        self.0.headers.set(headers);
    }

    /// The tunnel that begins after the response; `None` if there is none.
    pub fn take_tunnel(&self) -> Option<Box<Tunnel>> {
        self.0.tunnel.take()
    }

    pub(crate) fn start_tunnel(&self, tunnel: Tunnel) {
        self.0.tunnel.replace(Some(Box::new(tunnel)));
    }

    /// True if the client of the last request awaits a 100 before it sends the body, and has got none.
    pub(crate) fn awaits_continue(&self) -> bool {
        self.0.expects_continue.get() && !self.0.continued.get()
    }

    /// The sender of interim responses to the last request.
    pub(crate) fn interim_sender(&self) -> InterimSender {
        self.0.relays_interim.set(true);
        InterimSender {
            request: self.0.requests.get(),
            connection: self.clone(),
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
        let is_repeated = status == StatusCode::CONTINUE && state.continued.get();
        if !state.is_awaited.get() || is_repeated || state.requests.get() != self.request {
            return;
        }
        let mut interim = state.interim.borrow_mut();
        if interim.len() + head.len() <= MAX_INTERIM_BYTES {
            interim.extend_from_slice(head);
            drop(interim);
            if status == StatusCode::CONTINUE {
                state.continued.set(true);
            }
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::watch;

    use super::*;
    use crate::{
        config::Config,
        observe::{LiveRequests, Observer},
        policy::RequestFields,
        proxy::request_config::WorkerConfig,
        reload::ActiveConfig,
    };

    fn request_config() -> Rc<RequestConfig> {
        let config = Config::for_origin("http://origin.test".parse().unwrap());
        let (_, updates) = watch::channel(ActiveConfig::new(Arc::new(config)));
        let observer = Arc::new(Observer::new(LiveRequests::Off, 1));
        WorkerConfig::new(updates, observer).current()
    }

    fn begin(connection: &Connection) -> InterimSender {
        connection.begin(Version::HTTP_11, false);
        connection.interim_sender()
    }

    #[test]
    fn what_headers_mean_is_known_as_long_as_lines_and_configuration_are_the_same() {
        let long = [b'a'; MAX_KEPT_LINES_BYTES + 1];
        let (config, other) = (request_config(), request_config());
        let connection = Connection::default();
        for (lines, config, is_known) in [
            (&b"A: b\r\n\r\n"[..], &config, false),
            (b"A: b\r\n\r\n", &config, true),
            (b"A: B\r\n\r\n", &config, false),
            (b"A: b\r\n\r\n", &config, false),
            (b"A: b\r\n\r\n", &other, false),
            (b"A: b\r\n\r\n", &other, true),
            (b"", &other, false),
            (b"", &other, false),
            (&long, &other, false),
            (&long, &other, false),
            (&long[1..], &other, false),
            (&long[1..], &other, true),
        ] {
            connection.receive_header_lines(lines);
            let meaning = connection.meaning_of_headers(config);
            let known = meaning.replace(Some(PlainHeaders::Anonymous(RequestFields::default())));
            assert_eq!(known.is_some(), is_known, "{}", lines.escape_ascii());
        }
    }

    #[test]
    fn interim_responses_are_taken_together_and_once() {
        let connection = Connection::default();
        let sender = begin(&connection);
        sender.send(StatusCode::PROCESSING, b"b");
        sender.send(StatusCode::PROCESSING, b"c");
        assert_eq!(connection.take_interim(), Some(b"bc".to_vec()));
        assert_eq!(connection.take_interim(), None);
    }

    #[test]
    fn interim_responses_precede_the_final_response_of_their_request() {
        let connection = Connection::default();
        let sender = begin(&connection);
        sender.send(StatusCode::PROCESSING, b"a");
        assert_eq!(connection.response_begins(), Some(b"a".to_vec()));
        sender.send(StatusCode::PROCESSING, b"too late");
        assert_eq!(connection.take_interim(), None);
        let _next = begin(&connection);
        sender.send(StatusCode::PROCESSING, b"of the request before");
        assert_eq!(connection.take_interim(), None);
    }

    #[test]
    fn interim_responses_to_an_abandoned_request_are_not_for_the_next() {
        let connection = Connection::default();
        let sender = begin(&connection);
        sender.send(StatusCode::PROCESSING, b"of the abandoned request");
        let _next = begin(&connection);
        assert_eq!(connection.take_interim(), None);
    }

    #[test]
    fn a_client_gets_one_100_for_a_request() {
        let connection = Connection::default();
        connection.begin(Version::HTTP_11, true);
        let sender = connection.interim_sender();
        assert!(connection.awaits_continue());
        sender.send_continue();
        sender.send_continue();
        assert!(!connection.awaits_continue());
        let one = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
        assert_eq!(connection.take_interim(), Some(one));
    }

    #[test]
    fn interim_responses_that_are_not_taken_are_bounded() {
        let connection = Connection::default();
        let sender = begin(&connection);
        for _ in 0..10 {
            sender.send(StatusCode::PROCESSING, &[b'x'; MAX_INTERIM_BYTES / 4]);
        }
        assert_eq!(connection.take_interim().unwrap().len(), MAX_INTERIM_BYTES);
    }
}
