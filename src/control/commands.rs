//! Commands that concern every instance of this user: [`clear`], and [`holder`] of an address.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    panic::resume_unwind,
    thread,
    time::Duration,
};

use super::{
    ControlError, Instance,
    client::{ControlRequest, ask, is_nobody_listening},
    directories::SocketDirectories,
    lock::{IfNoFile, InstanceName, LockAttempt},
    routes::ClearResponse,
};
use crate::{admin::ClearRequest, cache::Unconfirmed};

/// Timeout for an instance to clear its cache, beside the wait for others.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for an instance to describe itself, where the lock file says the same or nothing depends on it.
pub(super) const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a request to a running instance is repeated that may be starting or stopping, and the pause before.
const RETRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);
/// How many instances are cleared at a time.
const MAX_AT_A_TIME: usize = 64;

/// An instance whose cache was cleared.
#[derive(Debug)]
pub struct ClearedInstance {
    /// The instance.
    pub instance: Instance,
    /// Stored responses that were removed.
    pub entries: u64,
    /// Their memory, in bytes.
    pub bytes: u64,
    /// Responses that were removed from disk.
    pub on_disk: u64,
    /// Where it does not hold: at instances on other machines that share a cache with this one.
    pub unconfirmed: Unconfirmed,
}

/// A running instance whose cache was not cleared.
#[derive(Debug)]
pub struct UnreachedInstance {
    /// The port in its name.
    pub port: u16,
    /// The instance; `None` if it has not described itself.
    pub instance: Option<Instance>,
    /// Why it was not cleared.
    pub error: ControlError,
}

/// The result of [`clear`].
#[derive(Debug, Default)]
pub struct ClearReport {
    /// Instances that were cleared.
    pub cleared: Vec<ClearedInstance>,
    /// Instances that may not have been cleared.
    pub failed: Vec<UnreachedInstance>,
    /// Directories where instances may be, but which cannot be trusted.
    pub refused: Vec<ControlError>,
}

/// Clears the cache of every running instance of this user, or of those on `port` only.
pub fn clear(port: Option<u16>, request: ClearRequest) -> ClearReport {
    clear_in(&SocketDirectories::of_this_process(), port, request)
}

pub(super) fn clear_in(
    surroundings: &SocketDirectories,
    port: Option<u16>,
    request: ClearRequest,
) -> ClearReport {
    let (names, refused) = names_in(surroundings);
    let mut report = ClearReport {
        refused,
        ..ClearReport::default()
    };
    let names: Vec<InstanceName> = names
        .into_iter()
        .filter(|name| port.is_none_or(|port| port == name.port))
        .collect();
    let outcomes = names
        .chunks(MAX_AT_A_TIME)
        .flat_map(|names| clear_together(names, request));
    for (name, outcome) in names.iter().zip(outcomes) {
        match outcome {
            Ok(None) => {}
            Ok(Some(cleared)) => report.cleared.push(cleared),
            Err(error) => {
                let instance = name.instance();
                report.failed.push(UnreachedInstance {
                    port: name.port,
                    instance,
                    error,
                });
            }
        }
    }
    report
}

/// The result for one name. `None` if its process has ended, and with it the cache.
type ClearOutcome = Result<Option<ClearedInstance>, ControlError>;

/// Clears the instances of these names at the same time, so that one that hangs does not delay the others. The results
/// are in the order of the names.
fn clear_together(names: &[InstanceName], request: ClearRequest) -> Vec<ClearOutcome> {
    thread::scope(|scope| {
        let threads: Vec<_> = names
            .iter()
            .map(|name| {
                thread::Builder::new().spawn_scoped(scope, move || clear_one(name, request))
            })
            .collect();
        let outcomes = threads.into_iter().zip(names);
        outcomes
            .map(|(thread, name)| match thread {
                Ok(thread) => thread.join().unwrap_or_else(|cause| resume_unwind(cause)),
                // The system has no more threads: clear this one after the others.
                Err(_) => clear_one(name, request),
            })
            .collect()
    })
}

/// The instance of this user that listens on `address`, or on an address that conflicts with it.
pub fn holder(address: SocketAddr) -> Option<Instance> {
    holder_in(&SocketDirectories::of_this_process(), address)
}

pub(super) fn holder_in(surroundings: &SocketDirectories, address: SocketAddr) -> Option<Instance> {
    let (names, _) = names_in(surroundings);
    names
        .into_iter()
        .filter(|name| name.port == address.port())
        .filter(is_running)
        .filter_map(|name| {
            ask(&name.socket, ControlRequest::DESCRIBE, DESCRIBE_TIMEOUT)
                .ok()
                .or_else(|| name.instance())
        })
        .find(|instance| overlap(instance.bind, address.ip()))
}

/// Whether two listeners on one port conflict.
fn overlap(one: IpAddr, other: IpAddr) -> bool {
    one == other || one.is_unspecified() || other.is_unspecified()
}

pub(super) fn names_in(surroundings: &SocketDirectories) -> (Vec<InstanceName>, Vec<ControlError>) {
    let (dirs, mut refused) = surroundings.existing();
    let mut names = Vec::new();
    for dir in dirs {
        match InstanceName::all_in(&dir) {
            Ok(found) => names.extend(found),
            Err(source) => refused.push(ControlError::Directory { dir, source }),
        }
    }
    (names, refused)
}

/// Clears the instance of a name.
fn clear_one(name: &InstanceName, request: ClearRequest) -> ClearOutcome {
    let mut retries_left = RETRIES;
    let body = serde_json::to_vec(&request).unwrap_or_default();
    let command = ControlRequest {
        method: "POST",
        target: "/clear",
        body: &[&body],
    };
    let limit = CLEAR_TIMEOUT.saturating_add(request.wait());
    loop {
        let state = liveness(name)?;
        if state == Liveness::Gone {
            return Ok(None);
        }
        match (ask::<ClearResponse>(&name.socket, command, limit), state) {
            (
                Ok(ClearResponse {
                    instance,
                    entries,
                    bytes,
                    on_disk,
                    unconfirmed,
                }),
                _,
            ) => {
                return Ok(Some(ClearedInstance {
                    instance,
                    entries,
                    bytes,
                    on_disk,
                    unconfirmed,
                }));
            }
            (Err(ControlError::Connect { source, .. }), Liveness::Unknown)
                if is_nobody_listening(&source) =>
            {
                remove_abandoned(name)?;
                return Ok(None);
            }
            (Err(error), _) if retries_left == 0 || is_final(&error) => return Err(error),
            (Err(_), _) => {
                retries_left -= 1;
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// Whether another attempt is useless: the instance took too long, or has refused. An instance that is starting or
/// stopping shows every other error too. Clearing twice does no harm.
fn is_final(error: &ControlError) -> bool {
    match error {
        ControlError::Status { .. } => true,
        ControlError::Connect { source, .. } => !is_nobody_listening(source),
        ControlError::Exchange { source, .. } => source.kind() == ErrorKind::TimedOut,
        _ => false,
    }
}

/// Whether the instance of a name is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Liveness {
    Running,
    Gone,
    /// There is a socket without a lock file, which may have been deleted as an old temporary file.
    Unknown,
}

/// Whether the instance of a name is running, according to its lock.
pub(super) fn is_running(name: &InstanceName) -> bool {
    matches!(name.lock(IfNoFile::Skip), Ok(LockAttempt::HeldElsewhere))
}

/// Checks the lock, and removes the files of an instance that has ended.
fn liveness(name: &InstanceName) -> Result<Liveness, ControlError> {
    match name.lock(IfNoFile::Skip)? {
        LockAttempt::HeldElsewhere => return Ok(Liveness::Running),
        LockAttempt::Acquired(lock) => lock.remove_leftovers(),
        LockAttempt::NoFile => {}
    }
    Ok(if name.socket.exists() {
        Liveness::Unknown
    } else {
        Liveness::Gone
    })
}

/// Removes a socket that nobody listens on. This creates the lock file again, since only its owner may remove the socket.
fn remove_abandoned(name: &InstanceName) -> Result<(), ControlError> {
    if let LockAttempt::Acquired(lock) = name.lock(IfNoFile::Create)? {
        lock.remove_leftovers();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn failed_connect(kind: ErrorKind) -> ControlError {
        ControlError::Connect {
            path: "8000.sock".into(),
            source: io::Error::from(kind),
        }
    }

    #[test]
    fn only_an_instance_that_may_be_starting_or_stopping_is_retried() {
        for kind in [ErrorKind::ConnectionRefused, ErrorKind::NotFound] {
            assert!(!is_final(&failed_connect(kind)), "{kind}");
        }
        for kind in [ErrorKind::TimedOut, ErrorKind::PermissionDenied] {
            assert!(is_final(&failed_connect(kind)), "{kind}");
        }
    }
}
