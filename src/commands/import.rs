//! `import`: the responses of a HAR file.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use caching_proxy::{
    admin::{ImportOutcome, ImportRequest},
    cli::ImportArgs,
    control::{self, ChosenInstance, ControlError},
    har::{self, HarEntry, HarError, LongTexts, Stop},
};
use serde::Serialize;

use super::text::{cut, json_line, plain};
use crate::{
    failure::Failure,
    terminal::{counted, print, say},
};

/// The most reasons that are told apart, and the most entries that are named for each.
const MAX_REASONS: usize = 20;
const MAX_NAMED: usize = 5;
/// A reason is shown up to this length, in characters.
const MAX_REASON_CHARS: usize = 300;

/// Why an import failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error("cannot read {}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("{}", path.display())]
    File { path: PathBuf, source: HarError },
    #[error("nothing was imported")]
    Nothing,
}

impl ImportError {
    /// The exit code, as in [`Failure`].
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Open { .. } => 2,
            Self::File { .. } | Self::Nothing => 1,
        }
    }
}

/// What became of the entries of a file.
#[derive(Debug, Default, Serialize)]
struct ImportSummary {
    imported: u64,
    skipped: Vec<SkippedEntries>,
}

/// The entries that were not imported for one reason.
#[derive(Debug, Serialize)]
struct SkippedEntries {
    reason: String,
    count: u64,
    /// The numbers of the first ones, counted from 1.
    entries: Vec<u64>,
}

/// Imports, and says what was imported and what was not.
pub(super) fn run(asked: &ImportArgs) -> Result<(), Failure> {
    let (texts, file): (LongTexts, Box<dyn Read>) = match asked.file == Path::new("-") {
        true => (LongTexts::default(), Box::new(io::stdin().lock())),
        false => File::open(&asked.file)
            .and_then(har::open_file)
            .map_err(|source| ImportError::Open {
                path: asked.file.clone(),
                source,
            })?,
    };
    let proxy = control::choose(asked.proxy.port)?;
    let mut summary = ImportSummary::default();
    let mut failure = None;
    let read = har::read_entries(file, &mut |number, entry| {
        match import(&proxy, asked, (entry.get(), &texts)) {
            Ok(None) => summary.imported += 1,
            Ok(Some(reason)) => summary.skip(reason, number),
            Err(error) => {
                failure = Some(error);
                return Err(Stop);
            }
        }
        Ok(())
    });
    summary.tell();
    let imported = counted(summary.imported, "response", "responses");
    let read = match failure {
        Some(error) => Err(Failure::from(error)),
        None => read.map_err(|source| {
            let path = asked.file.clone();
            ImportError::File { path, source }.into()
        }),
    };
    if read.is_err() && summary.imported > 0 {
        say(&format!("{imported} before that imported, and kept"));
    }
    let read = read?;
    if asked.proxy.json {
        print(&json_line(&summary)?);
    } else if summary.imported > 0 {
        print(&format!("Imported {imported}\n"));
    }
    match (summary.imported, read) {
        (0, Some(1..)) => Err(ImportError::Nothing.into()),
        _ => Ok(()),
    }
}

/// Imports one entry. Returns why it was not imported; `None` if it was.
fn import(
    proxy: &ChosenInstance,
    asked: &ImportArgs,
    (entry, texts): (&str, &LongTexts),
) -> Result<Option<String>, ControlError> {
    let entry: HarEntry<'_> = match serde_json::from_str(entry) {
        Ok(entry) => entry,
        Err(error) => return Ok(Some(format!("it is not an entry of HAR 1.2: {error}"))),
    };
    let (exchange, body) = match har::convert(entry, texts) {
        Ok(converted) => converted,
        Err(reason) => return Ok(Some(reason.to_string())),
    };
    let request = ImportRequest {
        exchange,
        shared: asked.shared,
        sites: asked.sites.clone(),
    };
    let description = match serde_json::to_vec(&request) {
        Ok(description) => description,
        Err(error) => return Ok(Some(error.to_string())),
    };
    let mut write = |out: &mut dyn Write| body.write_to(out);
    let ImportOutcome { refused } = proxy.import(&description, (body.len_bytes(), &mut write))?;
    Ok(refused)
}

impl ImportSummary {
    fn skip(&mut self, reason: String, number: u64) {
        let is_new = !self.skipped.iter().any(|skipped| skipped.reason == reason);
        let reason = match is_new && self.skipped.len() >= MAX_REASONS {
            true => "for other reasons".to_owned(),
            false => reason,
        };
        let place = self.skipped.iter().position(|it| it.reason == reason);
        let place = place.unwrap_or_else(|| {
            self.skipped.push(SkippedEntries {
                reason,
                count: 0,
                entries: Vec::new(),
            });
            self.skipped.len() - 1
        });
        let skipped = &mut self.skipped[place];
        skipped.count += 1;
        if skipped.entries.len() < MAX_NAMED {
            skipped.entries.push(number);
        }
    }

    fn tell(&self) {
        for SkippedEntries {
            reason,
            count,
            entries,
        } in &self.skipped
        {
            let numbers: Vec<String> = entries.iter().map(u64::to_string).collect();
            let more = match entries.len() as u64 == *count {
                true => "",
                false => ", ...",
            };
            let noun = if *count == 1 { "entry" } else { "entries" };
            say(&format!(
                "{count} {noun} not imported ({}{more}): {}",
                numbers.join(", "),
                plain(&cut(reason, MAX_REASON_CHARS))
            ));
        }
    }
}
