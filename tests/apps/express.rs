//! An Express app with sessions and ETags.

use crate::{
    application::{Application, node, source},
    instance::Home,
    visitor::Visitor,
};

pub(crate) fn users_have_sessions_of_their_own_and_etags_validate() {
    let home = Home::new();
    let server = node(&home, "express", source("express/server.js"));
    let application = Application::start(&home, server);
    let proxy = home.start(&application.url(), &[]);
    let mut ada = Visitor::new(proxy.port);
    let mut grace = Visitor::new(proxy.port);
    assert_eq!(ada.get("/me").status(), 401);
    for (visitor, name) in [(&mut ada, "ada"), (&mut grace, "grace")] {
        let foreign = visitor.post_from("http://evil.test", "/login", &[("user", name)]);
        assert_eq!(foreign.status(), 403);
        let logged_in = visitor.post("/login", &[("user", name)]);
        let page = visitor.follow(&logged_in);
        let body = format!("{{\"user\":\"{name}\",\"made\":1}}");
        page.expect(200, "MISS", &body);
        visitor.get("/me").expect(200, "HIT", &body);
        // A browser that has the page asks whether it is still the same.
        let known = format!("If-None-Match: {}\r\n", page.field("etag").unwrap());
        let same = visitor.get_with("/me", &known);
        assert_eq!((same.status(), same.x_cache()), (304, "HIT"));
    }
    let logged_out = ada.post("/logout", &[]);
    assert_eq!(ada.follow(&logged_out).text(), "welcome");
    assert_eq!(ada.get("/me").status(), 401);
    grace
        .get("/me")
        .expect(200, "HIT", "{\"user\":\"grace\",\"made\":1}");

    // no-cache: stored, and validated by its ETag each time.
    let mut anybody = Visitor::new(proxy.port);
    let news = "{\"news\":\"none\"}";
    anybody.get("/news").expect(200, "MISS", news);
    let again = anybody.get("/news");
    let status = again.field("cache-status").unwrap();
    assert!(status.contains("fwd-status=304"), "{status}");
    assert_eq!((again.status(), again.text().as_str()), (200, news));
}
