//! What of the cache is looked at and taken out: `purge`, `ls`, `show` and `why`.
//!
//! Each question is a JSON document, so is each answer; what is wrong with a question is said in words, with status 400.

use actix_web::{
    HttpResponse,
    web::{self, Bytes, Data, ServiceConfig},
};
use bytesize::ByteSize;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    cache::{CacheUnavailable, How, List, MAX_LISTED, MAX_OFFSET, Names, Order, Wanted},
    proxy::{self, Shared},
};

/// What `POST /purge` is asked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeAsk {
    /// What is meant.
    pub names: Names,
    /// What becomes of it.
    #[serde(default)]
    pub how: How,
}

/// What `POST /list` is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListAsk {
    /// A path or a pattern; none: all.
    pub path: Option<String>,
    /// In which order.
    pub order: Order,
    /// How many are listed.
    pub limit: usize,
    /// How many are left out before.
    pub offset: usize,
}

impl Default for ListAsk {
    fn default() -> Self {
        Self {
            path: None,
            order: Order::Path,
            limit: 50,
            offset: 0,
        }
    }
}

pub(super) fn routes(app: &mut ServiceConfig) {
    app.route("/purge", web::post().to(purge))
        .route("/list", web::post().to(list));
}

/// Why a question is not answered.
enum Refusal {
    /// What would be right.
    Wrong(String),
    Unavailable(CacheUnavailable),
}

impl From<CacheUnavailable> for Refusal {
    fn from(error: CacheUnavailable) -> Self {
        Self::Unavailable(error)
    }
}

fn wrong(error: impl ToString) -> Refusal {
    Refusal::Wrong(error.to_string())
}

fn answer<T: Serialize>(outcome: Result<T, Refusal>) -> HttpResponse {
    match outcome {
        Ok(answer) => HttpResponse::Ok().json(answer),
        Err(Refusal::Wrong(sentence)) => HttpResponse::BadRequest().body(sentence),
        Err(Refusal::Unavailable(error)) => {
            HttpResponse::ServiceUnavailable().body(error.to_string())
        }
    }
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(wrong)
}

fn wanted(names: &Names, shared: &Shared) -> Result<Wanted, Refusal> {
    let config = &shared.config;
    Wanted::named(names, &config.rules, config.preserve_host).map_err(wrong)
}

async fn purge(body: Bytes, shared: Data<Shared>) -> HttpResponse {
    let purged = async {
        let PurgeAsk { names, how } = read(&body)?;
        let wanted = wanted(&names, &shared)?;
        let purged = shared.cache.purge(wanted, how, proxy::clock()).await?;
        if how != How::Look {
            let did = if how == How::Expire {
                "made stale"
            } else {
                "purged"
            };
            log::info!(
                "{did}: answers {}, {}",
                purged.answers,
                ByteSize(purged.bytes)
            );
        }
        Ok(purged)
    };
    answer(purged.await)
}

async fn list(body: Bytes, shared: Data<Shared>) -> HttpResponse {
    let listing = async {
        let ask: ListAsk = read(&body)?;
        if ask.limit > MAX_LISTED {
            return Err(wrong(format!("--limit is at most {MAX_LISTED}")));
        }
        if ask.offset > MAX_OFFSET {
            return Err(wrong(format!(
                "--offset is at most {MAX_OFFSET}; a pattern such as \"/products/*\" narrows the list"
            )));
        }
        let list = List {
            wanted: match ask.path {
                None => Wanted::everything(),
                Some(path) => wanted(
                    &Names {
                        paths: vec![path],
                        ..Names::default()
                    },
                    &shared,
                )?,
            },
            order: ask.order,
            offset: ask.offset,
            limit: ask.limit,
        };
        Ok(shared.cache.list(&list, proxy::clock()).await?)
    };
    answer(listing.await)
}
