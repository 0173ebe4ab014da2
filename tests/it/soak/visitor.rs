//! A client of the soak: it asks, compares every byte of the response, and sometimes leaves.

use std::sync::atomic::Ordering::SeqCst;

use super::{
    content::{LARGEST, TARGETS, Target, Version},
    origin::parse_range,
    truth::{Asked, Truth},
};
use crate::{
    client::{Answer, Client, Ending},
    dice::Dice,
};

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    All,
    Head,
    Range,
    Change,
}

/// One client. It keeps its connection where it can.
pub(super) struct Visitor<'a> {
    truth: &'a Truth,
    port: u16,
    dice: Dice,
    connection: Option<Client>,
    /// A version that it has seen of each target.
    known: Vec<Option<Version>>,
}

impl<'a> Visitor<'a> {
    pub(super) fn new(truth: &'a Truth, port: u16, seed: u64) -> Self {
        Self {
            truth,
            port,
            dice: Dice::new(seed),
            connection: None,
            known: vec![None; TARGETS],
        }
    }

    /// Does one thing: mostly a GET.
    pub(super) fn step(&mut self) {
        let all = TARGETS - 1;
        // Some targets are popular.
        let target = Target(self.dice.below(all).min(self.dice.below(all)));
        let identity = self.dice.one_of(&["-", "-", "anna", "bert"]);
        let lang = self.dice.one_of(&["-", "de", "fr"]);
        let asked = self.truth.ask(target, identity, lang);
        let mut lines = String::new();
        for (name, value) in [("Authorization", identity), ("X-Lang", lang)] {
            if value != "-" {
                lines += &format!("{name}: {value}\r\n");
            }
        }
        match self.dice.below(100) {
            0..2 => self.change(&asked, &lines),
            2..8 => self.leave(&asked, &lines),
            8..13 => self.request(&asked, &lines, Wants::Head),
            13..22 => self.request(&asked, &lines, Wants::Range),
            22..30 => {
                if let Some(version) = &self.known[target.0] {
                    lines += &format!("If-None-Match: \"{version}\"\r\n");
                }
                self.request(&asked, &lines, Wants::All);
            }
            30..34 => {
                lines += "Cache-Control: no-cache\r\n";
                self.request(&asked, &lines, Wants::All);
            }
            _ => self.request(&asked, &lines, Wants::All),
        }
    }

    /// Asks for all targets once.
    pub(super) fn see_everything(&mut self) {
        for target in Target::all() {
            let asked = self.truth.ask(target, "-", "-");
            self.request(&asked, "", Wants::All);
        }
    }

    fn change(&mut self, asked: &Asked, lines: &str) {
        let truth = self.truth;
        let asked = &truth.ask(asked.target, asked.identity, asked.lang);
        truth.removing(std::iter::once(asked.target), || {
            let response = self.exchange(asked, lines, Wants::Change);
            response.is_some_and(|response| {
                response.status() == 200 && response.ending == Ending::Whole
            })
        });
    }

    /// Leaves after the request, after the head, or within the body.
    fn leave(&mut self, asked: &Asked, lines: &str) {
        let mut client = Client::connect(self.port);
        client.ask(&asked.target.path(), lines);
        let how = self.dice.below(3);
        if how > 0 && client.has_head() && how > 1 && self.dice.below(2) == 0 {
            client.reset();
        }
        self.truth.left.fetch_add(1, SeqCst);
    }

    fn request(&mut self, asked: &Asked, lines: &str, wants: Wants) {
        let mut lines = lines.to_owned();
        let mut range = None;
        if wants == Wants::Range {
            let size = asked.target.size();
            let first = self.dice.below(size.max(1));
            let text = match self.dice.below(4) {
                0 => "bytes=0-".to_owned(),
                1 => format!("bytes={first}-"),
                2 => format!("bytes=-{}", 1 + self.dice.below(100)),
                _ => format!("bytes={first}-{}", first + self.dice.below(3000)),
            };
            lines += &format!("Range: {text}\r\n");
            range = Some(text);
        }
        let Some(response) = self.exchange(asked, &lines, wants) else {
            return self
                .truth
                .violation(format!("no response: {asked:?} {lines:?}"));
        };
        self.truth.responses.fetch_add(1, SeqCst);
        if let Err(wrong) = self.check(asked, &response, (wants, range.as_deref())) {
            self.truth.violation(format!(
                "{wrong}: {asked:?} {lines:?} {wants:?} {:?} {:?}, {} bytes",
                response.head,
                response.ending,
                response.body.len()
            ));
        }
    }

    /// Sends a request and reads the response; `None` if there is none. An idle connection may have been closed, so a GET is
    /// sent again on a new one.
    fn exchange(&mut self, asked: &Asked, lines: &str, wants: Wants) -> Option<Answer> {
        let method = match wants {
            Wants::All | Wants::Range => "GET",
            Wants::Head => "HEAD",
            Wants::Change => "PUT",
        };
        let path = asked.target.path();
        let length = match wants {
            Wants::Change => "Content-Length: 0\r\n",
            _ => "",
        };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: proxy.test\r\n{lines}{length}\r\n");
        let kept = self.connection.take().filter(|_| wants != Wants::Change);
        let fresh = || Client::connect(self.port);
        for connection in kept.map(Some).into_iter().chain([None]) {
            let mut client = connection.unwrap_or_else(fresh);
            client.send_until_refused(head.as_bytes());
            if client.has_head() {
                let response = client.answer_to(method);
                if response.ending == Ending::Whole {
                    self.connection = Some(client);
                }
                return Some(response);
            }
        }
        None
    }

    /// Compares the response with the truth.
    fn check(
        &mut self,
        asked: &Asked,
        response: &Answer,
        (wants, range): (Wants, Option<&str>),
    ) -> Result<(), &'static str> {
        let (target, truth) = (asked.target, self.truth);
        let is_cut = response.ending == Ending::Cut;
        match response.status() {
            200 | 206 | 304 | 416 => {}
            500 | 502..=504 if truth.fails() => {
                truth.errors.fetch_add(1, SeqCst);
                return Ok(());
            }
            _ => return Err("another status"),
        }
        if response.field("x-cache") == Some("HIT") {
            truth.hits.fetch_add(1, SeqCst);
        }
        let Some(version) = response.field("x-version").and_then(Version::parse) else {
            // A range that the origin or the cache cannot satisfy.
            return match response.status() {
                416 => Ok(()),
                _ => Err("no version"),
            };
        };
        if let Some(wrong) = truth.wrong(asked, (&version, response.status())) {
            return Err(wrong);
        }
        let content = version.content(target);
        let expected = match (response.status(), range) {
            (304 | 416, _) => {
                truth.not_modified.fetch_add(1, SeqCst);
                return Ok(());
            }
            (206, Some(range)) => {
                let part = parse_range(range, content.len()).ok_or("a part of nothing")?;
                let place = format!("bytes {}-{}/{}", part.0, part.1, content.len());
                if response.field("content-range") != Some(&place) {
                    return Err("another range");
                }
                truth.parts.fetch_add(1, SeqCst);
                &content[part.0..=part.1]
            }
            (206, None) => return Err("a part of the whole"),
            _ => &content[..],
        };
        if wants == Wants::Head {
            let length = response.field("content-length");
            let is_right = length.is_none_or(|length| length == expected.len().to_string());
            return is_right.then_some(()).ok_or("another length");
        }
        if is_cut {
            truth.cut.fetch_add(1, SeqCst);
            let is_beginning = truth.fails() && expected.starts_with(&response.body);
            return is_beginning.then_some(()).ok_or("cut wrongly");
        }
        if response.body != expected {
            return Err("another body");
        }
        if target != LARGEST {
            self.known[target.0] = Some(version);
        }
        Ok(())
    }
}
