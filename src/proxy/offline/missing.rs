//! Why nothing that is stored matches a request, for people: the nearest stored key, and how it differs.

use std::sync::Arc;

use actix_web::http::Method;

use crate::{
    cache::{Cache, Entry, Key},
    mask::{cut, hidden},
    policy::{Reason, RequestContent},
    proxy::{
        offline::differences::{NearestKey, differences},
        request::forwarded::ForwardedRequest,
    },
};

/// A path is shown up to this length, in characters.
const MAX_PATH_CHARS: usize = 300;

/// Says in sentences that nothing stored matches `asked`, and what is nearest. `found` is what is stored for its key. The
/// nearest key is searched in `cache`; `None` leaves that out.
pub(crate) async fn sentences(
    cache: Option<&Cache>,
    asked: &ForwardedRequest,
    found: &[Arc<Entry>],
) -> Vec<String> {
    let request = described(&asked.method, &asked.target);
    let mut sentences = vec![format!(
        "The proxy is offline, and no stored response matches {request}."
    )];
    if let Some(why) = not_looked_up(asked) {
        sentences.push(why);
        return sentences;
    }
    let variants: Vec<&Entry> = found.iter().map(|entry| &**entry).collect();
    if !variants.is_empty() {
        let identity = variants.iter().find_map(|entry| entry.head().partition());
        let key = Key {
            identity,
            ..asked.key.clone()
        };
        sentences.extend(compared(asked, &key, &variants));
        return sentences;
    }
    let Some(cache) = cache else {
        return sentences;
    };
    match cache.nearest(&asked.key.recorded(asked.key.identity)).await {
        Ok(Some(nearest)) => {
            let variants: Vec<&Entry> = nearest.variants.iter().map(|entry| &**entry).collect();
            sentences.extend(compared(asked, &nearest.key, &variants));
        }
        Ok(None) => sentences.push("Nothing is stored.".to_owned()),
        Err(error) => sentences.push(format!(
            "The nearest stored response is not known: {error}."
        )),
    }
    sentences
}

/// Why the cache is not asked about a request; `None` if it is.
fn not_looked_up(asked: &ForwardedRequest) -> Option<String> {
    if asked.is_handshake() {
        return Some("A WebSocket needs the origin.".to_owned());
    }
    let is_read = matches!(asked.method, Method::GET | Method::HEAD);
    let why = match (asked.bypass, asked.unkeyed) {
        (Some(reason), _) | (None, Some(reason)) => reason,
        (None, None) if is_read && asked.content == RequestContent::Some => Reason::RequestBody,
        (None, None) if !is_read && asked.content != RequestContent::Keyed => {
            return Some(
                "Offline only GET, HEAD, and POST by a rule with store_post are answered."
                    .to_owned(),
            );
        }
        (None, None) => return None,
    };
    Some(format!(
        "Such a request is not answered from the cache: {}.",
        why.meaning()
    ))
}

fn compared(asked: &ForwardedRequest, key: &Key, variants: &[&Entry]) -> Vec<String> {
    let stored = NearestKey { key, variants };
    let method = match key.content {
        Some(_) => Method::POST,
        None => Method::GET,
    };
    let mut sentences = vec![format!(
        "Nearest stored: {}.",
        described(&method, key.resource.target())
    )];
    let differences = differences(asked, &stored);
    if !differences.is_empty() {
        sentences.push(format!("Differs: {}.", differences.join("; ")));
    }
    sentences
}

/// Method and target, secrets masked.
fn described(method: &Method, target: &str) -> String {
    format!("{method} {}", cut(&hidden(target), MAX_PATH_CHARS))
}
