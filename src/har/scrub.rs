//! What an export leaves out: credentials, cookies, values of secret parameters.

use std::collections::BTreeMap;

use actix_web::http::header::HeaderName;
use serde::{Deserialize, Serialize};

use super::exchange::HeaderLine;
use crate::{
    mask::{self, hidden},
    policy::Policy,
};

/// The most names of headers that are counted apart.
const MAX_NAMES: usize = 50;

/// What was left out of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScrubReport {
    /// Headers of requests and responses that were left out, by name.
    pub headers: BTreeMap<String, u64>,
    /// URLs in which values of secret parameters were replaced by `***`.
    pub urls: u64,
}

impl ScrubReport {
    /// In words, such as `2 Set-Cookie headers`. `None` if nothing was left out.
    pub fn sentence(&self) -> Option<String> {
        let headers = self.headers.iter().map(|(name, count)| match count {
            1 => format!("1 {name} header"),
            count => format!("{count} {name} headers"),
        });
        let urls = (self.urls > 0).then(|| {
            let urls = if self.urls == 1 { "URL" } else { "URLs" };
            format!("the values of secret parameters in {} {urls}", self.urls)
        });
        let parts: Vec<String> = headers.chain(urls).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// Leaves secrets out, and counts them.
#[derive(Debug, Default)]
pub struct Scrubber {
    keeps_secrets: bool,
    report: ScrubReport,
}

impl Scrubber {
    /// One that leaves nothing out.
    pub fn keeping_secrets() -> Self {
        Self {
            keeps_secrets: true,
            ..Self::default()
        }
    }

    /// What was left out so far.
    pub fn report(&self) -> &ScrubReport {
        &self.report
    }

    /// A URL without the values of its secret parameters.
    pub fn url(&mut self, url: String) -> String {
        if self.keeps_secrets {
            return url;
        }
        let scrubbed = hidden(&url).into_owned();
        if scrubbed != url {
            self.report.urls += 1;
        }
        scrubbed
    }

    /// The header, scrubbed; `None` if it is left out. `policy` says which ones are credentials.
    pub fn header(&mut self, policy: &Policy, (name, value): HeaderLine) -> Option<HeaderLine> {
        let known = HeaderName::from_bytes(name.as_bytes()).ok()?;
        if self.keeps_secrets {
            return Some((name, value));
        }
        if mask::is_secret_header(policy, &known) {
            let names = &mut self.report.headers;
            let name = known.as_str();
            let counted = match names.contains_key(name) || names.len() < MAX_NAMES {
                true => name.to_owned(),
                false => "other".to_owned(),
            };
            *names.entry(counted).or_default() += 1;
            return None;
        }
        match mask::is_url_header(&known) {
            true => Some((name, self.url(value))),
            false => Some((name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn secrets_are_left_out_and_counted() {
        let policy = Config::for_origin("http://a".parse().unwrap()).policy;
        let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let lines = [
            ("set-cookie", "sid=S3CR3T", None),
            ("set-cookie", "a=S3CR3T", None),
            ("authorization", "Bearer S3CR3T", None),
            ("cookie", "a=S3CR3T", None),
            ("x-api-key", "S3CR3T", None),
            ("location", "/a?token=S3CR3T&b=1", Some("/a?token=***&b=1")),
            (
                "www-authenticate",
                "Basic realm=\"a\"",
                Some("Basic realm=\"a\""),
            ),
            ("etag", "\"a\"", Some("\"a\"")),
        ];
        let mut scrubber = Scrubber::default();
        let mut all = Scrubber::keeping_secrets();
        for (name, value, expected) in lines {
            let found = scrubber.header(&policy, line(name, value));
            assert_eq!(found, expected.map(|value| line(name, value)), "{name}");
            assert_eq!(
                all.header(&policy, line(name, value)),
                Some(line(name, value))
            );
        }
        let url = "http://a/b?api_key=S3CR3T".to_owned();
        assert_eq!(scrubber.url(url.clone()), "http://a/b?api_key=***");
        assert_eq!(all.url(url.clone()), url);
        assert_eq!(
            scrubber.report().sentence().unwrap(),
            "1 authorization header, 1 cookie header, 2 set-cookie headers, 1 x-api-key header, \
             the values of secret parameters in 2 URLs"
        );
        assert_eq!(all.report().sentence(), None);
    }
}
