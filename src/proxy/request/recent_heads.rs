//! The forwarded heads that one worker has made last.
//!
//! A client mostly sends the same headers with each request, and so do its other connections. Then the forwarded head is used
//! again. It is the same one, because all that it is made from is compared.

use std::{cell::RefCell, collections::VecDeque, hash::BuildHasher as _, net::IpAddr, rc::Rc};

use actix_web::http::{Method, Version};
use foldhash::fast::RandomState;

use crate::{
    config::Selection,
    error::ProxyError,
    headers::ClientScheme,
    proxy::request::{
        forwarded_head::{ClientHead, ForwardedHead},
        framing::RequestFraming,
    },
};

/// How many heads are kept.
const MAX_HEADS: usize = 16;

/// The heads of one worker under one configuration.
#[derive(Default)]
pub(crate) struct RecentHeads {
    /// The one that was made last comes first.
    heads: RefCell<VecDeque<RecentHead>>,
    hasher: RandomState,
}

/// A head, and what it was made from.
struct RecentHead {
    /// Of `lines`.
    hash: u64,
    /// The header lines, as the client sent them.
    lines: Box<[u8]>,
    method: Method,
    version: Version,
    framing: RequestFraming,
    peer: Option<IpAddr>,
    scheme: ClientScheme,
    selection: Selection,
    head: Rc<ForwardedHead>,
}

impl RecentHead {
    fn is_of(
        &self,
        (hash, lines): (u64, &[u8]),
        client: &ClientHead<'_>,
        selection: Selection,
    ) -> bool {
        self.hash == hash
            && self.method == *client.method
            && self.version == client.version
            && self.framing == client.framing
            && self.peer == client.peer
            && self.scheme == client.scheme
            && self.selection == selection
            && *self.lines == *lines
    }
}

impl RecentHeads {
    /// The forwarded form of `client`, whose header lines are `lines`, and for which this is selected. It is made with `make`
    /// if it is not known.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) fn get_or_make(
        &self,
        lines: &[u8],
        client: &ClientHead<'_>,
        selection: Selection,
        make: impl FnOnce() -> Result<ForwardedHead, ProxyError>,
    ) -> Result<Rc<ForwardedHead>, ProxyError> {
        let hash = self.hasher.hash_one(lines);
        let mut heads = self.heads.borrow_mut();
        let known = heads
            .iter()
            .find(|it| it.is_of((hash, lines), client, selection));
        if let Some(known) = known {
            return Ok(Rc::clone(&known.head));
        }
        let head = Rc::new(make()?);
        heads.truncate(MAX_HEADS - 1);
        heads.push_front(RecentHead {
            hash,
            lines: lines.into(),
            method: client.method.clone(),
            version: client.version,
            framing: client.framing,
            peer: client.peer,
            scheme: client.scheme,
            selection,
            head: Rc::clone(&head),
        });
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderMap;

    use super::*;
    use crate::config::Config;

    fn selection() -> Selection {
        let config = Config::for_origin("http://origin.test".parse().unwrap());
        config.select("/", None)
    }

    const LINES: &[u8] = b"Host: here\r\n";

    fn client(headers: &HeaderMap) -> ClientHead<'_> {
        ClientHead {
            method: &Method::GET,
            headers,
            version: Version::HTTP_11,
            framing: RequestFraming::None,
            peer: None,
            scheme: ClientScheme::Http,
        }
    }

    /// Whether the head had to be made.
    fn is_made(
        recent: &RecentHeads,
        lines: &[u8],
        client: &ClientHead<'_>,
        selection: Selection,
    ) -> bool {
        let mut is_made = false;
        let make = || {
            is_made = true;
            Ok(ForwardedHead::default())
        };
        recent.get_or_make(lines, client, selection, make).unwrap();
        is_made
    }

    #[test]
    fn a_head_is_made_once_for_all_that_it_is_made_from() {
        let headers = HeaderMap::new();
        let client = client(&headers);
        let selection = selection();
        let other_heads = [
            ClientHead {
                method: &Method::POST,
                ..client
            },
            ClientHead {
                version: Version::HTTP_10,
                ..client
            },
            ClientHead {
                framing: RequestFraming::Sized(1),
                ..client
            },
            ClientHead {
                peer: Some([127, 0, 0, 1].into()),
                ..client
            },
            ClientHead {
                scheme: ClientScheme::Https,
                ..client
            },
        ];
        let recent = RecentHeads::default();
        for is_first in [true, false] {
            assert_eq!(is_made(&recent, LINES, &client, selection), is_first);
            assert_eq!(
                is_made(&recent, b"Host: there\r\n", &client, selection),
                is_first
            );
            for other in &other_heads {
                assert_eq!(is_made(&recent, LINES, other, selection), is_first);
            }
        }
        for number in 0..2 * MAX_HEADS {
            let lines = format!("Host: {number}\r\n");
            assert!(is_made(&recent, lines.as_bytes(), &client, selection));
        }
        assert_eq!(recent.heads.borrow().len(), MAX_HEADS);
        assert!(is_made(&recent, LINES, &client, selection));
    }

    #[test]
    fn a_head_that_cannot_be_made_is_not_kept() {
        let headers = HeaderMap::new();
        let client = client(&headers);
        let recent = RecentHeads::default();
        let made = recent.get_or_make(LINES, &client, selection(), || Err(ProxyError::Loop));
        assert!(made.is_err());
        assert!(is_made(&recent, LINES, &client, selection()));
    }
}
