//! `show`: the cached responses of one path, in detail.

use caching_proxy::{
    admin::ShowRequest,
    cli::ShowArgs,
    control,
    explain::{Field, Shown, ShownAnswer},
};

use super::text::{Sheet, fresh, plain, print_json, seconds, size};
use crate::{
    failure::Failure,
    terminal::{print, say},
};

pub(super) fn run(show: ShowArgs) -> Result<(), Failure> {
    let ask = ShowRequest {
        path: show.path.clone(),
    };
    let body = serde_json::to_vec(&ask).map_err(|error| Failure::Print(error.into()))?;
    let shown: Shown = control::choose(show.proxy.port)?.ask("POST", "/show", &body)?;
    if show.proxy.json {
        return print_json(&shown);
    }
    if shown.answers.is_empty() {
        let path = plain(&show.path);
        print(&format!(
            "nothing is cached for {path}; to find out why: caching-proxy why {path}\n"
        ));
        return Ok(());
    }
    let texts: Vec<String> = shown
        .answers
        .iter()
        .map(|answer| text(answer, shown.identities))
        .collect();
    print(&texts.join("\n"));
    if shown.more > 0 {
        say(&format!(
            "{} more responses are cached for this path",
            shown.more
        ));
    }
    Ok(())
}

fn text(answer: &ShownAnswer, identities: u64) -> String {
    let mut sheet = Sheet::begun(&format!("{} {}", answer.method, answer.path));
    if let Some(host) = &answer.host {
        sheet.line("host", host);
    }
    sheet.line("status", &answer.status.to_string());
    let proxy = match (answer.audience.as_str(), answer.identity) {
        ("everybody", _) => "everyone".to_owned(),
        ("own", Some(number)) => format!(
            "one user: requests with the same credentials (identity {number} of {identities})"
        ),
        ("own", None) => "one user: requests with the same credentials".to_owned(),
        _ => "requests without credentials".to_owned(),
    };
    sheet.line("for", &proxy);
    sheet.line("selected by", &selected(&answer.selected_by));
    times(answer, &mut sheet);
    if let Some(part) = &answer.part {
        sheet.line("part", part);
    }
    if !answer.tags.is_empty() {
        sheet.line("tags", &answer.tags.join(", "));
    }
    sheet.line("body", &size(answer.body_bytes));
    sheet.line("memory", &size(answer.memory_bytes));
    sheet.line("hits", &answer.hits.to_string());
    sheet.line("headers", "as received, without Age");
    for Field { name, value } in &answer.fields {
        sheet.field(name, value.as_deref().unwrap_or_default());
    }
    sheet.into_text()
}

fn times(answer: &ShownAnswer, sheet: &mut Sheet) {
    sheet.line("stored at", &answer.stored_at);
    sheet.line("age", &seconds(answer.age_seconds));
    let is_stale = answer.stale_since.is_some();
    sheet.line("fresh for", &fresh(answer.fresh_seconds, is_stale));
    if let Some(since) = &answer.stale_since {
        sheet.line("stale since", since);
    }
    let lifetime = answer.lifetime_seconds;
    let lifetime = lifetime.map_or_else(|| "until cleared".to_owned(), seconds);
    let why = &answer.lifetime_why;
    sheet.line("lifetime", &format!("{lifetime}: {why}"));
    if !answer.directives.is_empty() {
        let place = match answer.is_targeted {
            true => "  (CDN-Cache-Control)",
            false => "",
        };
        let directives = answer.directives.join(", ");
        sheet.line("directives", &format!("{directives}{place}"));
    }
    sheet.line("when stale", &answer.when_stale);
}

pub(super) fn selected(fields: &[Field]) -> String {
    let all: Vec<String> = fields
        .iter()
        .map(|Field { name, value }| match value {
            Some(value) => format!("{name}: {value}"),
            None => format!("no {name}"),
        })
        .collect();
    match all.is_empty() {
        true => "path and query only".to_owned(),
        false => all.join(", "),
    }
}
