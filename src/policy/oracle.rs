//! Compares `strict` with another implementation of RFC 9111, the crate http-cache-semantics.
//!
//! Both get the same random exchanges and the same questions. For each known difference there is a function that tells
//! in which exchanges it may occur, with the section of the RFC that decides it. In all other exchanges both have to
//! agree. Each listed difference occurs, and each question is compared in a good share of the exchanges.

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
    Decision, Mode, Reason, Request, RequestContent, Response, ResponseHeaders, StoredHead, Time,
    admit, decide,
    fixture::{DATE, NOW, OfLines, headers, policy},
    revalidated, revalidation_matches,
    syntax::date::http_date,
    validators,
};

mod differences;
mod exchanges;

use differences::DIFFERENCES;
use exchanges::exchange;

/// Field lines: a name, and the members of its value.
#[derive(Clone, Debug, Default)]
struct FieldLines(Vec<(&'static str, Vec<&'static str>)>);

impl FieldLines {
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

    /// True if there is a Cache-Control directive of this name, in this case.
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

    fn ours<T: OfLines>(&self) -> T {
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

/// A GET and its response at `at`, another GET `seconds` later, and the fields of a 304 to its validation.
#[derive(Clone, Debug)]
struct OracleExchange {
    at: Time,
    request: FieldLines,
    status: u16,
    response: FieldLines,
    seconds: u64,
    second: FieldLines,
    update: FieldLines,
}

impl OracleExchange {
    fn second_at(&self) -> Time {
        self.at.saturating_add(Duration::from_secs(self.seconds))
    }

    /// This exchange after the 304 (RFC 9111, 3.2).
    fn freshened(&self) -> Self {
        let is_stored = |name| name != "age" && name != "date" && !self.update.has(name);
        let kept = self.response.0.iter().filter(|(name, _)| is_stored(*name));
        Self {
            at: self.second_at(),
            request: self.second.clone(),
            response: FieldLines(kept.chain(&self.update.0).cloned().collect()),
            seconds: 0,
            ..self.clone()
        }
    }

    fn admit(&self) -> Result<StoredHead, Reason> {
        let (request, response) = (self.request.ours(), self.response.ours());
        with_request(&request, |request| {
            admit(
                &policy(Mode::Strict),
                request,
                &response_of(self.status, &response, self.at),
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
        let response = their_response(self.status, &self.response);
        let options = CacheOptions {
            // Only that crate takes `immutable` for a lifetime.
            immutable_min_time_to_live: Duration::ZERO,
            ..CacheOptions::default()
        };
        CachePolicy::new_options(&request, &response, system_time(self.at), options)
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

fn response_of(status: u16, headers: &ResponseHeaders, at: Time) -> Response<'_> {
    Response {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        connection_fields: None,
        request_time: at,
        response_time: at,
    }
}

fn their_request(fields: &FieldLines) -> http::Request<()> {
    let mut request = http::Request::new(());
    *request.headers_mut() = fields.theirs();
    request
}

fn their_response(status: u16, fields: &FieldLines) -> http::Response<()> {
    let mut response = http::Response::new(());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    *response.headers_mut() = fields.theirs();
    response
}

fn system_time(time: Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(time.unix_millis())
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Question {
    /// May the response be stored?
    Storable,
    /// How many seconds of freshness are left at the second request?
    Ttl,
    /// How old is it then?
    Age,
    /// May it be used for the second request without validation?
    Reuse,
    /// If not: which conditions validate it?
    Conditions,
    /// Does the 304 select it?
    NotModified,
    /// If so: may it still be stored, and how long is it fresh?
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

/// A question with both answers.
#[derive(Debug)]
struct Comparison {
    question: Question,
    ours: String,
    theirs: String,
}

impl Comparison {
    fn new<T: ToString>(question: Question, ours: T, theirs: T) -> Self {
        Self {
            question,
            ours: ours.to_string(),
            theirs: theirs.to_string(),
        }
    }
}

/// All questions about an exchange, with both answers.
fn asked(exchange: &OracleExchange) -> Vec<Comparison> {
    let (admitted, oracle) = (exchange.admit(), exchange.oracle());
    let is_storable = oracle.is_storable();
    let mut asked = vec![Comparison::new(
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

fn about_reuse(
    exchange: &OracleExchange,
    stored: &StoredHead,
    oracle: &CachePolicy,
) -> Vec<Comparison> {
    let now = exchange.second_at();
    let their_now = system_time(now);
    let ttl = stored.ttl_seconds(now).unwrap().max(0);
    let decision = exchange.decide(stored);
    let is_served = matches!(decision, Decision::Serve { .. });
    let verdict = oracle.before_request(&their_request(&exchange.second), their_now);
    let mut asked = vec![
        Comparison::new(
            Question::Ttl,
            ttl,
            oracle.time_to_live(their_now).as_secs().cast_signed(),
        ),
        Comparison::new(
            Question::Age,
            stored.age_seconds(now),
            oracle.age(their_now).as_secs(),
        ),
        Comparison::new(
            Question::Reuse,
            is_served,
            verdict.satisfies_without_revalidation(),
        ),
    ];
    if let BeforeRequest::Stale { request, matches } = verdict
        && !is_served
    {
        asked.push(Comparison::new(
            Question::Conditions,
            our_conditions(stored, decision),
            their_conditions(&request.headers, matches),
        ));
    }
    asked
}

fn about_validation(
    exchange: &OracleExchange,
    stored: &StoredHead,
    oracle: &CachePolicy,
) -> Vec<Comparison> {
    let now = exchange.second_at();
    let their_now = system_time(now);
    let (second, response_form) = (
        their_request(&exchange.second),
        their_response(304, &exchange.update),
    );
    let update = exchange.update.ours();
    let is_current = revalidation_matches(stored, &response_of(304, &update, now));
    let fresh = match oracle.after_response(&second, &response_form, their_now) {
        AfterResponse::Modified(..) => None,
        AfterResponse::NotModified(fresh, _) => Some(fresh),
    };
    let mut asked = vec![Comparison::new(
        Question::NotModified,
        is_current,
        fresh.is_some(),
    )];
    if let Some(fresh) = fresh.filter(|_| is_current) {
        asked.push(Comparison::new(
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

fn our_freshened(
    exchange: &OracleExchange,
    stored: &StoredHead,
    update: &ResponseHeaders,
) -> String {
    let (now, second): (_, HeaderMap) = (exchange.second_at(), exchange.second.ours());
    let fresh = with_request(&second, |request| {
        revalidated(
            &policy(Mode::Strict),
            request,
            stored,
            &response_of(304, update, now),
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

/// The names of the differences that explain different answers to this question.
fn explained(exchange: &OracleExchange, question: Question) -> Vec<&'static str> {
    // A freshened response is judged like that of a new exchange.
    let judged_again = (question == Question::Freshened).then(|| exchange.freshened());
    let again = [Question::Storable, Question::Ttl];
    DIFFERENCES
        .iter()
        .filter(|(_, touched, contains)| {
            touched.contains(&question) && contains(exchange)
                || judged_again.as_ref().is_some_and(|exchange| {
                    again.iter().any(|question| touched.contains(question)) && contains(exchange)
                })
        })
        .map(|(name, _, _)| *name)
        .collect()
}

/// A runner with the same exchanges in every run.
fn runner(cases: u32) -> TestRunner {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

#[test]
fn strict_agrees_with_the_oracle_except_for_the_listed_differences() {
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
fn every_decision_is_compared_often_and_every_difference_occurs() {
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
