//! A page of a FastAPI server with a WebSocket and an event stream, in a browser.

use crate::{
    application::{Application, python, source},
    chromium::Browser,
    instance::Home,
};

pub(crate) fn socket_and_event_stream_run_in_both_directions() {
    let home = Home::new();
    let mut server = python(&home, "fastapi");
    server.arg(source("fastapi/app.py"));
    let application = Application::start(&home, server);
    let proxy = home.start(&application.url(), &[]);
    let browser = Browser::open(&home);
    browser.go(&format!("http://127.0.0.1:{}/", proxy.port));
    // The page asks for each event over the socket when it has seen the one before.
    browser.shows("#events", "1;2;3;");
    browser.shows("#socket", "echo of next;echo of next;echo of enough;");
    // The page again: a new socket and a new stream, which begins at its first event.
    browser.reload();
    browser.shows("#events", "1;2;3;");
    for outcome in ["MISS", "HIT"] {
        proxy.get("/items/7").expect(200, outcome, "{\"number\":7}");
        let wrong = proxy.get("/items/seven");
        assert_eq!((wrong.status(), wrong.x_cache()), (422, "MISS"));
    }
    drop(application);
    browser.shows("#socket", "closed;");
    proxy.log_line(&["101 GET /socket"]);
}
