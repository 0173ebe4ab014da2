//! The origin: numbers its responses, confirms and continues what is current, and fails in many ways.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use super::{
    content::{LARGEST, Target, Version},
    truth::Truth,
};
use crate::{
    dice::Dice,
    origin::{Exchange, Origin},
};

/// Out of a thousand requests, so many have a fault.
const FAULTS: usize = 30;

/// What goes wrong with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// No response, until the proxy hangs up.
    Silence,
    /// The connection is reset before the head.
    Reset,
    /// The connection ends within the body.
    Cut,
    /// The body stops, until the proxy hangs up.
    Stall,
    Status(&'static str),
    /// The head comes late.
    Late,
    /// A 103 comes before the head.
    Hints,
}

pub(super) fn start(truth: &Arc<Truth>, seed: u64) -> Origin {
    let truth = Arc::clone(truth);
    let requests = AtomicU64::new(0);
    Origin::start(move |exchange| {
        let nth = requests.fetch_add(1, SeqCst);
        let mut dice = Dice::new(seed.wrapping_mul(1_000_003).wrapping_add(nth));
        let fault = match truth.fails() && dice.below(1000) < FAULTS {
            true => dice.one_of(&[
                Fault::Silence,
                Fault::Reset,
                Fault::Cut,
                Fault::Cut,
                Fault::Stall,
                Fault::Status("500 Internal Server Error"),
                Fault::Status("503 Service Unavailable"),
                Fault::Late,
                Fault::Late,
                Fault::Hints,
            ]),
            false => Fault::None,
        };
        respond(exchange, &truth, fault, &mut dice);
    })
}

fn respond(exchange: &mut Exchange<'_>, truth: &Truth, fault: Fault, dice: &mut Dice) {
    match fault {
        Fault::Silence => return exchange.stall(),
        Fault::Reset => return exchange.reset(),
        Fault::Status(status) => return exchange.answer(status, "", "a fault"),
        Fault::Late => std::thread::park_timeout(Duration::from_millis(500)),
        Fault::Hints => exchange.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        Fault::None | Fault::Cut | Fault::Stall => {}
    }
    let target = Target::with_path(&exchange.target());
    if exchange.request.method() == "PUT" {
        return exchange.ok("", "");
    }
    if let Some(version) = confirmed(exchange, truth, target)
        && dice.below(4) > 0
    {
        let lines = target.lines();
        return exchange.send(format!(
            "HTTP/1.1 304 Not Modified\r\n{lines}ETag: \"{version}\"\r\nX-Version: {version}\r\n\r\n"
        ));
    }
    let (version, range) = selected(exchange, truth, target);
    send_content(exchange, (target, &version), range, fault);
}

/// The version that the request's condition names, if it is current.
fn confirmed(exchange: &Exchange<'_>, truth: &Truth, target: Target) -> Option<Version> {
    let conditions = exchange.request.fields("if-none-match").join(",");
    let mut versions = conditions.split(',').filter_map(Version::parse);
    versions.find(|version| is_valid(exchange, truth, (target, version)))
}

fn is_valid(exchange: &Exchange<'_>, truth: &Truth, (target, version): (Target, &Version)) -> bool {
    target.has_tag()
        && truth.is_current(target, version.number)
        && version.identity == header(exchange, "authorization")
        && version.lang == header(exchange, "x-lang")
}

fn header(exchange: &Exchange<'_>, name: &str) -> String {
    exchange
        .request
        .field(name)
        .unwrap_or_else(|| "-".to_owned())
}

/// The version that is sent, and the first and last byte of it; `None` for all of it.
fn selected(
    exchange: &Exchange<'_>,
    truth: &Truth,
    target: Target,
) -> (Version, Option<(usize, usize)>) {
    let new = || {
        let identity = header(exchange, "authorization");
        truth.next_version(identity, header(exchange, "x-lang"))
    };
    let size = target.size();
    let range = exchange.request.field("range").filter(|_| target.has_tag());
    let Some((first, last)) = range.and_then(|range| parse_range(&range, size)) else {
        return (new(), None);
    };
    let version = match exchange.request.field("if-range") {
        None => new(),
        Some(tag) => {
            let version = Version::parse(&tag);
            match version.filter(|version| is_valid(exchange, truth, (target, version))) {
                Some(version) => version,
                None => return (new(), None),
            }
        }
    };
    (version, Some((first, last)))
}

/// The first and the last byte of a single range; `None` if it is no such range, or not within `size`.
pub(super) fn parse_range(range: &str, size: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = match (first.parse().ok(), last.parse().ok()) {
        (Some(first), Some(last)) => (first, last),
        (Some(first), None) => (first, usize::MAX),
        (None, Some(suffix)) => (size.checked_sub(suffix)?, usize::MAX),
        (None, None) => return None,
    };
    let last = last.min(size.checked_sub(1)?);
    (first <= last).then_some((first, last))
}

fn send_content(
    exchange: &mut Exchange<'_>,
    (target, version): (Target, &Version),
    range: Option<(usize, usize)>,
    fault: Fault,
) {
    let content = version.content(target);
    let mut head = match range {
        None => "HTTP/1.1 200 OK\r\n".to_owned(),
        Some((first, last)) => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{}\r\n",
            content.len()
        ),
    };
    head += &target.lines();
    head += &format!("X-Version: {version}\r\n");
    if target.has_tag() {
        head += &format!("ETag: \"{version}\"\r\n");
    }
    let body = match range {
        None => &content[..],
        Some((first, last)) => &content[first..=last],
    };
    let is_chunked = target.is_chunked() && range.is_none();
    head += &match is_chunked {
        true => "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
        false => format!("Content-Length: {}\r\n\r\n", body.len()),
    };
    exchange.send(head);
    if exchange.request.method() == "HEAD" {
        return;
    }
    let is_broken = matches!(fault, Fault::Cut | Fault::Stall);
    let sent = match is_broken {
        true => body.len() / 2,
        false => body.len(),
    };
    // The largest body comes in large pieces, so that its readers differ.
    let piece = if target == LARGEST {
        64 * 1024
    } else {
        9 * 1024
    };
    for piece in body[..sent].chunks(piece) {
        match is_chunked {
            true => exchange.chunk(piece),
            false => exchange.send(piece),
        }
    }
    match fault {
        Fault::Stall => exchange.stall(),
        Fault::Cut => exchange.close(),
        _ if is_chunked => exchange.chunk(""),
        _ => {}
    }
}
