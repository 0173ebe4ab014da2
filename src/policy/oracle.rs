//! `strict` beside another reading of RFC 9111, the crate http-cache-semantics.
//!
//! Random exchanges are put to both and the same questions asked. Where the two are known to differ there is a function
//! that says in which exchanges they may, and the section that shows who is right; everywhere else they have to agree.
//! No difference is listed that does not occur, and every question is compared in a good share of the exchanges.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::http::{Method, StatusCode, header::HeaderMap};
use http_cache_semantics::{AfterResponse, BeforeRequest, CacheOptions, CachePolicy};
use proptest::{
    option::weighted,
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{
    BodyEnd, Decision, Mode, Reason, Request, RequestContent, Response, StoredHead, Time, admit,
    decide,
    fixture::{DATE, NOW, headers, policy},
    revalidated, revalidation_matches,
    syntax::date::http_date,
    validators,
};

mod differences;
mod exchanges;

use differences::DIFFERENCES;
use exchanges::exchange;

/// Lines of a head: a name, and the members of its value.
#[derive(Clone, Debug, Default)]
struct Fields(Vec<(&'static str, Vec<&'static str>)>);

impl Fields {
    fn lines(&self, name: &str) -> impl Iterator<Item = &[&'static str]> {
        let named = self.0.iter().filter(move |(found, _)| *found == name);
        named.map(|(_, members)| members.as_slice())
    }

    fn has(&self, name: &str) -> bool {
        self.lines(name).next().is_some()
    }

    /// All members of all lines.
    fn members(&self, name: &str) -> impl Iterator<Item = &'static str> {
        self.lines(name).flatten().copied()
    }

    /// Has a Cache-Control directive of this name, spelt like this.
    fn says(&self, directive: &str) -> bool {
        let mut names = self.directives().map(|(name, _)| name);
        names.any(|name| name == directive)
    }

    fn directives(&self) -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
        let members = self.members("cache-control");
        members.map(|member| match member.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (member, None),
        })
    }

    fn ours(&self) -> HeaderMap {
        let lines: Vec<(&str, String)> = self.joined().collect();
        let lines: Vec<(&str, &str)> = lines.iter().map(|(n, v)| (*n, v.as_str())).collect();
        headers(&lines)
    }

    fn theirs(&self) -> http::HeaderMap {
        let mut map = http::HeaderMap::new();
        for (name, value) in self.joined() {
            map.append(name, http::HeaderValue::from_str(&value).unwrap());
        }
        map
    }

    fn joined(&self) -> impl Iterator<Item = (&'static str, String)> {
        let lines = self.0.iter();
        lines.map(|(name, members)| (*name, members.join(", ")))
    }
}

/// A GET and its answer at `at`; another GET `seconds` later, and what a 304 to its validation carries.
#[derive(Clone, Debug)]
struct Exchange {
    at: Time,
    request: Fields,
    status: u16,
    reply: Fields,
    seconds: u64,
    second: Fields,
    update: Fields,
}

impl Exchange {
    fn second_at(&self) -> Time {
        self.at.saturating_add(Duration::from_secs(self.seconds))
    }

    /// The exchange that a 304 makes of this one (RFC 9111, 3.2).
    fn freshened(&self) -> Self {
        let is_kept = |name| name != "age" && name != "date" && !self.update.has(name);
        let kept = self.reply.0.iter().filter(|(name, _)| is_kept(*name));
        Self {
            at: self.second_at(),
            request: self.second.clone(),
            reply: Fields(kept.chain(&self.update.0).cloned().collect()),
            seconds: 0,
            ..self.clone()
        }
    }

    fn admit(&self) -> Result<StoredHead, Reason> {
        let (request, reply) = (self.request.ours(), self.reply.ours());
        with_request(&request, |request| {
            admit(
                &policy(Mode::Strict),
                request,
                &reply_of(self.status, &reply, self.at),
            )
        })
    }

    fn decide(&self, stored: &StoredHead) -> Decision {
        let second = self.second.ours();
        with_request(&second, |request| {
            let variants = [stored].into_iter();
            decide(&policy(Mode::Strict), request, variants, self.second_at())
        })
    }

    fn oracle(&self) -> CachePolicy {
        let request = their_request(&self.request);
        let reply = their_reply(self.status, &self.reply);
        let options = CacheOptions {
            // An invention of that crate: nothing says that `immutable` is a lifetime.
            immutable_min_time_to_live: Duration::ZERO,
            ..CacheOptions::default()
        };
        CachePolicy::new_options(&request, &reply, system_time(self.at), options)
    }
}

fn with_request<T>(headers: &HeaderMap, use_it: impl FnOnce(&Request<'_>) -> T) -> T {
    let (policy, method) = (policy(Mode::Strict), Method::GET);
    use_it(&Request::new(
        &policy,
        &method,
        headers,
        RequestContent::None,
        None,
    ))
}

fn reply_of(status: u16, headers: &HeaderMap, at: Time) -> Response<'_> {
    Response {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        request_time: at,
        response_time: at,
        body_end: BodyEnd::Delimited,
    }
}

fn their_request(fields: &Fields) -> http::Request<()> {
    let mut request = http::Request::new(());
    *request.headers_mut() = fields.theirs();
    request
}

fn their_reply(status: u16, fields: &Fields) -> http::Response<()> {
    let mut reply = http::Response::new(());
    *reply.status_mut() = http::StatusCode::from_u16(status).unwrap();
    *reply.headers_mut() = fields.theirs();
    reply
}

fn system_time(time: Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(time.unix_millis())
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Question {
    /// May the answer be stored?
    Storable,
    /// How many seconds is it still fresh when the second request comes?
    Ttl,
    /// How old is it then?
    Age,
    /// Does it answer the second request without validation?
    Reuse,
    /// Unless it does: by which conditions is it validated?
    Conditions,
    /// Does the 304 speak about it?
    NotModified,
    /// If so: is it stored still, and how long fresh?
    Freshened,
}

const QUESTIONS: [Question; 7] = [
    Question::Storable,
    Question::Ttl,
    Question::Age,
    Question::Reuse,
    Question::Conditions,
    Question::NotModified,
    Question::Freshened,
];

/// A question with our answer and theirs.
#[derive(Debug)]
struct Asked {
    question: Question,
    ours: String,
    theirs: String,
}

impl Asked {
    fn new<T: ToString>(question: Question, ours: T, theirs: T) -> Self {
        Self {
            question,
            ours: ours.to_string(),
            theirs: theirs.to_string(),
        }
    }
}

/// All that can be asked about an exchange.
fn asked(exchange: &Exchange) -> Vec<Asked> {
    let (admitted, oracle) = (exchange.admit(), exchange.oracle());
    let is_storable = oracle.is_storable();
    let mut asked = vec![Asked::new(
        Question::Storable,
        admitted.is_ok(),
        is_storable,
    )];
    if let Some(stored) = admitted.ok().filter(|_| is_storable) {
        asked.extend(about_reuse(exchange, &stored, &oracle));
        asked.extend(about_validation(exchange, &stored, &oracle));
    }
    asked
}

fn about_reuse(exchange: &Exchange, stored: &StoredHead, oracle: &CachePolicy) -> Vec<Asked> {
    let now = exchange.second_at();
    let their_now = system_time(now);
    let ttl = stored.ttl_seconds(now).unwrap().max(0);
    let decision = exchange.decide(stored);
    let is_served = matches!(decision, Decision::Serve { .. });
    let verdict = oracle.before_request(&their_request(&exchange.second), their_now);
    let mut asked = vec![
        Asked::new(
            Question::Ttl,
            ttl,
            oracle.time_to_live(their_now).as_secs().cast_signed(),
        ),
        Asked::new(
            Question::Age,
            stored.age_seconds(now),
            oracle.age(their_now).as_secs(),
        ),
        Asked::new(
            Question::Reuse,
            is_served,
            verdict.satisfies_without_revalidation(),
        ),
    ];
    if let BeforeRequest::Stale { request, matches } = verdict
        && !is_served
    {
        asked.push(Asked::new(
            Question::Conditions,
            our_conditions(stored, decision),
            their_conditions(&request.headers, matches),
        ));
    }
    asked
}

fn about_validation(exchange: &Exchange, stored: &StoredHead, oracle: &CachePolicy) -> Vec<Asked> {
    let now = exchange.second_at();
    let their_now = system_time(now);
    let (second, response_form) = (
        their_request(&exchange.second),
        their_reply(304, &exchange.update),
    );
    let update = exchange.update.ours();
    let is_current = revalidation_matches(stored, &reply_of(304, &update, now));
    let fresh = match oracle.after_response(&second, &response_form, their_now) {
        AfterResponse::Modified(..) => None,
        AfterResponse::NotModified(fresh, _) => Some(fresh),
    };
    let mut asked = vec![Asked::new(
        Question::NotModified,
        is_current,
        fresh.is_some(),
    )];
    if let Some(fresh) = fresh.filter(|_| is_current) {
        asked.push(Asked::new(
            Question::Freshened,
            our_freshened(exchange, stored, &update),
            their_freshened(&fresh, their_now),
        ));
    }
    asked
}

fn our_conditions(stored: &StoredHead, decision: Decision) -> String {
    if !matches!(decision, Decision::Revalidate { .. }) {
        return "not validated".to_owned();
    }
    let conditions: Vec<String> = validators(stored)
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    conditions.join("; ")
}

fn their_conditions(fields: &http::HeaderMap, is_validated: bool) -> String {
    if !is_validated {
        return "not validated".to_owned();
    }
    let conditions: Vec<String> = ["if-none-match", "if-modified-since"]
        .into_iter()
        .filter_map(|name| Some((name, fields.get(name)?)))
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    conditions.join("; ")
}

fn our_freshened(exchange: &Exchange, stored: &StoredHead, update: &HeaderMap) -> String {
    let (now, second) = (exchange.second_at(), exchange.second.ours());
    let fresh = with_request(&second, |request| {
        revalidated(
            &policy(Mode::Strict),
            request,
            stored,
            &reply_of(304, update, now),
        )
    });
    fresh.map_or("not stored".to_owned(), |fresh| {
        fresh.ttl_seconds(now).unwrap().max(0).to_string()
    })
}

fn their_freshened(fresh: &CachePolicy, now: SystemTime) -> String {
    match fresh.is_storable() {
        true => fresh.time_to_live(now).as_secs().to_string(),
        false => "not stored".to_owned(),
    }
}

/// The names of the differences that explain another answer to this question.
fn explained(exchange: &Exchange, question: Question) -> Vec<&'static str> {
    // What is freshened is judged again, as an exchange of its own.
    let judged_again = (question == Question::Freshened).then(|| exchange.freshened());
    let again = [Question::Storable, Question::Ttl];
    DIFFERENCES
        .iter()
        .filter(|(_, touched, holds)| {
            touched.contains(&question) && holds(exchange)
                || judged_again.as_ref().is_some_and(|exchange| {
                    again.iter().any(|question| touched.contains(question)) && holds(exchange)
                })
        })
        .map(|(name, _, _)| *name)
        .collect()
}

/// The same exchanges in every run.
fn runner(cases: u32) -> TestRunner {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

#[test]
fn strict_answers_as_the_oracle_does_but_where_the_rfc_says_otherwise() {
    let outcome = runner(3000).run(&exchange(), |exchange| {
        for asked in asked(&exchange) {
            let is_explained = || !explained(&exchange, asked.question).is_empty();
            prop_assert!(asked.ours == asked.theirs || is_explained(), "{asked:?}");
        }
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn every_question_is_compared_often_and_no_difference_is_listed_in_vain() {
    let mut runner = runner(0);
    let mut counts = [(0_u32, 0_u32); QUESTIONS.len()];
    let mut unseen: Vec<&str> = DIFFERENCES.iter().map(|(name, _, _)| *name).collect();
    for _ in 0..3000 {
        let exchange = exchange().new_tree(&mut runner).unwrap().current();
        for asked in asked(&exchange) {
            let names = explained(&exchange, asked.question);
            let (compared, all) = &mut counts[asked.question as usize];
            *all += 1;
            *compared += u32::from(names.is_empty());
            if let [only] = names[..]
                && asked.ours != asked.theirs
            {
                unseen.retain(|name| *name != only);
            }
        }
    }
    for (question, (compared, all)) in QUESTIONS.iter().zip(counts) {
        let is_good = all >= 600 && compared * 5 >= all * 2;
        assert!(is_good, "{question:?}: {counts:?} compared of all");
    }
    assert!(unseen.is_empty(), "never the only explanation: {unseen:?}");
}
