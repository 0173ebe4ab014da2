//! `warm`: fills the cache by fetching a list of paths through the running proxy.

mod fetch;
mod gather;
mod list;
mod outcome;
mod progress;
mod resume;
mod retry_after;
mod sitemap;
mod summary;
mod target;

use std::{
    io,
    path::{Path, PathBuf},
    rc::Rc,
    time::Instant,
};

use actix_web::rt::System;
use caching_proxy::{cli::WarmArgs, control, observe::Report, origin::UrlError};
use futures_util::{StreamExt as _, stream};

use self::{
    fetch::Fetcher,
    list::Targets,
    outcome::FetchOutcome,
    progress::ProgressLine,
    resume::Notes,
    summary::{WarmSummary, counted},
    target::KnownHosts,
};
use super::text::{cut, json_line, plain};
use crate::{
    failure::Failure,
    signals::Signals,
    terminal::{print, say},
};

/// An error repeats at most this many characters of an argument.
const MAX_ECHO_CHARS: usize = 200;
/// The longest site, with scheme and port, in bytes; a host name has at most 253.
const MAX_SITE_BYTES: usize = 300;

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WarmError {
    #[error("a header has no colon; write it as -H 'Name: value'")]
    NoField,
    #[error("the header {0:?} is invalid; write it as -H 'Name: value'")]
    BadField(String),
    #[error("the header {0} is not allowed: warm fetches complete responses only")]
    RefusedField(String),
    #[error("--site")]
    Site(#[source] UrlError),
    #[error("--site: {:?} is too long for a host name", cut(.0, MAX_ECHO_CHARS))]
    LongSite(String),
    #[error("cannot read {}", named(name))]
    List { name: String, source: io::Error },
    #[error(
        "nothing was fetched, because {} has invalid lines:\n  {lines}",
        named(name)
    )]
    Lines { name: String, lines: String },
    #[error("more than {} paths; split them into several runs", list::MAX_PATHS)]
    TooMany,
    #[error("{}: {why}", named(source_name))]
    Source { source_name: String, why: String },
    #[error("cannot read {} as a sitemap: {why}", named(source_name))]
    Sitemap { source_name: String, why: String },
    #[error("{}", path.display())]
    Notes { path: PathBuf, source: io::Error },
    #[error("{} was not written by --resume for {origin}; use another file", path.display())]
    ForeignNotes { path: PathBuf, origin: String },
    #[error(
        "the proxy is offline, so it fetches nothing; connect it first: caching-proxy offline off"
    )]
    Offline,
    #[error("cannot start")]
    Start(#[source] io::Error),
    #[error("{} failed", counted(*.0, "request"))]
    SomeFailed(u64),
    #[error("interrupted; the paths that are already cached will be hits in the next run")]
    Interrupted,
    #[error(transparent)]
    Gone(#[from] Gone),
}

/// The proxy no longer accepts connections.
#[derive(Debug, thiserror::Error)]
#[error("the running proxy does not accept connections on its port: {0}")]
pub(crate) struct Gone(String);

impl WarmError {
    /// The exit code, as in [`Failure`].
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Sitemap { .. }
            | Self::Notes { .. }
            | Self::Offline
            | Self::Start(_)
            | Self::SomeFailed(_)
            | Self::Interrupted => 1,
            Self::NoField
            | Self::BadField(_)
            | Self::RefusedField(_)
            | Self::Site(_)
            | Self::LongSite(_)
            | Self::List { .. }
            | Self::Lines { .. }
            | Self::TooMany
            | Self::Source { .. }
            | Self::ForeignNotes { .. } => 2,
            Self::Gone(_) => 4,
        }
    }
}

/// An argument as an error repeats it.
fn named(argument: &str) -> String {
    plain(&cut(argument, MAX_ECHO_CHARS))
}

/// Where the paths come from.
enum PathSource {
    List(Targets),
    Sitemap,
}

/// The state of a run.
struct WarmRun<'a> {
    asked: &'a WarmArgs,
    place: KnownHosts,
    fetcher: Fetcher,
    notes: Option<Notes>,
    progress: ProgressLine,
    tally: WarmSummary,
}

/// Fetches all paths, and prints the summary.
pub(super) fn run(asked: &WarmArgs) -> Result<(), Failure> {
    let fields = fetch::fields(&asked.headers)?;
    let is_long = |site: &&String| site.len() > MAX_SITE_BYTES;
    if let Some(site) = asked.sites.iter().find(is_long) {
        return Err(WarmError::LongSite(site.clone()).into());
    }
    let chosen = control::choose(asked.proxy.port)?;
    let report: Report = chosen.ask("GET", "/stats", &[])?;
    if report.is_offline {
        return Err(WarmError::Offline.into());
    }
    let instance = chosen.instance;
    let place = KnownHosts::new(&instance, &asked.sites).map_err(WarmError::Site)?;
    let notes = asked
        .resume
        .as_deref()
        .map(|path| Notes::read(path, &instance.origin));
    let notes = notes.transpose()?;
    let source = source(&asked.source, &place)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(WarmError::Start)?;
    let system = System::with_tokio_rt(|| runtime);
    system.block_on(async {
        let fetcher = Fetcher::new(&instance, fields, asked.timeout, asked.concurrency);
        let run = WarmRun {
            asked,
            place,
            fetcher: fetcher?,
            notes,
            progress: ProgressLine::new(),
            tally: WarmSummary::default(),
        };
        Ok(run.all(source).await?)
    })
}

/// A URL or a path without a file of that name is a sitemap on the proxy; anything else is a list.
fn source(given: &str, place: &KnownHosts) -> Result<PathSource, WarmError> {
    let is_url = given.contains("://");
    if given != "-" && (is_url || given.starts_with('/') && !Path::new(given).exists()) {
        return Ok(PathSource::Sitemap);
    }
    Ok(PathSource::List(list::read(given, place)?))
}

impl WarmRun<'_> {
    async fn all(mut self, source: PathSource) -> Result<(), WarmError> {
        let begun = Instant::now();
        let mut signals = Signals::new().map_err(WarmError::Start)?;
        let ended = tokio::select! {
            biased;
            _ = signals.next() => Err(WarmError::Interrupted),
            ended = self.fetch(source) => ended,
        };
        self.tally.took(begun.elapsed(), self.fetcher.waited());
        self.conclude(ended)
    }

    async fn fetch(&mut self, source: PathSource) -> Result<(), WarmError> {
        let Targets {
            mut paths,
            duplicates,
            ..
        } = match source {
            PathSource::List(targets) => targets,
            PathSource::Sitemap => {
                let Self {
                    asked,
                    place,
                    fetcher,
                    progress,
                    tally,
                    ..
                } = self;
                gather::gather(&asked.source, place, fetcher, progress, tally).await?
            }
        };
        self.tally.paths = paths.len() as u64;
        self.tally.duplicates = duplicates;
        if let Some(notes) = &self.notes {
            paths.retain(|path| !notes.has(path));
            self.tally.resumed = self.tally.paths - paths.len() as u64;
        }
        self.progress.begin(paths.len());
        self.tally.not_tried = paths.len() as u64;
        let fetcher = &self.fetcher;
        let mut outcomes = stream::iter(paths)
            .map(|path| async move {
                let outcome = fetcher.warm(&path).await;
                (path, outcome)
            })
            .buffer_unordered(usize::from(self.asked.concurrency));
        while let Some((path, outcome)) = outcomes.next().await {
            match outcome {
                FetchOutcome::Gone(why) => return Err(Gone(why).into()),
                outcome => {
                    self.tally.not_tried -= 1;
                    let is_stored = !matches!(outcome, FetchOutcome::NotStored { .. });
                    self.tally.count(&path, outcome);
                    note(&mut self.notes, path, is_stored)?;
                }
            }
            self.progress.step(&self.tally);
        }
        Ok(())
    }

    /// Prints the summary, unless the run failed before it had paths to fetch.
    fn conclude(mut self, ended: Result<(), WarmError>) -> Result<(), WarmError> {
        drop(self.progress);
        self.tally.interrupted = ended.is_err();
        if let Some(notes) = &mut self.notes {
            notes.save()?;
        }
        if ended.is_ok() || self.tally.paths > 0 {
            print(&match self.asked.proxy.json {
                true => json_line(&self.tally).unwrap_or_default(),
                false => self.tally.text(),
            });
        }
        ended?;
        if let Some(host) = self.tally.likely_site() {
            say(&format!(
                "all URLs are on other hosts; if {host} is another name of the origin, use --site {host}"
            ));
        }
        match (self.tally.failed, self.notes) {
            (0, Some(notes)) => notes.remove(),
            (0, None) => Ok(()),
            (failed, _) => Err(WarmError::SomeFailed(failed)),
        }
    }
}

fn note(notes: &mut Option<Notes>, path: Rc<str>, is_stored: bool) -> Result<(), WarmError> {
    match notes {
        Some(notes) if !is_stored => notes.note(path),
        _ => Ok(()),
    }
}
