//! A GraphQL server, asked with POST and with GET.

use crate::{
    application::{Application, node, source},
    client::{Answer, Client},
    instance::{Home, Instance},
};

fn post(proxy: &Instance, body: &str) -> Answer {
    let mut client = Client::connect(proxy.port);
    client.send(format!(
        "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Accept: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    client.answer_to("POST")
}

pub(crate) fn queries_are_cached_and_errors_and_mutations_are_not() {
    let home = Home::new();
    let server = node(&home, "graphql", source("graphql/server.js"));
    let application = Application::start(&home, server);
    home.write(
        "config/proxy.toml",
        "[[rules]]\npath = \"/graphql\"\nstore_post = true\n",
    );
    let proxy = home.start(&application.url(), &[]);
    let query = r#"{"query":"{ name made }"}"#;
    let first = r#"{"data":{"name":"lamp","made":1}}"#;
    post(&proxy, query).expect(200, "MISS", first);
    post(&proxy, query).expect(200, "HIT", first);
    // The same JSON in other spacing.
    post(&proxy, r#"{ "query": "{ name made }" }"#).expect(200, "HIT", first);
    let get = "/graphql?query=%7Bname%7D";
    for outcome in ["MISS", "HIT"] {
        let answer = proxy.get_with(get, "Accept: application/json\r\n");
        answer.expect(200, outcome, r#"{"data":{"name":"lamp"}}"#);
    }
    for _ in 0..2 {
        let answer = post(&proxy, r#"{"query":"{ broken }"}"#);
        assert_eq!((answer.status(), answer.x_cache()), (200, "MISS"));
        assert!(answer.text().contains("this field always fails"));
        let status = answer.field("cache-status").unwrap();
        assert!(status.ends_with("detail=graphql-errors"), "{status}");
    }
    for name in ["desk", "chair"] {
        let mutation = format!(r#"{{"query":"mutation {{ rename(name: \"{name}\") }}"}}"#);
        let renamed = format!(r#"{{"data":{{"rename":"{name}"}}}}"#);
        post(&proxy, &mutation).expect(200, "MISS", &renamed);
    }
    // The mutations have removed what was cached for the path.
    let changed = r#"{"data":{"name":"chair","made":2}}"#;
    post(&proxy, query).expect(200, "MISS", changed);
    post(&proxy, query).expect(200, "HIT", changed);
}
