//! Shared helpers of the files `points_*.rs`. These files test the specification of HTTP behaviour: each of its 34
//! numbered points has tests named `point_NN`. They are black-box tests written against the RFCs, under `strict`, and
//! also under the other policies where those differ.

use std::path::Path;

use caching_proxy::policy::Mode;

use crate::{harness::TestProxy, origin::Origin};

/// Sends two GETs for each row, all on one connection. A row has the status and the headers of the origin's responses,
/// and the X-Cache of the second one.
#[track_caller]
pub(crate) fn check(mode: Mode, request: &str, rows: &[(impl AsRef<str>, impl AsRef<str>, &str)]) {
    let answers: Vec<(String, String)> = rows
        .iter()
        .map(|row| (row.0.as_ref().to_owned(), row.1.as_ref().to_owned()))
        .collect();
    let origin = Origin::start(move |exchange| {
        let target = exchange.target();
        let (status, fields) = &answers[target[1..].parse::<usize>().unwrap()];
        exchange.answer(status, fields, body_of(status, &target));
    });
    let proxy = TestProxy::with_mode(&origin, mode);
    let mut client = proxy.connect();
    let mut asked = 0;
    for (number, (status, fields, second)) in rows.iter().enumerate() {
        let row = format!("{mode:?} {} {:?}", status.as_ref(), fields.as_ref());
        let target = format!("/{number}");
        for expected in ["MISS", second] {
            let answer = client.ask(&target, request).answer();
            let found = (answer.status().to_string(), answer.x_cache(), answer.text());
            let code = status.as_ref()[..3].to_owned();
            let body = body_of(status.as_ref(), &target);
            assert_eq!(found, (code, expected, body), "{row}");
            asked += usize::from(expected == "MISS");
        }
        assert_eq!(origin.count(), asked, "{row}");
    }
}

/// The same for responses with status 200.
#[track_caller]
pub(crate) fn check_ok(mode: Mode, request: &str, rows: &[(impl AsRef<str>, &str)]) {
    let rows: Vec<_> = rows
        .iter()
        .map(|(fields, second)| ("200 OK", fields.as_ref(), *second))
        .collect();
    check(mode, request, &rows);
}

fn body_of(status: &str, target: &str) -> String {
    match &status[..3] {
        "204" | "205" | "304" => String::new(),
        _ => format!("body of {target}"),
    }
}

/// The Age of a response. Panics unless there is exactly one.
#[track_caller]
pub(crate) fn age(answer: &crate::client::Answer) -> u64 {
    answer
        .field("age")
        .unwrap_or_else(|| panic!("no Age: {:?}", answer.head))
        .parse()
        .unwrap()
}

#[test]
fn every_point_of_the_specification_has_a_test() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let sources: String = std::fs::read_dir(directory)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "rs"))
        .map(|entry| std::fs::read_to_string(entry.path()).unwrap())
        .collect();
    let missing: Vec<String> = (1..=34)
        .map(|number| format!("point_{number:02}"))
        .filter(|name| {
            let is_test = |(at, _): (usize, &str)| {
                let rest = &sources[at + "#[test]\nfn ".len() + name.len()..];
                rest.starts_with(|next: char| !next.is_ascii_digit())
            };
            !sources
                .match_indices(&format!("#[test]\nfn {name}"))
                .any(is_test)
        })
        .collect();
    assert!(missing.is_empty(), "without a test: {missing:?}");
}
