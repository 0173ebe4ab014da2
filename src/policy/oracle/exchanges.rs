//! Random exchanges. Most values are plain, so that most exchanges can be compared. Odd values are in lists of their own.

use proptest::sample::select;

use super::*;

const HOUR_LATER: &str = "Mon, 23 Nov 2026 04:30:00 GMT";
const TEN_LATER: &str = "Mon, 23 Nov 2026 03:30:10 GMT";
const TEN_AGO: &str = "Mon, 23 Nov 2026 03:29:50 GMT";
const HOUR_AGO: &str = "Mon, 23 Nov 2026 02:30:00 GMT";
const DAY_AGO: &str = "Sun, 22 Nov 2026 03:30:00 GMT";
pub(super) const YEAR_AGO: &str = "Sun, 23 Nov 2025 03:30:00 GMT";

/// Dates that only one of the two can parse, or that neither should.
pub(super) const ODD_DATES: &[&str] = &[
    "Monday, 23-Nov-26 04:30:00 GMT",
    "Mon Nov 23 04:30:00 2026",
    "Mon, 23 Nov 2026 04:30:00 +0000",
    "23 Nov 2026 04:30:00 GMT",
];

const ODD_MODIFIED: &[&str] = &[YEAR_AGO, ODD_DATES[0], ODD_DATES[1], ODD_DATES[3]];

const DIRECTIVES: &[&str] = &[
    "max-age=60",
    "max-age=60",
    "max-age=3600",
    "max-age=0",
    "max-age=\"60\"",
    "max-age=060",
    "max-age=-1",
    "max-age=60.5",
    "max-age='60'",
    "max-age=x",
    "s-maxage=30",
    "s-maxage=x",
    "public",
    "public",
    "private",
    "no-cache",
    "no-store",
    "must-revalidate",
    "must-revalidate",
    "must-understand",
    "immutable",
    "stale-if-error=60",
    "stale-while-revalidate=30",
    "no-transform",
    "foo=bar",
];
const ODD_DIRECTIVES: &[&str] = &[
    "proxy-revalidate",
    "MAX-AGE=60",
    "NO-STORE",
    "max-age",
    "max-age=+60",
    "max-age= 60",
    "max-age=99999999999",
    "private=\"x-b\"",
    "no-cache=\"x-b\"",
    "foo=\"a, no-store, b\"",
];
const REQUEST_DIRECTIVES: &[&str] = &[
    "no-cache",
    "max-age=0",
    "max-age=30",
    "max-age=60",
    "min-fresh=20",
    "min-fresh=x",
    "max-stale",
    "max-stale=30",
    "only-if-cached",
    "no-store",
    "foo",
];
const ODD_REQUEST_DIRECTIVES: &[&str] = &["max-age=x", "max-stale=x", "NO-CACHE"];

/// One of the plain values, rarely one of the odd ones.
fn value(
    plain: &'static [&'static str],
    odd: &'static [&'static str],
) -> impl Strategy<Value = &'static str> {
    prop_oneof![19 => select(plain), 1 => select(odd)]
}

/// Sometimes a line with one value.
fn line(
    percent: u32,
    name: &'static str,
    plain: &'static [&'static str],
    odd: &'static [&'static str],
) -> BoxedStrategy<FieldLines> {
    weighted(f64::from(percent) / 100.0, value(plain, odd))
        .prop_map(move |value| {
            FieldLines(value.map(|value| (name, vec![value])).into_iter().collect())
        })
        .boxed()
}

fn cache_control(
    lines: [u32; 3],
    plain: &'static [&'static str],
    odd: &'static [&'static str],
) -> BoxedStrategy<FieldLines> {
    let number = prop_oneof![
        lines[0] => Just(0_usize),
        lines[1] => Just(1),
        lines[2] => Just(2),
    ];
    number
        .prop_flat_map(move |number| {
            let line = proptest::collection::vec(value(plain, odd), 1..4);
            proptest::collection::vec(line, number)
        })
        .prop_map(|lines| {
            FieldLines(
                lines
                    .into_iter()
                    .map(|line| ("cache-control", line))
                    .collect(),
            )
        })
        .boxed()
}

fn together(lines: Vec<BoxedStrategy<FieldLines>>) -> impl Strategy<Value = FieldLines> {
    lines.prop_map(|lines| {
        FieldLines(
            lines
                .into_iter()
                .flat_map(|FieldLines(lines)| lines)
                .collect(),
        )
    })
}

fn response() -> impl Strategy<Value = FieldLines> {
    together(vec![
        cache_control([2, 6, 1], DIRECTIVES, ODD_DIRECTIVES),
        line(
            25,
            "expires",
            &[HOUR_LATER, TEN_LATER, HOUR_AGO, DATE, "0", "never"],
            ODD_DATES,
        ),
        // A second line of the same name.
        line(20, "expires", &[HOUR_AGO, HOUR_LATER], &[DATE]),
        line(
            50,
            "date",
            &[DATE, DATE, DATE, TEN_LATER, "yesterday", TEN_AGO],
            ODD_DATES,
        ),
        line(25, "age", &["7", "0", "60", "x", "-7"], &["7, 3"]),
        line(50, "etag", &["\"a\"", "W/\"a\"", "\"b\""], &["\"c\""]),
        line(
            40,
            "last-modified",
            &[HOUR_AGO, DAY_AGO, HOUR_LATER, "never"],
            ODD_MODIFIED,
        ),
        line(
            25,
            "vary",
            &["x-a", "X-A", "x-a, x-b", "x-b", "accept-language"],
            &["*"],
        ),
        line(5, "pragma", &["no-cache"], &["x"]),
        line(5, "set-cookie", &["s=1"], &["s=2"]),
    ])
}

fn selecting() -> impl Strategy<Value = FieldLines> {
    together(vec![
        line(50, "x-a", &["1", "2"], &["3"]),
        line(30, "x-b", &["1"], &["2"]),
        line(60, "accept-language", &["en, de", "en,de", "fr"], &["en"]),
    ])
}

fn first() -> impl Strategy<Value = FieldLines> {
    together(vec![
        line(15, "authorization", &["Basic YTpi"], &["x"]),
        cache_control([19, 1, 0], &["no-store", "no-cache"], &["NO-STORE"]),
    ])
}

fn second() -> impl Strategy<Value = FieldLines> {
    together(vec![
        line(10, "authorization", &["Basic YTpi"], &["x"]),
        cache_control([6, 4, 0], REQUEST_DIRECTIVES, ODD_REQUEST_DIRECTIVES),
        line(4, "pragma", &["no-cache"], &["x"]),
        line(4, "if-none-match", &["\"a\"", "\"z\""], &["*"]),
        line(4, "if-modified-since", &[HOUR_AGO], &[DAY_AGO]),
        line(3, "if-match", &["\"a\""], &["*"]),
    ])
}

/// The fields of a 304: often the stored validators.
fn update() -> impl Strategy<Value = (FieldLines, bool)> {
    let own = together(vec![
        cache_control([4, 2, 0], DIRECTIVES, ODD_DIRECTIVES),
        line(10, "expires", &[HOUR_LATER, HOUR_AGO], ODD_DATES),
        line(30, "date", &[HOUR_LATER, DATE], ODD_DATES),
        line(10, "age", &["0", "7"], &["x"]),
        line(15, "etag", &["\"a\"", "W/\"a\"", "\"b\""], &["\"c\""]),
        line(15, "last-modified", &[HOUR_AGO, DAY_AGO], ODD_DATES),
    ]);
    (own, proptest::bool::weighted(0.7))
}

/// The lines of a 304 with the stored validators and new other fields.
fn repeated(held: &FieldLines, update: &FieldLines) -> Vec<(&'static str, Vec<&'static str>)> {
    let renewed = held.0.iter().filter_map(|(name, members)| match *name {
        "etag" | "last-modified" => Some((*name, members.clone())),
        "date" => Some(("date", vec![HOUR_LATER])),
        "age" if !update.has("date") => Some(("age", vec!["0"])),
        _ => None,
    });
    let changed = update.0.iter().filter(|(name, _)| match *name {
        "cache-control" => true,
        "expires" => held.has(name),
        "etag" => !held.has(name),
        _ => false,
    });
    renewed.chain(changed.cloned()).collect()
}

pub(super) fn exchange() -> impl Strategy<Value = OracleExchange> {
    let status = prop_oneof![
        14 => Just(200_u16),
        5 => select(&[203_u16, 204, 301, 302, 404, 410, 501][..]),
        1 => select(&[299_u16, 400, 403, 500, 503][..]),
    ];
    let seconds = select(
        &[
            0_u64, 1, 10, 29, 30, 31, 59, 60, 61, 90, 90, 600, 3599, 3600, 5000, 100_000,
        ][..],
    );
    let other = weighted(0.3, selecting());
    let heads = (selecting(), other, first(), response(), second(), update());
    (status, seconds, heads).prop_map(|(status, seconds, heads)| {
        let (selecting, other, first, response, second, (update, repeats)) = heads;
        let other = other.unwrap_or_else(|| selecting.clone());
        let lines = match repeats {
            true => repeated(&response, &update),
            false => update.0,
        };
        OracleExchange {
            at: NOW,
            request: FieldLines(selecting.0.into_iter().chain(first.0).collect()),
            status,
            response,
            seconds,
            second: FieldLines(other.0.into_iter().chain(second.0).collect()),
            update: FieldLines(lines),
        }
    })
}
