//! Clears and purges by the commands, and two downloads at a time of the largest body.

use std::{iter::once, net::TcpStream, sync::atomic::Ordering::SeqCst};

use super::{
    content::{LARGEST, TARGETS, Target, Version},
    truth::Truth,
};
use crate::{
    client::{Client, Ending},
    dice::Dice,
    instance::Home,
    large_bodies::client_with_small_buffer,
};

pub(super) struct Administrator<'a> {
    truth: &'a Truth,
    home: &'a Home,
    port: u16,
}

impl<'a> Administrator<'a> {
    pub(super) fn new(truth: &'a Truth, home: &'a Home, port: u16) -> Self {
        Self { truth, home, port }
    }

    /// Clears the cache, or removes one, several or tagged responses.
    pub(super) fn step(&self, dice: &mut Dice) {
        let target = Target(dice.below(TARGETS));
        let run = |args: &[&str]| {
            let finished = self.home.run(args);
            let is_done = finished.code == Some(0);
            if !is_done {
                self.truth.violation(format!("{args:?}: {finished:?}"));
            }
            is_done
        };
        match dice.below(30) {
            0 => self
                .truth
                .removing(Target::all(), || run(&["--clear-cache"])),
            1..20 => self
                .truth
                .removing(once(target), || run(&["purge", &target.path()])),
            20..25 => {
                let same = Target::all().filter(|other| other.group() == target.group());
                let pattern = format!("/{}/*", target.group());
                self.truth.removing(same, || run(&["purge", &pattern]));
            }
            _ => {
                let same = Target::all().filter(|other| other.tag() == target.tag());
                let tag = target.tag();
                self.truth.removing(same, || run(&["purge", "--tag", &tag]));
            }
        }
    }

    /// Two clients get the largest body at the same time, the second one after the first.
    pub(super) fn download_twice(&self) {
        let path = LARGEST.path();
        let asked = [(), ()].map(|()| self.truth.ask(LARGEST, "-", "-"));
        let mut clients = [(), ()].map(|()| {
            let stream: TcpStream = client_with_small_buffer(self.port);
            let mut client = Client::over(stream);
            client.ask(&path, "Connection: close\r\n");
            client
        });
        for (client, asked) in clients.iter_mut().zip(&asked) {
            if !client.has_head() {
                self.truth.violation("no response to a download".to_owned());
                continue;
            }
            let response = client.answer();
            if response.status() != 200 {
                self.truth.errors.fetch_add(1, SeqCst);
                continue;
            }
            let version = response.field("x-version").and_then(Version::parse);
            let Some(version) = version else {
                self.truth
                    .violation("a download without a version".to_owned());
                continue;
            };
            let content = version.content(LARGEST);
            let wrong = match response.ending {
                Ending::Whole if response.body == content => {
                    self.truth.wrong(asked, (&version, 200))
                }
                Ending::Cut if content.starts_with(&response.body) => {
                    self.truth.cut.fetch_add(1, SeqCst);
                    None
                }
                _ => Some("another body"),
            };
            self.truth.downloads.fetch_add(1, SeqCst);
            if let Some(wrong) = wrong {
                self.truth
                    .violation(format!("{wrong}: download, {asked:?} {:?}", response.head));
            }
        }
    }
}
