//! The origin: numbers its responses, and confirms and continues what is current.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use crate::{
    dice::Dice,
    origin::{Exchange, Origin},
    resources::{Lifetime, NONE, Resource, Version},
    truth::Truth,
};

/// Starts an origin that says the truth.
pub(crate) fn start(truth: &Arc<Truth>, seed: u64) -> Origin {
    let truth = Arc::clone(truth);
    let requests = AtomicU64::new(0);
    Origin::start(move |exchange| {
        let nth = requests.fetch_add(1, SeqCst);
        let mut dice = Dice::new(seed.wrapping_mul(1_000_003).wrapping_add(nth));
        let resource = Resource::at(&exchange.target());
        truth.request_arrived(resource);
        respond(exchange, &truth, resource, &mut dice);
    })
}

fn respond(exchange: &mut Exchange<'_>, truth: &Truth, resource: Resource, dice: &mut Dice) {
    if exchange.request.method() == "POST" {
        return exchange.ok("", "");
    }
    if let Some(version) = confirmed(exchange, truth, resource)
        && (truth.is_checking() || dice.below(4) > 0)
    {
        let lines = resource.lines();
        let confirmation = truth.next_number(resource);
        return exchange.send(format!(
            "HTTP/1.1 304 Not Modified\r\n{lines}ETag: \"{version}\"\r\nX-Confirmed: {confirmation}\r\n\r\n"
        ));
    }
    let (version, range) = selected(exchange, truth, resource);
    send_content(exchange, truth, (resource, &version), range);
}

/// The version that the request's condition names, if it is current.
fn confirmed(exchange: &Exchange<'_>, truth: &Truth, resource: Resource) -> Option<Version> {
    let conditions = exchange.request.fields("if-none-match").join(",");
    let mut versions = conditions.split(',').filter_map(Version::parse);
    versions.find(|version| is_valid(exchange, truth, (resource, version)))
}

fn is_valid(
    exchange: &Exchange<'_>,
    truth: &Truth,
    (resource, version): (Resource, &Version),
) -> bool {
    resource.has_tag()
        && truth.is_current(resource, version.number)
        && (resource.lifetime() == Lifetime::Public
            || version.identity == header(exchange, "authorization"))
        && (!resource.varies() || version.lang == header(exchange, "x-lang"))
}

fn header(exchange: &Exchange<'_>, name: &str) -> String {
    let value = exchange.request.field(name);
    value.unwrap_or_else(|| NONE.to_owned())
}

/// The version that is sent, and the first and last byte of it; `None` for all of it.
fn selected(
    exchange: &Exchange<'_>,
    truth: &Truth,
    resource: Resource,
) -> (Version, Option<(usize, usize)>) {
    let size = resource.size();
    let new = || Version {
        number: truth.next_number(resource),
        identity: header(exchange, "authorization"),
        lang: header(exchange, "x-lang"),
    };
    let range = exchange.request.field("range");
    let range = range.filter(|_| resource.has_tag());
    let Some(range) = range.and_then(|range| parse_range(&range, size)) else {
        return (new(), None);
    };
    let Some(tag) = exchange.request.field("if-range") else {
        return (new(), Some(range));
    };
    let version = Version::parse(&tag);
    match version.filter(|version| is_valid(exchange, truth, (resource, version))) {
        Some(version) => (version, Some(range)),
        None => (new(), None),
    }
}

/// The first and the last byte of a single range; `None` if it is no such range, or not within `size`.
pub(crate) fn parse_range(range: &str, size: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let last: usize = last.parse().unwrap_or(usize::MAX);
    let last = last.min(size.checked_sub(1)?);
    (first <= last).then_some((first, last))
}

fn send_content(
    exchange: &mut Exchange<'_>,
    truth: &Truth,
    (resource, version): (Resource, &Version),
    range: Option<(usize, usize)>,
) {
    let content = version.content(resource);
    let mut head = match range {
        None => "HTTP/1.1 200 OK\r\n".to_owned(),
        Some((first, last)) => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{}\r\n",
            content.len()
        ),
    };
    head += &resource.lines();
    head += &format!("X-Version: {version}\r\n");
    if exchange.request.field("if-range").is_some() {
        head += &format!("X-Confirmed: {}\r\n", truth.next_number(resource));
    }
    if resource.has_tag() {
        head += &format!("ETag: \"{version}\"\r\n");
    }
    let body = match range {
        None => &content[..],
        Some((first, last)) => &content[first..=last],
    };
    if resource.is_chunked() && range.is_none() {
        exchange.send(head + "Transfer-Encoding: chunked\r\n\r\n");
        for piece in body.chunks(30_000) {
            exchange.chunk(piece);
        }
        exchange.chunk("");
    } else {
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        exchange.send([head.as_bytes(), body].concat());
    }
}
