//! What each client of the model does.

use std::{fmt::Write as _, sync::atomic::Ordering::SeqCst};

use caching_proxy::cache::FilterSpec;

use super::{
    rules::{MadeFor, Model, Tag},
    targets::{Lifetime, Settings, TARGETS, Target},
};
use crate::{
    client::{Answer, Client, Ending},
    harness::TestProxy,
    numbers::Numbers,
};

/// What a GET asks for, besides the target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Get {
    Plain,
    NoCache,
    OneRange,
    TwoRanges,
}

impl Get {
    fn header_line(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::NoCache => "Cache-Control: no-cache\r\n",
            Self::OneRange => "Range: bytes=8-15\r\n",
            Self::TwoRanges => "Range: bytes=0-7,16-23\r\n",
        }
    }
}

/// A client with one connection, so that it stays with one worker.
pub(super) struct ModelClient<'a> {
    proxy: &'a TestProxy,
    model: &'a Model,
    origin_url: &'a str,
    numbers: Numbers,
    connection: Client,
}

impl<'a> ModelClient<'a> {
    pub(super) fn new(
        proxy: &'a TestProxy,
        model: &'a Model,
        origin_url: &'a str,
        seed: u64,
    ) -> Self {
        Self {
            proxy,
            model,
            origin_url,
            numbers: Numbers(seed),
            connection: proxy.connect(),
        }
    }

    /// Does one thing: mostly a GET.
    pub(super) fn step(&mut self) {
        let target = Target(self.numbers.below(TARGETS));
        let asked = self.headers();
        let kind = match self.numbers.below(120) {
            0..12 => return self.remove_between_gets(target, &asked),
            12..16 => return self.model.change(target),
            16..21 => Get::NoCache,
            21..28 => Get::OneRange,
            28..31 => Get::TwoRanges,
            _ => Get::Plain,
        };
        self.get(target, kind, &asked);
    }

    /// The second GET is mostly a hit. The third must not be.
    fn remove_between_gets(&mut self, target: Target, asked: &MadeFor) {
        self.get(target, Get::Plain, asked);
        self.get(target, Get::Plain, asked);
        match self.numbers.below(12) {
            0 => self.clear(),
            1 => self.reload(),
            2..5 => self.purge_path(target),
            5..7 => self.purge_pattern(target),
            7..9 => self.purge_tag(target),
            _ => self.put(target),
        }
        self.get(target, Get::Plain, asked);
    }

    /// The selecting headers and credentials of the next GET.
    fn headers(&mut self) -> MadeFor {
        MadeFor {
            user: self.numbers.one_of(&["-", "-", "anna", "bert"]).to_owned(),
            lang: self.numbers.one_of(&["-", "de", "fr"]).to_owned(),
            team: self.numbers.one_of(&["-", "-", "-", "red"]).to_owned(),
        }
    }

    fn clear(&self) {
        self.model.removing(Target::all(), || {
            self.proxy.clear();
        });
    }

    fn reload(&mut self) {
        let index = self.numbers.below(4);
        self.model.reload(index, |settings: Settings| {
            let flags = settings.flags(self.origin_url);
            self.proxy.reload(flags).cache_cleared
        });
    }

    fn purge(&self, targets: impl Iterator<Item = Target>, names: FilterSpec) {
        self.model.removing(targets, || {
            self.proxy.purge(names);
        });
    }

    fn purge_path(&self, target: Target) {
        let paths = vec![target.path()];
        let names = FilterSpec {
            paths,
            ..FilterSpec::default()
        };
        self.purge(std::iter::once(target), names);
    }

    fn purge_pattern(&self, target: Target) {
        let same = Target::all().filter(|other| other.directory() == target.directory());
        let names = FilterSpec {
            paths: vec![format!("/{}/*", target.directory())],
            ..FilterSpec::default()
        };
        self.purge(same, names);
    }

    fn purge_tag(&self, target: Target) {
        let same = Target::all().filter(|other| other.tag() == target.tag());
        let names = FilterSpec {
            tags: vec![target.tag()],
            ..FilterSpec::default()
        };
        self.purge(same, names);
    }

    fn put(&mut self, target: Target) {
        let head = format!("PUT {} HTTP/1.1\r\nHost: proxy.test\r\n", target.path());
        self.model.removing(std::iter::once(target), || {
            self.connection
                .send(format!("{head}Content-Length: 0\r\n\r\n"));
            assert_eq!(self.connection.answer_to("PUT").status(), 200);
        });
    }

    fn get(&mut self, target: Target, get: Get, asked: &MadeFor) {
        let mut lines = get.header_line().to_owned();
        let headers = [
            ("Authorization", &asked.user),
            ("X-Lang", &asked.lang),
            ("X-Team", &asked.team),
        ];
        for (name, value) in headers.into_iter().filter(|(_, value)| *value != "-") {
            write!(lines, "{name}: {value}\r\n").unwrap();
        }
        let begun = self.model.begin(target);
        let response = self.connection.ask(&target.path(), &lines).answer();
        let tag = response.field("etag").and_then(Tag::parse);
        self.model
            .end(&begun, asked, get == Get::NoCache, tag.as_ref())
            .unwrap_or_else(|wrong| {
                panic!(
                    "{wrong}: {target:?} {lines:?} {begun:?} {:?}",
                    response.head
                )
            });
        check_body(target, get, tag.as_ref(), &response);
        if response.x_cache() == "HIT" {
            self.model.hits.fetch_add(1, SeqCst);
        }
    }
}

/// A response is whole and of one number. Only a validation that failed has no number.
fn check_body(target: Target, get: Get, tag: Option<&Tag>, response: &Answer) {
    let context = || format!("{target:?} {:?} {:.100}", response.head, response.text());
    assert_eq!(response.ending, Ending::Whole, "{}", context());
    let Some(tag) = tag else {
        let may_fail = target.lifetime() == Lifetime::StaleIfError;
        assert!(may_fail && response.status() == 503, "{}", context());
        return;
    };
    let number = format!("{:08}", tag.number);
    let is_right = match (response.status(), get) {
        (200, _) => response.text() == number.repeat(target.repeats()),
        (206, Get::OneRange) => response.text() == number,
        (206, Get::TwoRanges) => response.text().matches(&number).count() == 2,
        _ => false,
    };
    assert!(is_right, "{}", context());
}
