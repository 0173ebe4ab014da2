//! Finds the header blocks among the frames of a client, and passes on what [`PathEncoder`] makes of them.
//!
//! Small DATA frames that arrive together are passed on as one: `h2` ends a connection when thousands of them wait, though
//! their bodies are short. All other frames pass as they come, and so does a block that needs no change. A block is held until
//! it is complete. It is
//! bounded as in `h2`, by the size of a frame and the number of CONTINUATION frames. What is malformed is left to `h2`, which
//! ends the connection.

#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_rt::time::Instant;
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

use super::{
    frame_watch::{FRAME_HEAD_BYTES, FrameWatch, PREFACE_BYTES},
    path_encoding::PathEncoder,
};

/// Largest payload of a frame, in bytes. No SETTINGS of ours says otherwise (RFC 9113, 6.5.2).
const MAX_PAYLOAD_BYTES: usize = 16 * 1024;
/// How many CONTINUATION frames a block may have before its last one. `h2` refuses more at these limits.
const MAX_CONTINUATIONS: usize = 5;
/// Length of what a frame with PRIORITY says before its fields, in bytes (RFC 9113, 6.2).
const PRIORITY_BYTES: usize = 5;

/// `h2` counts DATA frames with a shorter payload, in bytes.
const SMALL_DATA_BYTES: usize = 256;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;

/// The bit before the number of a stream. It says nothing.
const RESERVED: u32 = 1 << 31;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// A block that no decoder accepts: a field with the index 0 (RFC 7541, 6.1).
const MALFORMED_BLOCK: &[u8] = &[0x80];

/// What one client sends, on its way to `h2`.
pub(super) struct FrameFilter {
    paths: PathEncoder,
    /// How many bytes pass before the next frame begins: of the preface, or of a frame.
    passing: usize,
    /// Everything passes from now on.
    passes_all: bool,
    /// What goes to `h2` next.
    output: BytesMut,
    /// What follows it, and may have to be changed.
    input: BytesMut,
}

/// What follows the bytes that pass as they are.
enum FilterStep {
    /// Nothing, or the beginning of a frame or block whose rest is still to come.
    Incomplete,
    /// So many bytes, in the place of which others are passed on.
    Replaced(usize, BytesMut),
}

/// The first bytes of a frame (RFC 9113, 4.1).
#[derive(Clone, Copy)]
struct FrameStart {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

/// A complete header block.
struct FramedBlock<'b> {
    /// How many bytes its frames have.
    length: usize,
    first: FrameStart,
    /// What PRIORITY says; empty without it.
    priority: &'b [u8],
    fields: Cow<'b, [u8]>,
}

/// What is not as RFC 9113 says.
struct MalformedFrames;

impl FrameFilter {
    /// The frames of a connection, of which `read` was read already.
    pub(super) fn new(read: BytesMut) -> Self {
        Self {
            paths: PathEncoder::default(),
            passing: PREFACE_BYTES,
            passes_all: false,
            output: BytesMut::new(),
            input: read,
        }
    }

    /// Reads what goes to `h2` next. `watch` gets all that is read from `stream`.
    pub(super) fn poll_read<T: AsyncRead + Unpin>(
        &mut self,
        stream: &mut T,
        watch: &mut FrameWatch,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let has_bytes = !self.output.is_empty() || !self.input.is_empty();
            if has_bytes && self.give(buffer) {
                return Poll::Ready(Ok(()));
            }
            if watch.flood().is_some() {
                // The task of the connection ends it.
                return Poll::Pending;
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut *stream).poll_read(context, buffer))?;
            let read = &buffer.filled()[before..];
            if read.is_empty() {
                // `h2` shall know that a frame was cut.
                self.passes_all = true;
                self.give(buffer);
                return Poll::Ready(Ok(()));
            }
            watch.received(read, Instant::now);
            let passed = self.receive(read);
            buffer.set_filled(before + passed);
            if passed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Takes bytes that were read. Returns how many of them go to `h2` at once. Those after them are kept.
    fn receive(&mut self, bytes: &[u8]) -> usize {
        if !self.input.is_empty() {
            self.input.extend_from_slice(bytes);
            return 0;
        }
        let (passed, step) = self.step(bytes);
        let rest = match step {
            FilterStep::Incomplete => &bytes[passed..],
            FilterStep::Replaced(length, by) => {
                self.output = by;
                &bytes[passed + length..]
            }
        };
        self.input.extend_from_slice(rest);
        passed
    }

    /// Puts what goes to `h2` next into `buffer`. Returns false if more has to be read for it.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        while self.output.is_empty() {
            if self.input.is_empty() {
                return false;
            }
            let mut input = mem::take(&mut self.input);
            let (passed, step) = self.step(&input);
            if passed > 0 {
                self.output = input.split_to(passed);
            }
            let is_incomplete = match step {
                FilterStep::Incomplete => true,
                FilterStep::Replaced(length, by) => {
                    input.advance(length);
                    self.output.extend_from_slice(&by);
                    false
                }
            };
            if !input.is_empty() {
                self.input = input;
            }
            if is_incomplete && passed == 0 {
                return false;
            }
        }
        let length = self.output.len().min(buffer.remaining());
        buffer.put_slice(&self.output[..length]);
        self.output.advance(length);
        if self.output.is_empty() {
            // An idle connection needs no memory for it.
            self.output = BytesMut::new();
        }
        true
    }

    /// How many of these bytes pass as they are, and what follows them.
    fn step(&mut self, bytes: &[u8]) -> (usize, FilterStep) {
        let mut passed = 0;
        loop {
            if self.passes_all {
                return (bytes.len(), FilterStep::Incomplete);
            }
            let passing = self.passing.min(bytes.len() - passed);
            self.passing -= passing;
            passed += passing;
            let rest = &bytes[passed..];
            let Some(start) = FrameStart::parse(rest) else {
                return (passed, FilterStep::Incomplete);
            };
            if let Some((length, by)) = joined_data(rest, start) {
                return (passed, FilterStep::Replaced(length, by));
            }
            if !matches!(start.kind, HEADERS | PUSH_PROMISE | CONTINUATION) {
                self.passing = FRAME_HEAD_BYTES + start.length;
                continue;
            }
            match self.block(rest, start) {
                Ok(None) => return (passed, FilterStep::Incomplete),
                Ok(Some((length, None))) => self.passing = length,
                Ok(Some((length, Some(by)))) => {
                    return (passed, FilterStep::Replaced(length, by));
                }
                Err(MalformedFrames) => {
                    self.passes_all = true;
                    if self.paths.is_rewriting() {
                        // `h2` must not read it with a table that is no longer that of the client.
                        let malformed = frames_of(start, &[], MALFORMED_BLOCK);
                        return (
                            passed,
                            FilterStep::Replaced(bytes.len() - passed, malformed),
                        );
                    }
                }
            }
        }
    }

    /// How many bytes the block has with which `bytes` begin, and what is passed on in its place; `None` for what it is as it
    /// came, or if it is not complete.
    fn block(
        &mut self,
        bytes: &[u8],
        first: FrameStart,
    ) -> Result<Option<(usize, Option<BytesMut>)>, MalformedFrames> {
        let Some(block) = FramedBlock::parse(bytes, first)? else {
            return Ok(None);
        };
        let rewritten = self.paths.encode(&block.fields);
        let rewritten = rewritten.map_err(|_| MalformedFrames)?;
        let frames = rewritten.map(|fields| frames_of(block.first, block.priority, &fields));
        Ok(Some((block.length, frames)))
    }
}

impl FrameStart {
    /// The start of a frame; `None` if it is not complete.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, stream @ ..] = *bytes.first_chunk::<FRAME_HEAD_BYTES>()?;
        Some(Self {
            length: usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c),
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & !RESERVED,
        })
    }

    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl<'b> FramedBlock<'b> {
    /// The block with which `bytes` begin; `None` if it is not complete.
    fn parse(bytes: &'b [u8], first: FrameStart) -> Result<Option<Self>, MalformedFrames> {
        let is_too_long = |frame: FrameStart| frame.length > MAX_PAYLOAD_BYTES;
        if first.kind != HEADERS || is_too_long(first) {
            return Err(MalformedFrames);
        }
        let mut length = FRAME_HEAD_BYTES + first.length;
        let Some(payload) = bytes.get(FRAME_HEAD_BYTES..length) else {
            return Ok(None);
        };
        let (priority, fields) = without_padding(first, payload)?;
        let mut parts = Vec::new();
        let mut last = first;
        while !last.has(END_HEADERS) {
            let rest = &bytes[length..];
            let Some(next) = FrameStart::parse(rest) else {
                return Ok(None);
            };
            if next.kind != CONTINUATION || next.stream != first.stream || is_too_long(next) {
                return Err(MalformedFrames);
            }
            if parts.len() == MAX_CONTINUATIONS && !next.has(END_HEADERS) {
                return Err(MalformedFrames);
            }
            let end = FRAME_HEAD_BYTES + next.length;
            let Some(payload) = rest.get(FRAME_HEAD_BYTES..end) else {
                return Ok(None);
            };
            parts.push(payload);
            length += end;
            last = next;
        }
        let mut fields = Cow::Borrowed(fields);
        for part in parts {
            fields.to_mut().extend_from_slice(part);
        }
        Ok(Some(Self {
            length,
            first,
            priority,
            fields,
        }))
    }
}

/// What PRIORITY says in this payload of HEADERS, and the fields (RFC 9113, 6.2).
fn without_padding(
    start: FrameStart,
    mut payload: &[u8],
) -> Result<(&[u8], &[u8]), MalformedFrames> {
    let mut padding = 0;
    if start.has(PADDED) {
        let (length, rest) = payload.split_first().ok_or(MalformedFrames)?;
        (padding, payload) = (usize::from(*length), rest);
    }
    let priority = if start.has(PRIORITY) {
        PRIORITY_BYTES
    } else {
        0
    };
    let parts = payload.split_at_checked(priority);
    let (priority, fields) = parts.ok_or(MalformedFrames)?;
    let length = fields.len().checked_sub(padding).ok_or(MalformedFrames)?;
    Ok((priority, &fields[..length]))
}

/// The small DATA frames of one stream with which `bytes` begin, as one frame, and how many bytes they have. `None` if there
/// are fewer than two that are complete. Empty and padded ones are not joined, and none follows an END_STREAM.
fn joined_data(bytes: &[u8], first: FrameStart) -> Option<(usize, BytesMut)> {
    let is_small = |frame: FrameStart| {
        let has_size = (1..SMALL_DATA_BYTES).contains(&frame.length);
        frame.kind == DATA
            && frame.flags & !END_STREAM == 0
            && frame.stream == first.stream
            && has_size
    };
    let mut parts = Vec::new();
    let (mut length, mut content, mut flags) = (0, 0, 0);
    while flags == 0
        && let Some(next) = FrameStart::parse(&bytes[length..]).filter(|next| is_small(*next))
        && content + next.length <= MAX_PAYLOAD_BYTES
        && let Some(part) =
            bytes.get(length + FRAME_HEAD_BYTES..length + FRAME_HEAD_BYTES + next.length)
    {
        parts.push(part);
        length += FRAME_HEAD_BYTES + next.length;
        content += next.length;
        flags = next.flags;
    }
    if parts.len() < 2 {
        return None;
    }
    let mut joined = BytesMut::with_capacity(FRAME_HEAD_BYTES + content);
    put_frame(&mut joined, (DATA, flags, first.stream), &parts);
    Some((length, joined))
}

/// Appends a frame whose payload is in parts.
fn put_frame(frames: &mut BytesMut, (kind, flags, stream): (u8, u8, u32), parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(length).unwrap_or(0);
    frames.extend_from_slice(&length.to_be_bytes()[1..]);
    frames.extend_from_slice(&[kind, flags]);
    frames.extend_from_slice(&stream.to_be_bytes());
    parts.iter().for_each(|part| frames.extend_from_slice(part));
}

/// The frames of a block with these fields, in the place of those that began with `first`.
fn frames_of(first: FrameStart, priority: &[u8], mut fields: &[u8]) -> BytesMut {
    let mut frames = BytesMut::with_capacity(fields.len() + 4 * FRAME_HEAD_BYTES);
    let mut kind = HEADERS;
    let mut flags = first.flags & END_STREAM;
    let mut before = priority;
    if !before.is_empty() {
        flags |= PRIORITY;
    }
    loop {
        let length = fields.len().min(MAX_PAYLOAD_BYTES - before.len());
        let (part, rest) = fields.split_at(length);
        if rest.is_empty() {
            flags |= END_HEADERS;
        }
        put_frame(&mut frames, (kind, flags, first.stream), &[before, part]);
        if rest.is_empty() {
            return frames;
        }
        (kind, flags, before, fields) = (CONTINUATION, 0, &[], rest);
    }
}
