//! [`choose`]: the running proxy that a command is about.

use std::{fmt::Write as _, time::Duration};

use serde::de::DeserializeOwned;

use super::{
    ControlError, Instance,
    client::{ControlRequest, WriteBody, WrittenBody, ask, ask_with_body},
    commands::{DESCRIBE_TIMEOUT, is_running, names_in},
    directories::SocketDirectories,
    lock::InstanceName,
    stream::{self, ResponseStream},
    transfer::import_length,
};
use crate::admin::ImportOutcome;

/// Timeout for the response of an instance.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for storing a large response, and between two pieces of an export.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(60);

/// The running proxy that a command is about.
#[derive(Debug)]
pub struct ChosenInstance {
    /// Its description of itself.
    pub instance: Instance,
    name: InstanceName,
}

impl ChosenInstance {
    /// Sends it an HTTP request: `method`, `target` (path and query) and body (empty for none). The response is JSON.
    ///
    /// # Errors
    /// It refused the request ([`ControlError::Refused`]), or did not respond.
    pub fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> Result<T, ControlError> {
        self.ask_for(method, target, body, Duration::ZERO)
    }

    /// The same for a request that lets the instance wait so long before it responds.
    ///
    /// # Errors
    /// The same.
    pub fn ask_for<T: DeserializeOwned>(
        &self,
        method: &str,
        target: &str,
        body: &[u8],
        wait: Duration,
    ) -> Result<T, ControlError> {
        let command = ControlRequest {
            method,
            target,
            body: &[body],
        };
        let limit = RESPONSE_TIMEOUT.saturating_add(wait);
        ask(&self.name.socket, command, limit)
    }
}

impl ChosenInstance {
    /// Sends it a request, whose response is read while it arrives.
    ///
    /// # Errors
    /// As [`ChosenInstance::ask`].
    pub fn open(
        &self,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> Result<ResponseStream, ControlError> {
        let command = ControlRequest {
            method,
            target,
            body: &[body],
        };
        stream::open(&self.name.socket, command, TRANSFER_TIMEOUT)
    }

    /// Sends it a response to store, described as JSON. Its body has so many bytes, which a function writes.
    ///
    /// # Errors
    /// As [`ChosenInstance::ask`], or the body is not written whole.
    pub fn import(
        &self,
        description: &[u8],
        (length, write): (u64, &mut WriteBody<'_>),
    ) -> Result<ImportOutcome, ControlError> {
        let described = import_length(description)?;
        let command = ControlRequest {
            method: "POST",
            target: "/import",
            body: &[&described, description],
        };
        let body = WrittenBody { length, write };
        ask_with_body(&self.name.socket, command, body, TRANSFER_TIMEOUT)
    }
}

/// Why no running proxy was chosen.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    /// No proxy runs, or none on the given port.
    #[error("no running caching-proxy found{}{}", on(*.port), list(.others))]
    NoneRunning {
        /// The given port.
        port: Option<u16>,
        /// The proxies on other ports.
        others: Vec<Instance>,
    },
    /// Several proxies run, and no port was given or several share it.
    #[error("several proxies are running; choose one with --port{}", list(.0))]
    SeveralRunning(Vec<Instance>),
    /// A proxy runs, but does not respond.
    #[error("the caching-proxy on port {port} does not respond")]
    NoResponse {
        /// The port.
        port: u16,
        /// The error.
        #[source]
        source: ControlError,
    },
    /// A directory where instances may be cannot be trusted.
    #[error(transparent)]
    Refused(#[from] ControlError),
}

fn on(port: Option<u16>) -> String {
    port.map_or_else(String::new, |port| format!(" on port {port}"))
}

fn list(instances: &[Instance]) -> String {
    let mut text = String::new();
    for Instance {
        port, origin, pid, ..
    } in instances
    {
        let _ = write!(text, "\n  --port {port}  {origin} (process {pid})");
    }
    text
}

/// The running proxy of this user on `port`, or the only one if there is no port.
///
/// # Errors
/// There is none, or more than one, or it does not respond.
pub fn choose(port: Option<u16>) -> Result<ChosenInstance, ChooseError> {
    choose_in(&SocketDirectories::of_this_process(), port)
}

pub(super) fn choose_in(
    surroundings: &SocketDirectories,
    port: Option<u16>,
) -> Result<ChosenInstance, ChooseError> {
    let (names, mut refused) = names_in(surroundings);
    let mut candidates = Vec::new();
    let mut others = Vec::new();
    let mut unresponsive = None;
    for name in names.into_iter().filter(is_running) {
        let is_candidate = port.is_none_or(|port| port == name.port);
        // A busy machine may need the full time. Proxies on other ports are only listed, so less is enough.
        let limit = if is_candidate {
            RESPONSE_TIMEOUT
        } else {
            DESCRIBE_TIMEOUT
        };
        match ask(&name.socket, ControlRequest::DESCRIBE, limit) {
            Ok(instance) if is_candidate => candidates.push(ChosenInstance { instance, name }),
            Ok(instance) => others.push(instance),
            Err(source) if is_candidate => unresponsive = Some((name.port, source)),
            Err(_) => {}
        }
    }
    if candidates.len() > 1 {
        let instances = candidates.into_iter().map(|chosen| chosen.instance);
        return Err(ChooseError::SeveralRunning(instances.collect()));
    }
    match (candidates.pop(), unresponsive, refused.pop()) {
        (Some(chosen), ..) => Ok(chosen),
        (None, Some((port, source)), _) => Err(ChooseError::NoResponse { port, source }),
        (None, None, Some(refused)) => Err(refused.into()),
        (None, None, None) => Err(ChooseError::NoneRunning { port, others }),
    }
}
