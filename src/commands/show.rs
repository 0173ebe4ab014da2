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
        .map(|response| text(response, shown.identities))
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

fn text(response: &ShownAnswer, identities: u64) -> String {
    let mut sheet = Sheet::begun(&format!("{} {}", response.method, response.path));
    if let Some(host) = &response.host {
        sheet.line("host", host);
    }
    if let Some(origin) = &response.origin {
        sheet.line("origin", origin);
    }
    sheet.line("status", &response.status.to_string());
    if let Some(provenance) = &response.provenance {
        let meaning = match provenance.as_str() {
            "recorded" => ": the policy does not store it, so it is only served offline",
            "imported" => " from a file: served until it is cleared",
            _ => "",
        };
        sheet.line("came", &format!("{provenance}{meaning}"));
    }
    let proxy = match (response.audience.as_str(), response.identity) {
        ("everybody", _) => "everyone".to_owned(),
        ("own", Some(number)) => format!(
            "one user: requests with the same credentials (identity {number} of {identities})"
        ),
        ("own", None) => "one user: requests with the same credentials".to_owned(),
        _ => "requests without credentials".to_owned(),
    };
    sheet.line("for", &proxy);
    sheet.line("selected by", &selected(&response.selected_by));
    times(response, &mut sheet);
    if let Some(part) = &response.part {
        sheet.line("part", part);
    }
    if !response.tags.is_empty() {
        sheet.line("tags", &response.tags.join(", "));
    }
    sheet.line("body", &size(response.body_bytes));
    sheet.line("memory", &size(response.memory_bytes));
    sheet.line("hits", &response.hits.to_string());
    sheet.line("headers", "as received, without Age");
    for Field { name, value } in &response.fields {
        sheet.field(name, value.as_deref().unwrap_or_default());
    }
    sheet.into_text()
}

fn times(response: &ShownAnswer, sheet: &mut Sheet) {
    sheet.line("stored at", &response.stored_at);
    sheet.line("age", &seconds(response.age_seconds));
    let is_stale = response.stale_since.is_some();
    sheet.line("fresh for", &fresh(response.fresh_seconds, is_stale));
    if let Some(since) = &response.stale_since {
        sheet.line("stale since", since);
    }
    let lifetime = response.lifetime_seconds;
    let lifetime = lifetime.map_or_else(|| "until cleared".to_owned(), seconds);
    let why = &response.lifetime_why;
    sheet.line("lifetime", &format!("{lifetime}: {why}"));
    if !response.directives.is_empty() {
        let place = match response.is_targeted {
            true => "  (CDN-Cache-Control)",
            false => "",
        };
        let directives = response.directives.join(", ");
        sheet.line("directives", &format!("{directives}{place}"));
    }
    sheet.line("when stale", &response.when_stale);
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
