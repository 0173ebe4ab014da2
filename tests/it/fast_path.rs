//! A hit is the same, whether or not the forwarded request is made for it.

use crate::{client::Answer, harness::TestProxy, numbers::Numbers, origin::Origin};

const STEPS: usize = 400;
const DEFAULT_SEED: u64 = 17;
/// With this line the forwarded request is the same, and the request is not plain.
const NOT_PLAIN: &str = "Connection: keep-alive, x-none\r\n";

const CREDENTIALS: [&str; 9] = [
    "",
    "Cookie: sid=1\r\n",
    "Cookie: sid=2\r\n",
    "Cookie: _ga=1; sid=1\r\n",
    "Cookie: _ga=1\r\nCookie: sid=2; _ga=2\r\n",
    "Cookie: _ga=3\r\n",
    "Authorization: Bearer 1\r\n",
    "X-Api-Key: 1\r\nCookie: sid=1\r\n",
    "Authorization: NTLM 1\r\n",
];
const OTHERS: [&str; 8] = [
    "",
    "If-None-Match: \"a\"\r\n",
    "If-Modified-Since: Fri, 01 Jan 2038 00:00:00 GMT\r\n",
    "Accept-Language: de\r\n",
    "Cache-Control: no-cache\r\n",
    "Range: bytes=1-2\r\n",
    "Origin: http://other.test\r\n",
    "Referer: http://{host}/x\r\n",
];
const TARGETS: [&str; 7] = [
    "/public",
    "/own",
    "/vary-cookie",
    "/vary-referer",
    "/sorted?b=2&a=1&utm_x=1",
    "/sorted?a=1&b=2",
    "/no",
];

const FILE: &str = "[[rules]]\npath = \"/sorted\"\nsort_query = true\nignore_query = [\"utm_*\"]\n\
    [[rules]]\npath = \"/no\"\nstore = false\n";

/// An origin whose responses show by what they are selected.
fn origin() -> Origin {
    Origin::start(|exchange| {
        let target = exchange.target();
        let fields = match &*target {
            "/public" => "Cache-Control: public, max-age=600\r\n",
            "/vary-cookie" => "Cache-Control: public, max-age=600\r\nVary: Cookie\r\n",
            "/vary-referer" => "Cache-Control: max-age=600\r\nVary: Referer, Accept-Language\r\n",
            _ => "Cache-Control: max-age=600\r\n",
        };
        let names = ["authorization", "cookie", "x-api-key"];
        let sent = names.map(|name| exchange.request.fields(name).join("; "));
        let body = match &*target {
            "/public" => target,
            _ => format!("{target} {}", sent.join("|")),
        };
        exchange.ok(&format!("{fields}ETag: \"a\"\r\n"), body);
    })
}

/// What is the same for two hits that come one after the other.
fn compared(answer: &Answer) -> (u16, String, String, Vec<(String, String)>) {
    let changes = |name: &str| ["age", "cache-status", "connection", "date"].contains(&name);
    let fields = answer.head.fields.iter();
    let fields = fields.filter(|(name, _)| !changes(&name.to_ascii_lowercase()));
    // The map of headers does not order names.
    let mut fields: Vec<(String, String)> = fields.cloned().collect();
    fields.sort();
    (
        answer.status(),
        answer.field("x-cache").unwrap_or_default().to_owned(),
        answer.text(),
        fields,
    )
}

#[test]
fn a_hit_is_the_same_with_and_without_a_forwarded_request() {
    let origin = origin();
    let proxy = TestProxy::builder(&origin).file(FILE).start();
    let host = format!("127.0.0.1:{}", proxy.port);
    let mut numbers = Numbers(DEFAULT_SEED);
    let mut hits = 0;
    for step in 0..STEPS {
        let target = numbers.one_of(&TARGETS);
        let other = numbers.one_of(&OTHERS).replace("{host}", &host);
        let fields = format!("{}{other}", numbers.one_of(&CREDENTIALS));
        let not_plain = format!("{fields}{NOT_PLAIN}");
        proxy.get_with(target, &not_plain);
        let answers = [&fields, &not_plain].map(|fields| proxy.get_with(target, fields));
        let [plain, forwarded] = answers.each_ref().map(compared);
        assert_eq!(plain, forwarded, "step {step}: {target} {fields}");
        hits += usize::from(plain.1 == "HIT");
    }
    assert!(hits > STEPS / 4, "{hits}");
}

#[test]
fn requests_of_one_connection_get_the_responses_that_each_gets_alone() {
    let origin = origin();
    let proxy = TestProxy::builder(&origin).file(FILE).start();
    let host = format!("127.0.0.1:{}", proxy.port);
    let mut numbers = Numbers(DEFAULT_SEED);
    // NTLM authenticates a connection, and not a request.
    let is_ntlm = |fields: &&str| fields.contains("NTLM");
    let credentials: Vec<&str> = CREDENTIALS.into_iter().filter(|it| !is_ntlm(it)).collect();
    let (mut client, mut fields) = (proxy.connect(), String::new());
    for step in 0..STEPS {
        let mut requests = Vec::new();
        for _ in 0..=numbers.below(3) {
            // Half of the requests have the headers of the one before.
            if numbers.below(2) == 0 {
                let other = numbers.one_of(&OTHERS).replace("{host}", &host);
                fields = format!("{}{other}", numbers.one_of(&credentials));
            }
            let method = numbers.one_of(&["GET", "GET", "HEAD"]);
            requests.push((method, numbers.one_of(&TARGETS), fields.clone()));
        }
        let alone: Vec<_> = requests
            .iter()
            .map(|(method, target, fields)| {
                let not_plain = format!("{fields}{NOT_PLAIN}");
                proxy.get_with(target, &not_plain);
                compared(&proxy.request(method, target, &not_plain, b""))
            })
            .collect();
        let heads = requests.iter().map(|(method, target, fields)| {
            format!("{method} {target} HTTP/1.1\r\nHost: proxy.test\r\n{fields}\r\n")
        });
        client.send(heads.collect::<String>());
        for ((method, target, fields), alone) in requests.iter().zip(alone) {
            let answer = client.answer_to(method);
            assert_eq!(
                compared(&answer),
                alone,
                "step {step}: {method} {target} {fields}"
            );
        }
    }
}
