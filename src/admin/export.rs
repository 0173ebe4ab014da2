//! `export`: what is stored, as a HAR file, piece by piece: neither side has all of it in memory.

use std::{
    collections::HashMap,
    fmt::Write as _,
    io::{self, Read},
};

use actix_web::http::header::{AGE, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, HOST, RANGE};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Sender;

use super::{AdminError, filter};
use crate::{
    cache::{
        Body, CacheUnavailable, ChunkedLookup, Entry, EntryFilter, FileBody, FilterSpec,
        KeyVariants, Slices,
    },
    har::{
        BodyText, ExportMark, ExportedEntry, FILE_BEGIN, HeaderLine, RecordedExchange, ScrubReport,
        Scrubber, Utf8Check, file_end, is_text,
    },
    policy::{Audience, Identity, Policy, Time, is_name},
    proxy::Shared,
};

/// The longest frame, in bytes. A piece of a body is shorter, and so are all headers of a response.
const MAX_FRAME_BYTES: u32 = 16 * 1024 * 1024;
/// So much text of a body is sent in one frame, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// Which responses to export, and how.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExportRequest {
    /// Paths or patterns; none exports everything.
    pub paths: Vec<String>,
    /// Whether credentials, cookies and secret parameters are exported too.
    pub with_secrets: bool,
}

/// What was exported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExportSummary {
    /// Responses in the file.
    pub exported: u64,
    /// Responses of routes that are not configured any more: they have no URL.
    pub left_out: u64,
    /// Responses that were replaced or removed during the export, or whose body cannot be read from disk.
    pub gone: u64,
    /// Responses for one user, whose credentials are not stored and so not in the file.
    pub own: u64,
    /// Responses whose body has a content coding, which other programs do not decode.
    pub encoded: u64,
    /// Secrets that were left out.
    pub scrubbed: ScrubReport,
}

/// A part of an export on its way.
#[derive(Debug, PartialEq, Eq)]
pub enum ExportFrame {
    /// A part of the file.
    Text(Bytes),
    /// The end of the file.
    Summary(ExportSummary),
    /// The export could not be finished.
    Failed(String),
}

impl ExportFrame {
    /// The frame as it is sent: its kind, its length, its content.
    fn encode(self) -> Bytes {
        let (kind, content) = match self {
            Self::Text(text) => (b't', text),
            Self::Summary(summary) => {
                // Numbers and names can always be written.
                let summary = serde_json::to_vec(&summary).unwrap_or_default();
                (b's', summary.into())
            }
            Self::Failed(why) => (b'f', why.into()),
        };
        let mut frame = Vec::with_capacity(5 + content.len());
        frame.push(kind);
        let len = u32::try_from(content.len()).unwrap_or(u32::MAX);
        frame.extend(len.to_be_bytes());
        frame.extend(content);
        frame.into()
    }

    /// Reads the next frame.
    ///
    /// # Errors
    /// There is none, or it is not valid.
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut head = [0; 5];
        from.read_exact(&mut head)?;
        let [kind, len @ ..] = head;
        let len = u32::from_be_bytes(len);
        if len > MAX_FRAME_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut content = Vec::new();
        from.by_ref()
            .take(u64::from(len))
            .read_to_end(&mut content)?;
        if content.len() as u64 != u64::from(len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match kind {
            b't' => Ok(Self::Text(content.into())),
            b's' => Ok(Self::Summary(serde_json::from_slice(&content)?)),
            b'f' => Ok(Self::Failed(String::from_utf8_lossy(&content).into_owned())),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Checks a request for an export.
///
/// # Errors
/// A path is not valid.
pub fn export(shared: &Shared, request: &ExportRequest) -> Result<Export, AdminError> {
    let wanted = match request.paths.is_empty() {
        true => EntryFilter::all(),
        false => {
            let names = FilterSpec {
                paths: request.paths.clone(),
                ..FilterSpec::default()
            };
            filter(&names, shared)?
        }
    };
    Ok(Export {
        wanted,
        scrubber: match request.with_secrets {
            true => Scrubber::keeping_secrets(),
            false => Scrubber::default(),
        },
        identities: HashMap::new(),
        summary: ExportSummary::default(),
    })
}

/// An export that is about to begin.
#[derive(Debug)]
pub struct Export {
    wanted: EntryFilter,
    scrubber: Scrubber,
    /// The numbers of the identities that have responses of their own.
    identities: HashMap<Identity, u64>,
    summary: ExportSummary,
}

/// Why an export stops before its end.
#[derive(Debug, thiserror::Error)]
enum ExportStop {
    /// Nobody receives it any more.
    #[error("nobody receives the export")]
    Left,
    /// A body could not be read from disk, after a part of it was sent.
    #[error("a body cannot be read from disk: {0}")]
    Body(io::Error),
    /// The cache did not respond.
    #[error(transparent)]
    CacheUnavailable(#[from] CacheUnavailable),
}

impl Export {
    /// Sends the frames of the export, the last of which says how it has ended.
    pub async fn run(mut self, shared: &Shared, to: &Sender<Bytes>, now: Time) {
        let last = match self.entries(shared, to, now).await {
            Ok(()) => ExportFrame::Summary(self.summary),
            Err(ExportStop::Left) => return,
            Err(error) => ExportFrame::Failed(error.to_string()),
        };
        let _ = to.send(last.encode()).await;
    }

    async fn entries(
        &mut self,
        shared: &Shared,
        to: &Sender<Bytes>,
        now: Time,
    ) -> Result<(), ExportStop> {
        send_text(FILE_BEGIN.to_owned(), to).await?;
        let mut look = ChunkedLookup::at(&self.wanted.clone());
        while let Some(rows) = look.next(&shared.cache).await? {
            for row in rows {
                for entry in row.variants.iter() {
                    self.entry(shared, (&row, entry), (to, now)).await?;
                }
            }
        }
        self.summary.scrubbed = self.scrubber.report().clone();
        let comment = match self.summary.scrubbed.sentence() {
            Some(scrubbed) => format!("left out: {scrubbed}"),
            None => String::new(),
        };
        send_text(file_end(&comment), to).await
    }

    async fn entry(
        &mut self,
        shared: &Shared,
        (row, entry): (&KeyVariants, &Entry),
        (to, now): (&Sender<Bytes>, Time),
    ) -> Result<(), ExportStop> {
        let body = match row.is_on_disk {
            false => Some(entry.body().clone()),
            true => shared.cache.body_on_disk(&row.key, entry).await,
        };
        let Some(body) = body else {
            self.summary.gone += 1;
            return Ok(());
        };
        let Ok(is_utf_8) = is_utf_8(&body).await else {
            self.summary.gone += 1;
            return Ok(());
        };
        let Some(exchange) = self.exchange(shared, row, entry) else {
            self.summary.left_out += 1;
            return Ok(());
        };
        let before = match self.summary.exported {
            0 => "",
            _ => ",\n",
        };
        self.summary.exported += 1;
        let text = (before, exchange);
        send(entry, (&body, is_utf_8), text, (to, now)).await
    }

    /// The exchange by which `entry` was stored. `None` if its route is not configured any more.
    fn exchange(
        &mut self,
        shared: &Shared,
        row: &KeyVariants,
        entry: &Entry,
    ) -> Option<RecordedExchange> {
        let config = shared.config();
        let resource = &row.key.resource;
        let (target, host) = (resource.target(), resource.host());
        let selection = config.select(target, host);
        if config.key_scope(selection) != resource.scope() {
            return None;
        }
        let policy = config.policy_for(selection);
        let origin = config.origin_for(selection);
        let url = match origin.is_unix() {
            true => format!("{}{target}", config.local_url().trim_end_matches('/')),
            false => format!(
                "{}://{}{}{}",
                origin.scheme(),
                origin.authority(),
                origin.path_prefix(),
                config.at_origin(selection, target)
            ),
        };
        let request = self.request(policy, entry, host);
        let response = self.response(policy, entry);
        Some(RecordedExchange {
            method: match row.key.content {
                Some(_) => "POST",
                None => "GET",
            }
            .to_owned(),
            url: self.scrubber.url(url),
            request,
            posted: None,
            status: entry.head().status().as_u16(),
            response,
            mark: Some(self.mark(row, entry)),
        })
    }

    /// The headers of the request that are known: those that select the response.
    fn request(&mut self, policy: &Policy, entry: &Entry, host: Option<&str>) -> Vec<HeaderLine> {
        let selection = entry.head().selection();
        let sent = selection.filter_map(|(name, value)| {
            let value = String::from_utf8_lossy(value?).into_owned();
            Some((name.as_str().to_owned(), value))
        });
        let host = host.map(|host| (HOST.as_str().to_owned(), host.to_owned()));
        let range = entry.head().content_range().map(|part| {
            let range = format!("bytes={}-{}", part.range.first, part.range.last);
            (RANGE.as_str().to_owned(), range)
        });
        let lines: Vec<HeaderLine> = host.into_iter().chain(range).chain(sent).collect();
        self.scrubbed(policy, lines)
    }

    fn response(&mut self, policy: &Policy, entry: &Entry) -> Vec<HeaderLine> {
        let fields = entry.head().fields().iter();
        let lines = fields
            .filter(|(name, _)| !is_name(name, &AGE))
            .map(|(name, value)| {
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                (text(name), text(value))
            });
        let part = entry.head().content_range();
        let part = part.map(|part| (CONTENT_RANGE.as_str().to_owned(), part.to_field_value()));
        let lines: Vec<HeaderLine> = lines.chain(part).collect();
        self.scrubbed(policy, lines)
    }

    fn scrubbed(&mut self, policy: &Policy, lines: Vec<HeaderLine>) -> Vec<HeaderLine> {
        let lines = lines.into_iter();
        lines
            .filter_map(|line| self.scrubber.header(policy, line))
            .collect()
    }

    fn mark(&mut self, row: &KeyVariants, entry: &Entry) -> ExportMark {
        let head = entry.head();
        let is_own = head.audience() == Audience::Partition;
        let identity = row.key.identity.filter(|_| is_own).map(|identity| {
            self.summary.own += 1;
            let next = self.identities.len() as u64 + 1;
            *self.identities.entry(identity).or_insert(next)
        });
        let is_encoded = head.fields().get(&CONTENT_ENCODING).is_some();
        self.summary.encoded += u64::from(is_encoded);
        ExportMark {
            audience: match (is_own, identity) {
                (false, _) => "everybody",
                (true, Some(_)) => "own",
                (true, None) => "no-credentials",
            }
            .to_owned(),
            identity,
            provenance: head.provenance().name().map(str::to_owned),
            body_key: row.key.content.map(|content| {
                let mut digits = String::new();
                for byte in content.to_bytes() {
                    // Writing to memory does not fail.
                    let _ = write!(digits, "{byte:02x}");
                }
                digits
            }),
            is_encoded,
        }
    }
}

/// The bytes of a body, which is in memory or in a file.
enum BodyPieces {
    Memory(Slices),
    File(FileBody),
}

impl BodyPieces {
    fn of(body: &Body) -> Self {
        match body.file_part(0..=u64::MAX) {
            Some(file) => Self::File(file),
            None => Self::Memory(body.all()),
        }
    }

    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        match self {
            Self::Memory(slices) => slices.next().map(Ok),
            Self::File(file) => file.next().await,
        }
    }
}

/// Whether `body` is UTF-8. It is read to its end, so that a file that is not whole is noticed before a part of it is sent.
async fn is_utf_8(body: &Body) -> io::Result<bool> {
    let mut check = Utf8Check::default();
    let mut pieces = BodyPieces::of(body);
    while let Some(piece) = pieces.next().await {
        check.push(&piece?);
    }
    Ok(check.is_valid())
}

/// Sends one entry, its body in pieces.
async fn send(
    entry: &Entry,
    (body, is_utf_8): (&Body, bool),
    (before, exchange): (&str, RecordedExchange),
    (to, now): (&Sender<Bytes>, Time),
) -> Result<(), ExportStop> {
    let head = entry.head();
    let content_type = head.fields().get(&CONTENT_TYPE).unwrap_or_default();
    let is_plain = head.fields().get(&CONTENT_ENCODING).is_none();
    let is_of_text = is_plain && is_text(&String::from_utf8_lossy(content_type));
    let mut text = BodyText::new(is_of_text && is_utf_8);
    let received = head.received().min(now);
    let exported = ExportedEntry {
        exchange,
        started: iso_8601(received),
        took_millis: entry.fetch_millis(),
        body_bytes: body.len_bytes(),
        encoding: text.encoding(),
    };
    let mut out = format!("{before}{}", exported.begin());
    let mut pieces = BodyPieces::of(body);
    while let Some(piece) = pieces.next().await {
        text.push(&piece.map_err(ExportStop::Body)?, &mut out);
        if out.len() >= PIECE_BYTES {
            send_text(std::mem::take(&mut out), to).await?;
        }
    }
    text.finish(&mut out);
    out.push_str(ExportedEntry::END);
    send_text(out, to).await
}

async fn send_text(text: String, to: &Sender<Bytes>) -> Result<(), ExportStop> {
    let frame = ExportFrame::Text(text.into()).encode();
    to.send(frame).await.map_err(|_| ExportStop::Left)
}

fn iso_8601(time: Time) -> String {
    let millis = i64::try_from(time.unix_millis()).unwrap_or(i64::MAX);
    DateTime::from_timestamp_millis(millis)
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_were_written() {
        let summary = || ExportSummary {
            exported: 7,
            ..ExportSummary::default()
        };
        let frames = || {
            [
                ExportFrame::Text("a".into()),
                ExportFrame::Summary(summary()),
                ExportFrame::Failed("why".to_owned()),
            ]
        };
        let bytes: Vec<u8> = frames()
            .into_iter()
            .flat_map(|frame| frame.encode().to_vec())
            .collect();
        let mut rest = bytes.as_slice();
        for frame in frames() {
            assert_eq!(ExportFrame::read(&mut rest).unwrap(), frame);
        }
        for wrong in [
            &b""[..],
            b"t\0\0\0\x02a",
            b"t\xff\xff\xff\xff",
            b"x\0\0\0\0",
        ] {
            assert!(ExportFrame::read(&mut { wrong }).is_err(), "{wrong:?}");
        }
    }
}
