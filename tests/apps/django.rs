//! The stock admin of Django, and a page for each user.

use crate::{
    application::{Application, python, source},
    client::Answer,
    instance::Home,
    visitor::Visitor,
};

/// The token of the form on a page.
#[track_caller]
fn form_token(page: &Answer) -> String {
    let text = page.text();
    let (_, rest) = text
        .split_once("name=\"csrfmiddlewaretoken\" value=\"")
        .unwrap_or_else(|| panic!("no form: {:?} {text}", page.head));
    rest.split('"').next().unwrap().to_owned()
}

/// Logs in through the form to which the admin redirects.
fn log_in(visitor: &mut Visitor, name: &str) {
    let sent_to_the_form = visitor.get("/admin/");
    let form = visitor.follow(&sent_to_the_form);
    let token = form_token(&form);
    let password = format!("password of {name}");
    let logged_in = visitor.post(
        "/admin/login/?next=/admin/",
        &[
            ("csrfmiddlewaretoken", &token),
            ("username", name),
            ("password", &password),
            ("next", "/admin/"),
        ],
    );
    let page = visitor.follow(&logged_in);
    assert_eq!(page.status(), 200);
    assert!(
        page.text().contains(&format!("<strong>{name}</strong>")),
        "{}",
        page.text()
    );
}

pub(crate) fn users_log_in_keep_apart_and_log_out() {
    let home = Home::new();
    let mut server = python(&home, "django");
    server.arg(source("django/app.py")).arg(home.path("work"));
    let application = Application::start(&home, server);
    let proxy = home.start(&application.url(), &[]);
    let mut ada = Visitor::new(proxy.port);
    let mut grace = Visitor::new(proxy.port);
    log_in(&mut ada, "ada");
    log_in(&mut grace, "grace");
    for outcome in ["MISS", "HIT"] {
        ada.get("/greeting").expect(200, outcome, "hello ada");
        grace.get("/greeting").expect(200, outcome, "hello grace");
    }
    // The admin forbids to store its pages.
    for _ in 0..2 {
        let page = ada.get("/admin/auth/user/");
        assert_eq!((page.status(), page.x_cache()), (200, "MISS"));
    }
    let style = ada.get("/static/admin/css/base.css");
    assert_eq!(style.status(), 200);

    let page = ada.get("/admin/");
    let token = form_token(&page);
    let form = [("csrfmiddlewaretoken", token.as_str())];
    // The check of the form's site is Django's, and it still refuses another one.
    let foreign = ada.post_from("http://evil.test", "/admin/logout/", &form);
    assert_eq!(foreign.status(), 403);
    let logged_out = ada.post("/admin/logout/", &form);
    assert_eq!(logged_out.status(), 200, "{}", logged_out.text());
    let sent_to_the_form = ada.get("/greeting");
    form_token(&ada.follow(&sent_to_the_form));
    grace.get("/greeting").expect(200, "HIT", "hello grace");
    log_in(&mut ada, "ada");
    ada.get("/greeting").expect(200, "MISS", "hello ada");
}
