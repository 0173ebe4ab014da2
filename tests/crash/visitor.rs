//! A client: it asks, compares every byte, changes resources, and gives the commands that end responses.

use std::net::{Ipv4Addr, TcpStream};

use crate::{
    client::{Answer, Client, Ending},
    dice::Dice,
    instance::Home,
    resources::{NONE, RESOURCES, Resource, Version},
    responder::parse_range,
    truth::{Asked, Checked, Truth},
};

const IDENTITIES: [&str; 4] = [NONE, NONE, "anna", "bert"];
/// Identities of which the store cannot hold all responses.
const MANY_IDENTITIES: &str = "a b c d e f g h i j k l m n o p q r s t u v w x y z";
const LANGS: [&str; 3] = [NONE, "de", "fr"];

/// One client. It keeps its connection where it can.
pub(crate) struct Visitor<'a> {
    truth: &'a Truth,
    home: &'a Home,
    port: u16,
    connection: Option<Client>,
}

impl<'a> Visitor<'a> {
    pub(crate) fn new(truth: &'a Truth, home: &'a Home, port: u16) -> Self {
        Self {
            truth,
            home,
            port,
            connection: None,
        }
    }

    /// Any request that can be made.
    pub(crate) fn any_request(&self, dice: &mut Dice) -> Asked {
        // Some resources are popular.
        let resource = Resource(dice.below(RESOURCES).min(dice.below(RESOURCES)));
        let identity = dice.one_of(&IDENTITIES);
        self.truth.ask(resource, identity, dice.one_of(&LANGS))
    }

    /// Does one thing: mostly a GET.
    pub(crate) fn step(&mut self, dice: &mut Dice) {
        if self.truth.is_filling() {
            return self.fill(dice);
        }
        let asked = self.any_request(dice);
        match dice.below(100) {
            0..3 => self.change(asked.resource),
            3 => self.command(dice),
            4..7 => self.leave(&asked, dice),
            7..12 => self.get_range(&asked, dice),
            12..15 => _ = self.reload(&asked),
            _ => _ = self.get(&asked),
        }
    }

    /// Gets a new response for one of many identities.
    fn fill(&mut self, dice: &mut Dice) {
        let mut identities = MANY_IDENTITIES.split(' ');
        let identity = identities.nth(dice.below(26)).unwrap();
        let resource = Resource(dice.below(RESOURCES));
        let asked = self.truth.ask(resource, identity, dice.one_of(&LANGS));
        self.reload(&asked);
    }

    /// Gets the whole response. `None` if the process was killed, or the response is wrong.
    pub(crate) fn get(&mut self, asked: &Asked) -> Option<Checked> {
        self.get_with(asked, "")
    }

    /// Gets a new response.
    fn reload(&mut self, asked: &Asked) -> Option<Checked> {
        self.get_with(asked, "Cache-Control: no-cache\r\n")
    }

    fn get_with(&mut self, asked: &Asked, lines: &str) -> Option<Checked> {
        let response = self.exchange(asked, lines)?;
        self.truth.count("responses");
        let checked = self.check(asked, &response, None);
        let checked = self.right(asked, lines, &response, checked)?;
        let Asked { identity, lang, .. } = asked;
        self.truth.note(
            &[asked.resource],
            &format_args!(
                "GET {lines:?} by {identity} {lang}: {checked:?} {}",
                confirmed(&response)
            ),
        );
        self.truth.received(asked, checked);
        Some(checked)
    }

    fn get_range(&mut self, asked: &Asked, dice: &mut Dice) {
        let first = dice.below(asked.resource.size().max(1));
        let range = match dice.below(3) {
            0 => format!("bytes={first}-"),
            1 => format!("bytes={first}-{}", first + dice.below(70_000)),
            _ => format!("bytes=0-{first}"),
        };
        let lines = format!("Range: {range}\r\n");
        let response = self.exchange(asked, &lines);
        let checked = response.and_then(|response| {
            self.truth.count("ranges");
            let checked = self.check(asked, &response, Some(&range));
            self.right(asked, &lines, &response, checked)
        });
        if !checked.is_some_and(|checked| checked.is_hit) {
            self.truth.part_came(asked.resource);
        }
    }

    /// Leaves before the response has arrived.
    fn leave(&mut self, asked: &Asked, dice: &mut Dice) {
        let Some(mut client) = self.connect() else {
            return;
        };
        client.send_until_refused(request("GET", asked, "").as_bytes());
        if dice.below(2) == 0 {
            client.has_head();
        }
        self.truth.count("left");
    }

    /// Changes a resource: its responses are invalidated, and guesses about related ones end.
    pub(crate) fn change(&mut self, resource: Resource) {
        let related = Resource::named(|other| other.is_doubted_by(resource));
        let truth = self.truth;
        truth.ending("a change", &[resource], &related, || {
            let asked = truth.ask(resource, NONE, NONE);
            let Some(mut client) = self.connect() else {
                return false;
            };
            let lines = "Content-Length: 0\r\n";
            client.send_until_refused(request("POST", &asked, lines).as_bytes());
            let response = client.has_head().then(|| client.answer_to("POST"));
            let is_done = response
                .as_ref()
                .is_some_and(|it| it.status() == 200 && it.ending == Ending::Whole);
            match is_done {
                true => truth.count("changes"),
                false if truth.is_killed() => truth.count("changes without a response"),
                false => truth.violation(format!("a POST failed: {asked:?} {response:?}")),
            }
            is_done
        });
    }

    /// Clears the cache, or purges one, several or tagged responses, or makes them stale.
    fn command(&self, dice: &mut Dice) {
        let resource = Resource(dice.below(RESOURCES));
        match dice.below(20) {
            0 => self.run(&Resource::named(|_| true), &[], &["--clear-cache"]),
            1..10 => self.purge(resource),
            10..14 => {
                let pattern = format!("/{}/*", resource.group());
                let same = |other: Resource| other.group() == resource.group() && !other.is_root();
                self.run(&Resource::named(same), &[], &["purge", &pattern]);
            }
            14..17 => {
                let tagged = Resource::named(|other| other.tag() == resource.tag());
                self.run(&[], &tagged, &["purge", "--soft", "--tag", &resource.tag()]);
            }
            _ => {
                let tagged = Resource::named(|other| other.tag() == resource.tag());
                self.run(&tagged, &[], &["purge", "--tag", &resource.tag()]);
            }
        }
    }

    /// Purges one path.
    pub(crate) fn purge(&self, resource: Resource) {
        self.run(&[resource], &[], &["purge", &resource.path()]);
    }

    /// Runs a command that ends the responses of these resources.
    fn run(&self, removes: &[Resource], expires: &[Resource], args: &[&str]) {
        let port = self.port.to_string();
        let args = [args, &["--port", &port]].concat();
        self.truth.ending(&args.join(" "), removes, expires, || {
            let finished = self.home.run(&args);
            let is_done = finished.code == Some(0);
            match is_done {
                true => self.truth.count("commands"),
                false if self.truth.is_killed() => self.truth.count("commands that failed"),
                false => self.truth.violation(format!("{args:?}: {finished:?}")),
            }
            is_done
        });
    }

    fn connect(&self) -> Option<Client> {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
            Ok(stream) => Some(Client::over(stream)),
            Err(error) => {
                if !self.truth.is_killed() {
                    let what = format!("port {}: {error}", self.port);
                    self.truth.violation(what);
                }
                None
            }
        }
    }

    /// Sends a GET and reads the response; `None` if the process was killed. The proxy may have closed an idle connection,
    /// so the request is sent again on a new one.
    fn exchange(&mut self, asked: &Asked, lines: &str) -> Option<Answer> {
        let head = request("GET", asked, lines);
        for kept in [self.connection.take(), None] {
            let is_new = kept.is_none();
            let mut client = kept.or_else(|| self.connect())?;
            client.send_until_refused(head.as_bytes());
            if client.has_head() {
                let response = client.answer();
                if response.ending == Ending::Whole {
                    self.connection = Some(client);
                }
                return Some(response);
            }
            if is_new {
                break;
            }
        }
        if !self.truth.is_killed() {
            let what = format!("no response: {asked:?} {lines:?}");
            self.truth.violation(what);
        }
        None
    }

    /// Reports what is wrong with a response, unless the kill has cut it.
    fn right(
        &self,
        asked: &Asked,
        lines: &str,
        response: &Answer,
        checked: Result<Option<Checked>, &str>,
    ) -> Option<Checked> {
        checked.unwrap_or_else(|wrong| {
            let what = format!(
                "{wrong}: {asked:?} {lines:?} {:?} {:?}, {} bytes",
                response.head,
                response.ending,
                response.body.len()
            );
            self.truth.violation_at(asked.resource, &what);
            None
        })
    }

    /// Compares the response with the truth. `None` if the kill has cut it, or it has no body to compare.
    fn check(
        &self,
        asked: &Asked,
        response: &Answer,
        range: Option<&str>,
    ) -> Result<Option<Checked>, &'static str> {
        let (resource, status) = (asked.resource, response.status());
        if status == 416 && range.is_some() && resource.size() == 0 {
            return Ok(None);
        }
        if !matches!((status, range), (200, _) | (206, Some(_))) {
            return Err("another status");
        }
        let version = response.field("x-version").and_then(Version::parse);
        let version = version.ok_or("no version")?;
        let confirmed = match response.field("x-confirmed") {
            None => version.number,
            Some(number) => number.parse().map_err(|_| "no confirmation")?,
        };
        if let Some(wrong) = self.truth.wrong(asked, &version, confirmed) {
            return Err(wrong);
        }
        let content = version.content(resource);
        let expected = match (status, range) {
            (206, Some(range)) => {
                let (first, last) = parse_range(range, content.len()).ok_or("a part of nothing")?;
                let place = format!("bytes {first}-{last}/{}", content.len());
                if response.field("content-range") != Some(&place) {
                    return Err("another range");
                }
                &content[first..=last]
            }
            _ => &content[..],
        };
        if response.ending == Ending::Cut {
            let is_beginning = self.truth.is_killed() && expected.starts_with(&response.body);
            return is_beginning.then_some(None).ok_or("cut");
        }
        if response.body != expected {
            return Err("another body");
        }
        let is_hit = response.field("x-cache") == Some("HIT");
        if is_hit {
            self.truth.count("hits");
        }
        Ok(Some(Checked {
            number: version.number,
            is_hit,
        }))
    }
}

fn confirmed(response: &Answer) -> String {
    format!("confirmed {:?}", response.field("x-confirmed"))
}

fn request(method: &str, asked: &Asked, lines: &str) -> String {
    let mut head = format!(
        "{method} {} HTTP/1.1\r\nHost: proxy.test\r\n",
        asked.resource.path()
    );
    for (name, value) in [("Authorization", asked.identity), ("X-Lang", asked.lang)] {
        if value != NONE {
            head += &format!("{name}: {value}\r\n");
        }
    }
    head + lines + "\r\n"
}
