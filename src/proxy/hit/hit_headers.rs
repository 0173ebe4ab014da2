//! The header lines of a hit, written from the stored fields. Most of those are sent as they are stored, and are not parsed.

use std::io::Write as _;

use actix_web::http::{Version, header};

use crate::{
    config::Config,
    headers::{self, CacheStatus, OwnVia, ResponseHeaders, is_name, write_line},
    proxy::{request::request_id::RequestId, response::client_response::PreparedHeaders},
};

/// Most heads of hits are shorter, in bytes.
const USUAL_BYTES: usize = 512;

/// What the headers of a hit depend on beside what is stored.
pub(crate) struct ClientSide<'a, F> {
    pub(crate) via: &'a OwnVia,
    pub(crate) config: &'a Config,
    /// Makes headers that name an origin name the proxy.
    pub(crate) rewrite: F,
}

/// The header lines of a hit, as far as they are written.
pub(super) struct HitHeaders<'a, F> {
    client: ClientSide<'a, F>,
    lines: Vec<u8>,
    has_own_via: bool,
    has_date: bool,
}

impl<'a, F: Fn(&mut ResponseHeaders)> HitHeaders<'a, F> {
    pub(super) fn new(client: ClientSide<'a, F>) -> Self {
        Self {
            client,
            lines: Vec::with_capacity(USUAL_BYTES),
            has_own_via: false,
            has_date: false,
        }
    }

    /// Adds a stored field.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        if headers::is_rewritten(name) {
            let mut rewritten = ResponseHeaders::from_iter([(name, value)]);
            (self.client.rewrite)(&mut rewritten);
            for (name, value) in rewritten.iter() {
                write_line(&mut self.lines, name, value);
            }
            return;
        }
        if CacheStatus::replaces(name) || RequestId::replaces(self.client.config, name) {
            return;
        }
        self.has_date |= is_name(name, &header::DATE);
        self.has_own_via |= is_name(name, &header::VIA) && self.client.via.is_in_line(value);
        write_line(&mut self.lines, name, value);
    }

    /// The lines, with those that are the proxy's own.
    pub(super) fn finish(
        mut self,
        age_seconds: u64,
        cache_status: &CacheStatus,
    ) -> PreparedHeaders {
        let lines = &mut self.lines;
        if !self.has_own_via {
            let via = self.client.via.of(Version::HTTP_11);
            write_line(lines, b"Via", via.as_bytes());
        }
        // Writing to memory does not fail.
        let _ = write!(lines, "Age: {age_seconds}\r\n");
        cache_status.write_lines(lines);
        PreparedHeaders::new(self.lines, self.has_date)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderName;
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::headers::LastMember;
    use crate::proxy::request::rewriting::{ResponseOf, rewrite_response};

    const NAMES: &[&str] = &[
        "location",
        "content-location",
        "refresh",
        "via",
        "x-cache",
        "x-request-id",
        "cache-status",
        "date",
        "content-type",
        "x-a",
    ];
    const VALUES: &[&str] = &[
        "http://origin.test/a",
        "1; url=http://origin.test/b",
        "1.0 other, 1.0 us",
        "1.1 them",
        "HIT",
        "a",
    ];

    fn lines_of(headers: &ResponseHeaders) -> Vec<String> {
        let text = |bytes| str::from_utf8(bytes).unwrap();
        let lines = headers.iter();
        let lines = lines.map(|(name, value)| format!("{}: {}", text(name), text(value)));
        lines.collect()
    }

    proptest! {
        #[test]
        fn the_lines_are_those_of_the_completed_headers(
            fields in vec((select(NAMES), select(VALUES)), 0..6),
            has_request_id: bool,
        ) {
            let mut config = Config::for_origin("http://origin.test".parse().unwrap());
            config.deployment.request_id =
                has_request_id.then(|| HeaderName::from_static("x-request-id"));
            let via = OwnVia::new("us").unwrap();
            let cache_status = CacheStatus::hit(Some(9));
            let rewrite = |headers: &mut ResponseHeaders| {
                let selection = config.select("/t", None);
                let of = ResponseOf {
                    config: &config,
                    selection,
                    origin: config.first_origin(selection),
                    target: "/t",
                    address: None,
                    scheme: headers::ClientScheme::Http,
                };
                rewrite_response(&of, headers, headers::CookieRewriting::Off);
            };

            let lines = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let mut completed = ResponseHeaders::from_iter(lines);
            headers::set_age(&mut completed, 7);
            via.complete(&mut completed);
            if has_request_id {
                completed.remove(&HeaderName::from_static("x-request-id"));
            }
            rewrite(&mut completed);
            cache_status.write(&mut completed, &LastMember::default());
            let mut expected = lines_of(&completed);

            let client = ClientSide { via: &via, config: &config, rewrite };
            let mut headers = HitHeaders::new(client);
            for (name, value) in &fields {
                headers.add(name.as_bytes(), value.as_bytes());
            }
            let prepared = headers.finish(7, &cache_status);
            let text = String::from_utf8(prepared.lines().to_vec()).unwrap();
            prop_assert!(text.ends_with("\r\n"));
            let mut found: Vec<String> = text.lines().map(str::to_owned).collect();

            // Lines of one name are in their order, and names in any.
            let name = |line: &String| line.split(':').next().unwrap().to_ascii_lowercase();
            expected.sort_by_key(name);
            found.sort_by_key(name);
            prop_assert_eq!(found, expected);
            prop_assert_eq!(prepared.has_date(), completed.contains(&header::DATE));
        }
    }
}
