//! The id of a request: the client's own, or a new one.

use actix_web::{
    HttpMessage as _, HttpRequest,
    http::header::{HeaderMap, HeaderName, HeaderValue},
};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::{config::Config, headers};

use crate::headers::{ResponseHeaders, is_name};

/// The longest id of a client that is kept, in bytes.
const MAX_ID_BYTES: usize = 128;
/// New ids do not occur twice.
const NEW_ID_BYTES: usize = 16;

/// The id of a request, and the header that carries it.
#[derive(Clone, Debug)]
pub(crate) struct RequestId {
    name: HeaderName,
    value: HeaderValue,
}

impl RequestId {
    /// The id of a request that begins; `None` if requests have none. It stays with the request.
    pub(crate) fn begin(request: &HttpRequest, config: &Config) -> Option<Self> {
        let name = config.deployment.request_id.as_ref()?;
        let id = Self {
            value: sent(request.headers(), name).or_else(new_id)?,
            name: name.clone(),
        };
        request.extensions_mut().insert(id.clone());
        Some(id)
    }

    /// A new id for a request that the handler does not get; `None` if the system has no random bytes.
    pub(crate) fn generate(name: &HeaderName) -> Option<Self> {
        let name = name.clone();
        new_id().map(|value| Self { name, value })
    }

    /// The id that a request has got; `None` if requests have none.
    pub(crate) fn of(request: &HttpRequest, config: &Config) -> Option<Self> {
        config.deployment.request_id.as_ref()?;
        request.extensions().get::<Self>().cloned()
    }

    /// True for the name of a header of the origin that is replaced: each response has the id of its own request.
    pub(crate) fn replaces(config: &Config, name: &[u8]) -> bool {
        let id = config.deployment.request_id.as_ref();
        id.is_some_and(|id| is_name(name, id))
    }

    /// Sets the header of a response.
    pub(crate) fn set_in(&self, headers: &mut ResponseHeaders) {
        headers.insert(&self.name, &self.value);
    }

    /// Sets the header of a request that is forwarded.
    pub(crate) fn forward(&self, headers: &mut HeaderMap) {
        headers.insert(self.name.clone(), self.value.clone());
    }

    /// Appends the header to the head of a message.
    pub(crate) fn write_line(&self, head: &mut Vec<u8>) {
        headers::write_header_line(head, &self.name, &self.value);
    }

    /// The id as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_bytes()).into_owned()
    }
}

/// The client's own id; `None` if it has sent none, several, or one that is long or has other characters than visible
/// ones of ASCII.
fn sent(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut lines = headers.get_all(name);
    let (Some(id), None) = (lines.next(), lines.next()) else {
        return None;
    };
    let is_short = (1..=MAX_ID_BYTES).contains(&id.len());
    let is_visible = id.as_bytes().iter().all(u8::is_ascii_graphic);
    (is_short && is_visible).then(|| id.clone())
}

/// A new id; `None` if the system has no random bytes.
fn new_id() -> Option<HeaderValue> {
    let mut bytes = [0; NEW_ID_BYTES];
    SystemRandom::new().fill(&mut bytes).ok()?;
    HeaderValue::try_from(format!("{:032x}", u128::from_be_bytes(bytes))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_own_id_is_kept_if_it_is_short_and_visible() {
        let name = HeaderName::from_static("x-request-id");
        let longest = "x".repeat(MAX_ID_BYTES);
        for (lines, is_kept) in [
            (&["a-1_b:2/3+4=="][..], true),
            (&[&*longest], true),
            (&[&*format!("{longest}x")], false),
            (&[""], false),
            (&["a b"], false),
            (&["a\tb"], false),
            (&["\u{fc}"], false),
            (&["a", "b"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                let line = HeaderValue::from_bytes(line.as_bytes()).unwrap();
                headers.append(name.clone(), line);
            }
            assert_eq!(sent(&headers, &name).is_some(), is_kept, "{lines:?}");
        }
    }

    #[test]
    fn new_ids_are_128_bits_in_hexadecimal_digits() {
        let (one, other) = (new_id().unwrap(), new_id().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 2 * NEW_ID_BYTES);
        assert!(one.as_bytes().iter().all(u8::is_ascii_hexdigit));
    }
}
