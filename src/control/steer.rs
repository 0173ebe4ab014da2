//! What of the cache is looked at and taken out: `purge`, `ls`, `show` and `why`.
//!
//! Each question is a JSON document, so is each answer; what is wrong with a question is said in words, with status 400.

use actix_web::{
    HttpResponse,
    http::{
        Method, Uri,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    web::{self, Bytes, Data, ServiceConfig},
};
use bytesize::ByteSize;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    cache::{
        self, CacheUnavailable, EntryFilter, FilterSpec, ListOrder, ListQuery, MAX_LISTED,
        MAX_OFFSET, PurgeAction,
    },
    clock, explain,
    mask::cut,
    proxy::{self, DescribedRequest, Shared},
};

/// No request has more fields than these.
const MAX_FIELDS: usize = 100;
/// What is wrong is repeated up to this many characters.
const MAX_ECHO_CHARS: usize = 200;

/// What `POST /purge` is asked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeRequest {
    /// What is meant.
    pub names: FilterSpec,
    /// What becomes of it.
    #[serde(default)]
    pub how: PurgeAction,
}

/// What `POST /list` is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListRequest {
    /// A path or a pattern; none: all.
    pub path: Option<String>,
    /// In which order.
    pub order: ListOrder,
    /// How many are listed.
    pub limit: usize,
    /// How many are left out before.
    pub offset: usize,
}

impl Default for ListRequest {
    fn default() -> Self {
        Self {
            path: None,
            order: ListOrder::Path,
            limit: 50,
            offset: 0,
        }
    }
}

/// What `POST /show` is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowRequest {
    /// A path with its query, or a URL.
    pub path: String,
}

/// What `POST /why` is asked: a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WhyRequest {
    /// Its method.
    pub method: String,
    /// A path with its query, or a URL.
    pub path: String,
    /// Its fields, each as `InstanceName: value`.
    pub fields: Vec<String>,
}

impl Default for WhyRequest {
    fn default() -> Self {
        Self {
            method: Method::GET.to_string(),
            path: String::new(),
            fields: Vec::new(),
        }
    }
}

pub(super) fn routes(app: &mut ServiceConfig) {
    app.route("/purge", web::post().to(purge))
        .route("/list", web::post().to(list))
        .route("/show", web::post().to(show))
        .route("/why", web::post().to(why));
}

/// Why a question is not answered.
pub(super) enum Refusal {
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

pub(super) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(wrong)
}

fn wanted(names: &FilterSpec, shared: &Shared) -> Result<EntryFilter, Refusal> {
    let config = shared.config();
    EntryFilter::new(names, &config.rules, config.preserve_host).map_err(wrong)
}

async fn purge(body: Bytes, shared: Data<Shared>) -> HttpResponse {
    let purged = async {
        let PurgeRequest { names, how } = read(&body)?;
        let wanted = wanted(&names, &shared)?;
        let purged = shared.cache.purge(wanted, how, clock::now()).await?;
        if how != PurgeAction::DryRun {
            let did = if how == PurgeAction::Expire {
                "made stale"
            } else {
                "purged"
            };
            log::info!(
                "{did}: answers {}, {}",
                purged.responses,
                ByteSize(purged.bytes)
            );
        }
        Ok(purged)
    };
    answer(purged.await)
}

async fn list(body: Bytes, shared: Data<Shared>) -> HttpResponse {
    let listing = async {
        let ask: ListRequest = read(&body)?;
        if ask.limit > MAX_LISTED {
            return Err(wrong(format!("--limit is at most {MAX_LISTED}")));
        }
        if ask.offset > MAX_OFFSET {
            return Err(wrong(format!(
                "--offset is at most {MAX_OFFSET}; a pattern such as \"/products/*\" narrows the list"
            )));
        }
        let list = ListQuery {
            filter: match ask.path {
                None => EntryFilter::all(),
                Some(path) => wanted(
                    &FilterSpec {
                        paths: vec![path],
                        ..FilterSpec::default()
                    },
                    &shared,
                )?,
            },
            order: ask.order,
            offset: ask.offset,
            limit: ask.limit,
        };
        Ok(shared.cache.list(&list, clock::now()).await?)
    };
    answer(listing.await)
}

async fn show(body: Bytes, shared: Data<Shared>) -> HttpResponse {
    let shown = async {
        let ShowRequest { path } = read(&body)?;
        let names = FilterSpec {
            paths: vec![path],
            exact: true,
            ..FilterSpec::default()
        };
        let rows = shared.cache.matching(&wanted(&names, &shared)?).await?;
        Ok(explain::show(&rows, &shared.config(), clock::now()))
    };
    answer(shown.await)
}

async fn why(body: Bytes, shared: Data<Shared>) -> HttpResponse {
    let explanation = async {
        let described = described(&read(&body)?)?;
        let now = clock::now();
        let considered = match proxy::dry_run(&shared, &described, now).await? {
            Ok(considered) => considered,
            Err(error) => {
                let path = described.uri.path_and_query();
                let path = path.map_or("", |path| path.as_str());
                return Ok(explain::refused(described.method.as_str(), path, &error));
            }
        };
        let nearest = match considered.is_unknown() {
            true => shared.cache.nearest(considered.target()).await?,
            false => None,
        };
        Ok(explain::why(&considered, nearest.as_deref(), now))
    };
    answer(explanation.await)
}

/// The request that a question describes.
pub(super) fn described(ask: &WhyRequest) -> Result<DescribedRequest, Refusal> {
    if ask.fields.len() > MAX_FIELDS {
        return Err(wrong(format!("a request has at most {MAX_FIELDS} fields")));
    }
    let method = Method::from_bytes(ask.method.as_bytes()).map_err(|_| {
        let given = cut(&ask.method, MAX_ECHO_CHARS);
        wrong(format!("{given:?} is no method: one is a word such as GET"))
    })?;
    let mut fields = HeaderMap::new();
    for line in &ask.fields {
        let (name, value) = field(line)?;
        fields.append(name, value);
    }
    let target = cache::parse_target(&ask.path, false).map_err(wrong)?;
    let uri = Uri::try_from(&target).map_err(|_| {
        let given = cut(&target, MAX_ECHO_CHARS);
        wrong(format!("{given:?} is no path that a request can have"))
    })?;
    let url = Uri::try_from(&ask.path).ok();
    let host = url.as_ref().and_then(Uri::authority);
    let host = host.and_then(|host| HeaderValue::try_from(host.as_str()).ok());
    if let Some(host) = host
        && !fields.contains_key(header::HOST)
    {
        fields.insert(header::HOST, host);
    }
    Ok(DescribedRequest {
        method,
        uri,
        headers: fields,
    })
}

fn field(line: &str) -> Result<(HeaderName, HeaderValue), Refusal> {
    let refused = |what: &str| {
        let given = cut(line, MAX_ECHO_CHARS);
        wrong(format!("{given:?} {what}"))
    };
    // A line end in it would begin another field, which nobody could send.
    if line.contains(|letter: char| letter.is_control() && letter != '\t') {
        return Err(refused(
            "holds a line end or another control character, which no field can; give each field with a -H of its own",
        ));
    }
    let parsed = line.split_once(':').and_then(|(name, value)| {
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value.trim().as_bytes()).ok()?))
    });
    parsed.ok_or_else(|| refused("is no field: one is written as 'Accept: text/html'"))
}
