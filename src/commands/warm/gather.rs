//! The paths in a sitemap and in the sitemaps it lists.

use std::collections::{HashSet, VecDeque};

use super::{
    Gone, WarmError,
    fetch::Fetcher,
    list::Targets,
    outcome::FetchOutcome,
    progress::ProgressLine,
    sitemap::{self, MAX_SITEMAP_BYTES, Sitemap},
    summary::WarmSummary,
    target::{KnownHosts, Misfit},
};

/// The most sitemaps in one run.
const MAX_SITEMAPS: usize = 1000;
/// Added to the error for a path that is not a sitemap.
const NO_FILE: &str = "; there is no file with that name either. \
    To warm single paths: printf '/a\\n/b\\n' | caching-proxy warm -";
/// How deep indexes may list indexes. The protocol forbids it; some sites do it.
const MAX_INDEX_DEPTH: u8 = 3;

/// Reads a sitemap through the proxy, and the sitemaps it lists.
pub(super) async fn gather(
    source: &str,
    place: &KnownHosts,
    fetcher: &Fetcher,
    progress: &ProgressLine,
    tally: &mut WarmSummary,
) -> Result<Targets, WarmError> {
    let first = place.target(source).map_err(|misfit| WarmError::Source {
        source_name: source.to_owned(),
        why: misfit.to_string(),
    })?;
    let mut gathering = Gathering {
        known: HashSet::from([first.clone()]),
        waiting: VecDeque::from([(first, 0)]),
        targets: Targets::default(),
        place,
        tally,
    };
    while let Some((target, depth)) = gathering.waiting.pop_front() {
        let document = fetcher.document(&target, MAX_SITEMAP_BYTES).await;
        let found = match document {
            Ok(document) => sitemap::parse(&document)
                .map_err(|error| (error.to_string(), error.is_other_document())),
            Err(FetchOutcome::Gone(why)) => return Err(Gone(why).into()),
            Err(FetchOutcome::Failed { error, status }) => Err((error, status == Some(404))),
            Err(_) => continue,
        };
        match found {
            Ok(found) => gathering.take(&target, depth, found)?,
            Err((why, is_other)) if gathering.tally.sitemaps == 0 => {
                // A file of that name would have been read as a list.
                let hint = match source.starts_with('/') && is_other {
                    true => NO_FILE,
                    false => "",
                };
                return Err(WarmError::Sitemap {
                    source_name: source.to_owned(),
                    why: why + hint,
                });
            }
            Err((why, _)) => gathering
                .tally
                .failed(&target, None, &format!("sitemap: {why}")),
        }
        progress.reading(gathering.tally.sitemaps, gathering.targets.paths.len());
    }
    Ok(gathering.targets)
}

struct Gathering<'a> {
    known: HashSet<String>,
    waiting: VecDeque<(String, u8)>,
    targets: Targets,
    place: &'a KnownHosts,
    tally: &'a mut WarmSummary,
}

impl Gathering<'_> {
    fn take(&mut self, parent: &str, depth: u8, found: Sitemap) -> Result<(), WarmError> {
        self.tally.sitemaps += 1;
        match found {
            Sitemap::Pages(pages) => {
                for page in pages {
                    if let Some(target) = self.target(&page) {
                        self.targets.add(target)?;
                    }
                }
            }
            Sitemap::Index(_) if depth == MAX_INDEX_DEPTH => self.tally.failed(
                parent,
                None,
                &format!(
                    "sitemap: indexes are followed {MAX_INDEX_DEPTH} deep, and this one is deeper"
                ),
            ),
            Sitemap::Index(sitemaps) => {
                for sitemap in sitemaps {
                    let Some(target) = self.target(&sitemap) else {
                        continue;
                    };
                    if self.known.contains(&target) {
                        continue;
                    }
                    if self.known.len() == MAX_SITEMAPS {
                        let why = format!(
                            "sitemap: it lists more than {MAX_SITEMAPS} sitemaps, the most that are read"
                        );
                        self.tally.failed(parent, None, &why);
                        break;
                    }
                    self.known.insert(target.clone());
                    self.waiting.push_back((target, depth + 1));
                }
            }
        }
        Ok(())
    }

    /// The target of a location. `None` if it is on another host, outside the origin's path (both are counted), or cannot be
    /// sent (which counts as failed).
    fn target(&mut self, text: &str) -> Option<String> {
        match self.place.target(text) {
            Ok(target) => return Some(target),
            Err(Misfit::OtherHost { host, .. }) => self.tally.elsewhere(host),
            Err(Misfit::Outside { .. }) => self.tally.outside += 1,
            Err(misfit) => {
                let text: String = text
                    .chars()
                    .filter(|letter| !letter.is_control())
                    .take(60)
                    .collect();
                self.tally.failed(&text, None, &misfit.to_string());
            }
        }
        None
    }
}
