//! A page of Vite's development server. Its client reloads modules over a WebSocket.

use std::fs;

use crate::{
    application::{Application, node, packages, source},
    chromium::Browser,
    instance::Home,
    ports::free_port,
    waiting::until,
};

pub(crate) fn an_edit_shows_without_a_reload() {
    let home = Home::new();
    for file in ["index.html", "main.js", "text.js"] {
        let text = fs::read_to_string(source("vite").join(file)).unwrap();
        home.write(&format!("page/{file}"), &text);
    }
    let port = free_port();
    let mut server = node(
        &home,
        "vite",
        packages("vite").join("node_modules/vite/bin/vite.js"),
    );
    server
        .args([
            "--host",
            "127.0.0.1",
            "--strictPort",
            "--port",
            &port.to_string(),
        ])
        .current_dir(home.path("work/page"));
    let application = Application::start_on(port, &home, server);
    let proxy = home.start(&application.url(), &[]);
    let browser = Browser::open(&home);
    browser.go(&format!("http://127.0.0.1:{}/", proxy.port));
    browser.shows("#text", "before the edit");
    browser.eval("window.mark = 'not reloaded'");
    // Without the proxy's tunnel, the client would connect to the port of Vite itself.
    until("a tunnel is open", || {
        home.run_json(&["stats", "--json"])["tunnels"]["open"] == 1
    });

    home.write("page/text.js", "export const text = \"after the edit\";\n");
    browser.shows("#text", "after the edit");
    assert_eq!(browser.eval("window.mark"), "not reloaded");
    // A reload gets what is now, and not what was cached before the edit.
    browser.reload();
    browser.shows("#text", "after the edit");
    let complaints = browser.complaints();
    let is_about_the_socket = |line: &String| line.contains("WebSocket");
    assert!(
        !complaints.iter().any(is_about_the_socket),
        "{complaints:?}"
    );
    // A change of the page itself makes the client load it again.
    let page = fs::read_to_string(source("vite/index.html")).unwrap();
    home.write(
        "page/index.html",
        &page.replace("<title>Vite</title>", "<title>Changed</title>"),
    );
    browser.shows("title", "Changed");
}
