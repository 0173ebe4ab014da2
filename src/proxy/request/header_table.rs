//! What the headers of requests mean under one configuration, by name.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use actix_web::http::header::{self, HeaderName};

use crate::{config::Config, headers, policy};

/// Clients can send any number of names. This many are remembered.
const MAX_NAMES: usize = 256;

/// The classes of header names. Each name is compared with the configured patterns once.
pub(crate) struct HeaderTable {
    config: Arc<Config>,
    classes: RefCell<HashMap<HeaderName, HeaderClass>>,
}

/// What a request header with some name does to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderClass {
    /// It is forwarded as it came, and is no part of the identity.
    Plain,
    /// It is Connection, whose value decides.
    Connection,
    /// It is a part of the identity.
    Credential,
    /// It is not forwarded, or is changed on the way, or its value decides.
    Other,
}

impl HeaderTable {
    pub(crate) fn new(config: &Arc<Config>) -> Self {
        Self {
            config: Arc::clone(config),
            classes: RefCell::default(),
        }
    }

    /// The class of a header name.
    pub(crate) fn class(&self, name: &HeaderName) -> HeaderClass {
        let mut classes = self.classes.borrow_mut();
        if let Some(class) = classes.get(name) {
            return *class;
        }
        let class = self.classify(name);
        if classes.len() < MAX_NAMES {
            classes.insert(name.clone(), class);
        }
        class
    }

    fn classify(&self, name: &HeaderName) -> HeaderClass {
        match *name {
            // The origin gets its own Host, whichever the client sent.
            header::HOST => HeaderClass::Plain,
            header::CONNECTION => HeaderClass::Connection,
            header::COOKIE => HeaderClass::Other,
            _ if policy::is_credential(&self.config.policy, name) => HeaderClass::Credential,
            _ if headers::is_forwarded(name) => HeaderClass::Plain,
            _ => HeaderClass::Other,
        }
    }
}
