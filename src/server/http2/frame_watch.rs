//! Notices clients that send frames which cost work and carry nothing.
//!
//! A frame of SETTINGS, PING or WINDOW_UPDATE takes few bytes and none of the windows, so a client may send millions of them.
//! Each is cheap, but together they keep a worker from its other clients. Clients send a limited number of them with their
//! requests and with what they receive. A client that sends many more is stopped.

use std::time::Duration;

use actix_rt::time::Instant;

/// Length of the head of a frame, in bytes (RFC 9113, 4.1).
pub(super) const FRAME_HEAD_BYTES: usize = 9;
/// Length of the preface of a client, in bytes (RFC 9113, 3.4).
pub(super) const PREFACE_BYTES: usize = 24;
/// How many frames without use a client may send at once.
const MAX_FRAMES: u32 = 2_000;
/// How many more it may send in each second.
const FRAMES_PER_SECOND: u32 = 100;
/// How many more it may send with each request.
const FRAMES_PER_REQUEST: u32 = 8;
/// How many bytes of responses let it send one more, which acknowledges them.
const BYTES_PER_FRAME: usize = 8;
/// Length of the frames that acknowledge SETTINGS and PING, in bytes (RFC 9113, 6.5 and 6.7).
const SETTINGS_ACK_BYTES: usize = FRAME_HEAD_BYTES;
const PING_ACK_BYTES: usize = FRAME_HEAD_BYTES + 8;

/// The frames of one client.
pub(super) struct FrameWatch {
    /// Bytes to skip: the preface, or the rest of a frame.
    skip: usize,
    /// What has arrived of the head of a frame.
    head: [u8; FRAME_HEAD_BYTES],
    head_bytes: usize,
    left: u32,
    /// How many bytes are to be sent that acknowledge frames of the client. They allow no more of them.
    ack_bytes: usize,
    /// When `left` was last increased with time.
    since: Instant,
    /// The frame that was one too many; `None` before that.
    flood: Option<&'static str>,
}

impl FrameWatch {
    /// The frames of a connection that begins at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            skip: PREFACE_BYTES,
            head: [0; FRAME_HEAD_BYTES],
            head_bytes: 0,
            left: MAX_FRAMES,
            ack_bytes: 0,
            since: now,
            flood: None,
        }
    }

    /// The name of the frames of which the client has sent too many; `None` if it has not.
    pub(super) fn flood(&self) -> Option<&'static str> {
        self.flood
    }

    /// The client was sent so many bytes. It may acknowledge those of responses.
    pub(super) fn sent(&mut self, bytes: usize) {
        let of_acks = bytes.min(self.ack_bytes);
        self.ack_bytes -= of_acks;
        let frames = (bytes - of_acks) / BYTES_PER_FRAME;
        self.allow(u32::try_from(frames).unwrap_or(MAX_FRAMES));
    }

    fn allow(&mut self, frames: u32) {
        self.left = self.left.saturating_add(frames).min(MAX_FRAMES);
    }

    /// The client has sent `bytes` at `now`.
    pub(super) fn received(&mut self, mut bytes: &[u8], now: impl Fn() -> Instant) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (FRAME_HEAD_BYTES - self.head_bytes).min(bytes.len());
            self.head[self.head_bytes..][..taken].copy_from_slice(&bytes[..taken]);
            self.head_bytes += taken;
            bytes = &bytes[taken..];
            if self.head_bytes < FRAME_HEAD_BYTES {
                return;
            }
            self.head_bytes = 0;
            let [a, b, c, kind, flags, ..] = self.head;
            self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            self.count(kind, flags, &now);
        }
    }

    fn count(&mut self, kind: u8, flags: u8, now: &impl Fn() -> Instant) {
        const END_STREAM: u8 = 1;
        const ACK: u8 = 1;
        let name = match kind {
            0 if self.skip > 0 || flags & END_STREAM != 0 => return,
            1 => return self.allow(FRAMES_PER_REQUEST),
            0 => "empty DATA",
            2 => "PRIORITY",
            3 => "RST_STREAM",
            4 => "SETTINGS",
            6 => "PING",
            8 => "WINDOW_UPDATE",
            9 => "CONTINUATION",
            _ => "other",
        };
        if flags & ACK == 0 {
            self.ack_bytes += match kind {
                4 => SETTINGS_ACK_BYTES,
                6 => PING_ACK_BYTES,
                _ => 0,
            };
        }
        if self.left == 0 {
            let now = now();
            let seconds = now.duration_since(self.since).as_secs();
            self.since += Duration::from_secs(seconds);
            let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
            self.allow(seconds.saturating_mul(FRAMES_PER_SECOND).min(MAX_FRAMES));
        }
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => self.flood = self.flood.or(Some(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, 0], payload].concat()
    }

    fn watch() -> (FrameWatch, Instant) {
        let now = Instant::now();
        let mut watch = FrameWatch::new(now);
        watch.received(PREFACE, || now);
        (watch, now)
    }

    #[test]
    fn a_flood_is_noticed_however_its_bytes_are_split() {
        for (kind, payload, name) in [
            (0, 0, "empty DATA"),
            (3, 4, "RST_STREAM"),
            (4, 6, "SETTINGS"),
            (6, 8, "PING"),
            (8, 4, "WINDOW_UPDATE"),
            (9, 5, "CONTINUATION"),
            (77, 0, "other"),
        ] {
            let ping = frame(kind, 0, &[b'x'; 8][..payload]);
            let flood = ping.repeat(MAX_FRAMES as usize + 1);
            for size in [1, 7, 9, 17, 1000] {
                let (mut watch, now) = watch();
                let last = flood.len() - payload - 1;
                flood[..last]
                    .chunks(size)
                    .for_each(|piece| watch.received(piece, || now));
                assert_eq!(watch.flood(), None);
                watch.received(&flood[last..], || now);
                assert_eq!(watch.flood(), Some(name), "in pieces of {size}");
            }
        }
    }

    #[test]
    fn time_requests_and_responses_allow_more_frames() {
        let (mut watch, start) = watch();
        let ping = frame(6, 0, b"12345678");
        let flood = ping.repeat(MAX_FRAMES as usize);
        watch.received(&flood, || start);
        let later = start + Duration::from_secs(3);
        watch.received(&ping.repeat(300), || later);
        watch.received(&frame(1, 5, b"x"), || later);
        watch.received(&ping.repeat(8), || later);
        // The responses of this flood allow nothing.
        watch.sent((MAX_FRAMES as usize + 308) * PING_ACK_BYTES);
        watch.sent(2 * BYTES_PER_FRAME);
        watch.received(&ping.repeat(2), || later);
        assert_eq!(watch.flood(), None);
        watch.received(&ping, || later);
        assert_eq!(watch.flood(), Some("PING"));
    }

    #[test]
    fn requests_and_content_are_no_flood() {
        let (mut watch, now) = watch();
        for _ in 0..10 * MAX_FRAMES {
            watch.received(&frame(1, 4, b"x"), || now);
            watch.received(&frame(0, 0, b"content"), || now);
            watch.received(&frame(0, 1, b""), || now);
        }
        assert_eq!(watch.flood(), None);
    }
}
