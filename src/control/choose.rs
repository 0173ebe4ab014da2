//! Which of the running proxies a command is about.

use std::{fmt, time::Duration};

use serde::de::DeserializeOwned;

use super::{
    ControlError, Instance,
    client::{ControlRequest, ask},
    commands::{DESCRIBE_LIMIT, is_living, names_in},
    directories::SocketDirectories,
    lock::InstanceName,
};

/// How long an instance may take to answer a question.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The running proxy that a command is about.
#[derive(Debug)]
pub struct ChosenInstance {
    /// Who it is.
    pub instance: Instance,
    name: InstanceName,
}

impl ChosenInstance {
    /// Asks it: `method`, `target` (path and query) and body (empty for none) of an HTTP request; its answer is JSON.
    ///
    /// # Errors
    /// It refused the question ([`ControlError::Refused`]), or did not answer.
    pub fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> Result<T, ControlError> {
        let command = ControlRequest {
            method,
            target,
            body,
        };
        ask(&self.name.socket, command, ANSWER_LIMIT)
    }
}

/// Why there is no one running proxy that a command is about.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    /// None runs; with a port, none on that one. Those that do run are listed.
    #[error("no running caching-proxy found{}{}", on(*.port), list(.others))]
    NoneRunning {
        /// The port that was named.
        port: Option<u16>,
        /// Those on other ports.
        others: Vec<Instance>,
    },
    /// Several run, and it was not said which one is meant.
    #[error("several run; say which one with --port{}", list(.0))]
    SeveralRunning(Vec<Instance>),
    /// One lives there and does not answer.
    #[error("the caching-proxy on port {port} does not answer")]
    NoResponse {
        /// Its port.
        port: u16,
        /// Why.
        #[source]
        source: ControlError,
    },
    /// A place of this user where instances may be cannot be trusted.
    #[error(transparent)]
    Refused(#[from] ControlError),
}

fn on(port: Option<u16>) -> String {
    port.map_or_else(String::new, |port| format!(" on port {port}"))
}

fn list(instances: &[Instance]) -> String {
    struct Line<'a>(&'a Instance);
    impl fmt::Display for Line<'_> {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            let Instance {
                port, origin, pid, ..
            } = self.0;
            write!(out, "\n  --port {port}  {origin} (process {pid})")
        }
    }
    instances
        .iter()
        .map(|instance| Line(instance).to_string())
        .collect()
}

/// The running proxy of this user that is meant: the one on `port`, or the only one.
///
/// # Errors
/// There is none, or more than one, or it does not answer.
pub fn choose(port: Option<u16>) -> Result<ChosenInstance, ChooseError> {
    choose_in(&SocketDirectories::of_this_process(), port)
}

pub(super) fn choose_in(
    surroundings: &SocketDirectories,
    port: Option<u16>,
) -> Result<ChosenInstance, ChooseError> {
    let (names, mut refused) = names_in(surroundings);
    let mut meant = Vec::new();
    let mut others = Vec::new();
    let mut silent = None;
    for name in names.into_iter().filter(is_living) {
        let is_meant = port.is_none_or(|port| port == name.port);
        // On a busy machine it may take a while; of the others not to be told of does no harm.
        let limit = if is_meant {
            ANSWER_LIMIT
        } else {
            DESCRIBE_LIMIT
        };
        match ask(&name.socket, ControlRequest::DESCRIBE, limit) {
            Ok(instance) if is_meant => meant.push(ChosenInstance { instance, name }),
            Ok(instance) => others.push(instance),
            Err(source) if is_meant => silent = Some((name.port, source)),
            Err(_) => {}
        }
    }
    if meant.len() > 1 {
        let instances = meant.into_iter().map(|chosen| chosen.instance);
        return Err(ChooseError::SeveralRunning(instances.collect()));
    }
    match (meant.pop(), silent, refused.pop()) {
        (Some(chosen), ..) => Ok(chosen),
        (None, Some((port, source)), _) => Err(ChooseError::NoResponse { port, source }),
        (None, None, Some(refused)) => Err(refused.into()),
        (None, None, None) => Err(ChooseError::NoneRunning { port, others }),
    }
}
