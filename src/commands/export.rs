//! `export`: what is stored, as a HAR file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use caching_proxy::{
    admin::{ExportFrame, ExportRequest, ExportSummary},
    cli::ExportArgs,
    control::{self, ResponseStream},
};

use super::text::json_line;
use crate::{
    failure::Failure,
    terminal::{counted, print, say},
};

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the export ended too early; the file was not written")]
    Ended(#[source] io::Error),
    #[error("the proxy could not finish the export: {0}; the file was not written")]
    Failed(String),
}

/// Writes the file, and says what is in it.
pub(super) fn run(asked: &ExportArgs) -> Result<(), Failure> {
    let request = ExportRequest {
        paths: asked.paths.clone(),
        with_secrets: asked.with_secrets,
    };
    let body = serde_json::to_vec(&request).map_err(|error| Failure::Print(error.into()))?;
    let stream = control::choose(asked.proxy.port)?.open("POST", "/export", &body)?;
    let is_stdout = asked.file == Path::new("-");
    let summary = match is_stdout {
        true => receive(stream, &mut io::stdout().lock(), &asked.file)?,
        false => to_file(stream, &asked.file)?,
    };
    tell(&summary);
    if is_stdout {
        return Ok(());
    }
    match asked.proxy.json {
        true => print(&json_line(&summary)?),
        false => print(&format!(
            "Exported {} to {}\n",
            counted(summary.exported, "response", "responses"),
            asked.file.display()
        )),
    }
    Ok(())
}

/// Writes a file that takes the name of `path` when it is whole. A device or a pipe stays what it is, and so does a link.
fn to_file(stream: ResponseStream, path: &Path) -> Result<ExportSummary, ExportError> {
    let failed = |source| ExportError::Write {
        path: path.to_owned(),
        source,
    };
    let there = fs::metadata(path).ok();
    if there.as_ref().is_some_and(|it| !it.is_file()) {
        let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        let mut file = BufWriter::new(file);
        let summary = receive(stream, &mut file, path)?;
        file.flush().map_err(failed)?;
        return Ok(summary);
    }
    let path = &match there {
        Some(_) => fs::canonicalize(path).map_err(failed)?,
        None => path.to_owned(),
    };
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let file = create(&part).map_err(failed)?;
    let mut file = BufWriter::new(file);
    let written = receive(stream, &mut file, path).and_then(|summary| {
        file.flush().map_err(failed)?;
        fs::rename(&part, path).map_err(failed)?;
        Ok(summary)
    });
    if written.is_err() {
        // The error is what matters.
        let _ = fs::remove_file(&part);
    }
    written
}

/// What is cached may be private, so the file is for this user alone.
fn create(path: &Path) -> io::Result<File> {
    // What an export that was interrupted has left.
    let _ = fs::remove_file(path);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// Copies the parts of the file to `out`.
fn receive(
    mut stream: ResponseStream,
    out: &mut impl Write,
    path: &Path,
) -> Result<ExportSummary, ExportError> {
    loop {
        match ExportFrame::read(&mut stream).map_err(ExportError::Ended)? {
            ExportFrame::Text(text) => {
                out.write_all(&text).map_err(|source| ExportError::Write {
                    path: path.to_owned(),
                    source,
                })?;
            }
            ExportFrame::Summary(summary) => return Ok(summary),
            ExportFrame::Failed(why) => return Err(ExportError::Failed(why)),
        }
    }
}

/// Says what is not in the file, and what is not as it may be expected.
fn tell(summary: &ExportSummary) {
    if let Some(scrubbed) = summary.scrubbed.sentence() {
        say(&format!(
            "left out: {scrubbed} (--with-secrets exports them)"
        ));
    }
    if summary.exported > 0 {
        say("bodies are exported as they are: look for secrets in them before you share the file");
    }
    if summary.own > 0 {
        say(&format!(
            "{} made for one user: their credentials are not cached, so an import needs --shared",
            match summary.own {
                1 => "1 response was".to_owned(),
                own => format!("{own} responses were"),
            }
        ));
    }
    if summary.encoded > 0 {
        say(&format!(
            "{} a content coding such as gzip, which browsers show as bytes",
            match summary.encoded {
                1 => "1 body has".to_owned(),
                encoded => format!("{encoded} bodies have"),
            }
        ));
    }
    if summary.gone > 0 {
        say(&format!(
            "{} not exported: replaced or removed meanwhile, or not readable on disk",
            counted(summary.gone, "response was", "responses were")
        ));
    }
    if summary.left_out > 0 {
        say(&format!(
            "{} not exported: their route is not configured any more",
            counted(summary.left_out, "response was", "responses were")
        ));
    }
}
