//! `why`: whether a request would be a hit or a miss now, and why.

use caching_proxy::{
    admin::WhyRequest,
    cli::WhyArgs,
    control,
    explain::{
        ExplainedReason, ExplainedRoute, Explanation, Fallback, LastRefusal, Nearest, Variant,
    },
};

use super::{
    show::selected,
    text::{Sheet, fresh, print_json, seconds},
};
use crate::{failure::Failure, terminal::print};

pub(super) fn run(explain: WhyArgs) -> Result<(), Failure> {
    let ask = WhyRequest {
        method: explain.method,
        path: explain.path,
        fields: explain.header,
        from: explain.from,
    };
    let body = serde_json::to_vec(&ask).map_err(|error| Failure::Print(error.into()))?;
    let explanation: Explanation =
        control::choose(explain.proxy.port)?.ask("POST", "/why", &body)?;
    if explain.proxy.json {
        return print_json(&explanation);
    }
    print(&text(&explanation));
    Ok(())
}

fn text(told: &Explanation) -> String {
    let mut sheet = Sheet::begun(&told.summary);
    let host = told.host.as_ref();
    let host = host.map_or_else(String::new, |host| format!("  (Host: {host})"));
    sheet.line("request", &format!("{} {}{host}", told.method, told.path));
    if let Some(origin) = &told.origin {
        sheet.line("origin", origin);
    }
    if let Some(taken) = &told.route {
        sheet.line("route", &route(taken));
    }
    // A request that is refused is not judged.
    if !told.policy.is_empty() {
        circumstances(told, &mut sheet);
        findings(told, &mut sheet);
        reasons(told, &mut sheet);
    }
    sheet.into_text()
}

fn route(taken: &ExplainedRoute) -> String {
    let mut text = match (&taken.matches, &taken.place) {
        (Some(matches), Some(place)) => format!("{matches}, from {place}"),
        _ => "none matches: the request takes that of --origin".to_owned(),
    };
    if taken.origins.len() > 1 {
        text += &format!("; the first healthy of {}", taken.origins.join(", "));
    }
    if !taken.settings.is_empty() {
        text += &format!("; sets {}", taken.settings.join(", "));
    }
    text
}

fn circumstances(told: &Explanation, sheet: &mut Sheet) {
    let rule = match &told.rule {
        Some(rule) => format!("{}, by the [[rules]] entry for {rule}", told.policy),
        None => told.policy.clone(),
    };
    sheet.line("policy", &rule);
    let whose = match told.credentials.is_empty() {
        true => "shared responses".to_owned(),
        false => format!(
            "shared responses and those of this user (identified by {})",
            told.credentials.join(", ")
        ),
    };
    sheet.line("searched", &whose);
}

fn findings(told: &Explanation, sheet: &mut Sheet) {
    if let Some(variant) = &told.variant {
        let found = format!(
            "status {}, age {}, {}",
            variant.status,
            seconds(variant.age_seconds),
            freshness(variant)
        );
        sheet.line("stored", &found);
        sheet.line("selected by", &selected(&variant.selected_by));
    }
    for mismatch in &told.mismatches {
        let differs = format!(
            "{}: cached for {}, request has {}",
            mismatch.field,
            quoted(mismatch.stored.as_deref(), "none"),
            quoted(mismatch.asked.as_deref(), "none")
        );
        sheet.line("differs", &differs);
    }
}

fn freshness(variant: &Variant) -> String {
    let left = fresh(variant.fresh_seconds, variant.is_stale);
    match (variant.is_stale, variant.fresh_seconds) {
        (true, _) => left,
        (false, None) => format!("fresh {left}"),
        (false, Some(_)) => format!("fresh for {left}"),
    }
}

fn reasons(told: &Explanation, sheet: &mut Sheet) {
    if let Some(forward) = &told.forward {
        sheet.line("forwarded", &cause(forward));
    }
    if let Some(reason) = &told.reason {
        sheet.line("because", &cause(reason));
        remedy(reason, sheet);
    }
    if let Some(LastRefusal {
        cause: refused,
        seconds_ago,
    }) = &told.last_refusal
    {
        let ago = seconds(*seconds_ago);
        let refusal = format!("not cached ({ago} ago): {}", cause(refused));
        sheet.line("last time", &refusal);
        remedy(refused, sheet);
    }
    if let Some(fallback) = &told.if_origin_fails {
        sheet.line("on failure", &on_failure(fallback));
    }
    if let Some(nearest) = &told.nearest {
        sheet.line("nearest", &nearest.path);
        sheet.line("", &difference(nearest));
    }
    for note in &told.notes {
        sheet.line("note", note);
    }
}

fn cause(cause: &ExplainedReason) -> String {
    let clause = cause.clause.as_ref();
    let clause = clause.map_or_else(String::new, |clause| format!(" ({clause})"));
    format!("{}: {}{clause}", cause.name, cause.words)
}

fn on_failure(Fallback { cause: forbids, .. }: &Fallback) -> String {
    match forbids {
        None => "if the origin fails, the cached response is served (RFC 9111, 4.2.4)".to_owned(),
        Some(forbids) => format!(
            "if the origin fails, the cached response is not served: {}",
            cause(forbids)
        ),
    }
}

fn remedy(cause: &ExplainedReason, sheet: &mut Sheet) {
    if let Some(remedy) = &cause.remedy {
        sheet.line("remedy", remedy);
    }
}

fn quoted(value: Option<&str>, nothing: &str) -> String {
    value.map_or_else(|| nothing.to_owned(), |value| format!("\"{value}\""))
}

fn difference(nearest: &Nearest) -> String {
    match nearest.differs_at {
        Some(at) => format!(
            "differs at byte {at}: cached {}, request {}",
            quoted(nearest.stored.as_deref(), "ends there"),
            quoted(nearest.asked.as_deref(), "ends there")
        ),
        None if nearest.differs_masked => {
            "differs in a value that is hidden because it may be a secret".to_owned()
        }
        None => "the same path, cached for other credentials or another request body".to_owned(),
    }
}
