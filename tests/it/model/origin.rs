//! The origin of the model.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use super::{
    rules::{MadeFor, Model, Tag},
    targets::{Lifetime, Target},
};
use crate::origin::{Exchange, Origin, Seen};

/// One of that many validations fails, where stale responses may be served instead.
const FAILING: usize = 4;

pub(super) fn start(model: &Arc<Model>) -> Origin {
    let model = Arc::clone(model);
    Origin::start(move |exchange: &mut Exchange<'_>| respond(exchange, &model))
}

fn respond(exchange: &mut Exchange<'_>, model: &Model) {
    let target = Target::with_path(&exchange.target());
    if exchange.request.method() == "PUT" {
        model.change(target);
        return exchange.ok("", "");
    }
    let made_for = made_for(&exchange.request, target);
    let condition = exchange.request.fields("if-none-match").join(",");
    let tags: Vec<Tag> = condition.split(',').filter_map(Tag::parse).collect();
    let may_fail = target.lifetime() == Lifetime::StaleIfError && !tags.is_empty();
    if may_fail && exchange.nth.is_multiple_of(FAILING) {
        model.failed.fetch_add(1, SeqCst);
        return exchange.answer("503 Service Unavailable", "", "");
    }
    let lines = target.header_lines();
    let confirmed = tags
        .iter()
        .find(|tag| tag.made_for == made_for && model.is_current(target, tag.number));
    if let Some(tag) = confirmed {
        model.confirmed.fetch_add(1, SeqCst);
        return exchange.send(format!(
            "HTTP/1.1 304 Not Modified\r\n{lines}ETag: {tag}\r\n\r\n"
        ));
    }
    let number = model.next_number();
    let tag = Tag { number, made_for };
    let body = format!("{number:08}").repeat(target.repeats());
    exchange.ok(&format!("{lines}ETag: {tag}\r\n"), body);
}

fn made_for(request: &Seen, target: Target) -> MadeFor {
    let header = |name| request.field(name).unwrap_or_else(|| "-".to_owned());
    MadeFor {
        user: header("authorization"),
        lang: match target.varies() {
            true => header("x-lang"),
            false => "-".to_owned(),
        },
        team: header("x-team"),
    }
}
