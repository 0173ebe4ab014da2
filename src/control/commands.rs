//! The side of the commands: every instance of this user, wherever it may be.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    panic::resume_unwind,
    thread,
    time::Duration,
};

use super::{
    ControlError, Instance,
    client::{ControlRequest, ask, says_deserted},
    directories::SocketDirectories,
    lock::{IfNoFile, InstanceName, LockAttempt},
    routes::ClearResponse,
};

/// How long an instance may take to clear.
const CLEAR_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to say who it is, where others may say it for it or nobody needs to know.
pub(super) const DESCRIBE_LIMIT: Duration = Duration::from_secs(1);
/// How often, and after what pause, a living instance that did not answer is asked again.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);
/// Instances that are cleared at a time.
const MAX_AT_A_TIME: usize = 64;

/// An instance that was cleared.
#[derive(Debug)]
pub struct ClearedInstance {
    /// Which one.
    pub instance: Instance,
    /// Answers it held.
    pub entries: u64,
    /// Memory they took, in bytes.
    pub bytes: u64,
}

/// A living instance that was not cleared.
#[derive(Debug)]
pub struct UnreachedInstance {
    /// The port it is named after.
    pub port: u16,
    /// Which one, where it has said so.
    pub instance: Option<Instance>,
    /// Why it was not.
    pub error: ControlError,
}

/// What became of a [`clear`].
#[derive(Debug, Default)]
pub struct ClearReport {
    /// Those that are empty now.
    pub cleared: Vec<ClearedInstance>,
    /// Those that may not be.
    pub failed: Vec<UnreachedInstance>,
    /// Places of this user where instances may be, but nobody can be trusted.
    pub refused: Vec<ControlError>,
}

/// Empties the cache of every running instance of this user; with a port, of those on that port only.
pub fn clear(port: Option<u16>) -> ClearReport {
    clear_in(&SocketDirectories::of_this_process(), port)
}

pub(super) fn clear_in(surroundings: &SocketDirectories, port: Option<u16>) -> ClearReport {
    let (names, refused) = names_in(surroundings);
    let mut report = ClearReport {
        refused,
        ..ClearReport::default()
    };
    let names: Vec<InstanceName> = names
        .into_iter()
        .filter(|name| port.is_none_or(|port| port == name.port))
        .collect();
    let outcomes = names.chunks(MAX_AT_A_TIME).flat_map(clear_together);
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

/// What became of one name. None: nobody has it any more; with its process its cache is gone.
type ClearOutcome = Result<Option<ClearedInstance>, ControlError>;

/// Clears the instances of these names at the same time, so that one that hangs does not keep the others full; the
/// outcomes are in the order of the names.
fn clear_together(names: &[InstanceName]) -> Vec<ClearOutcome> {
    thread::scope(|scope| {
        let threads: Vec<_> = names
            .iter()
            .map(|name| thread::Builder::new().spawn_scoped(scope, || clear_one(name)))
            .collect();
        let outcomes = threads.into_iter().zip(names);
        outcomes
            .map(|(thread, name)| match thread {
                Ok(thread) => thread.join().unwrap_or_else(|cause| resume_unwind(cause)),
                // The system gives no more threads: then after the others.
                Err(_) => clear_one(name),
            })
            .collect()
    })
}

/// The instance of this user that listens where `address` would.
pub fn holder(address: SocketAddr) -> Option<Instance> {
    holder_in(&SocketDirectories::of_this_process(), address)
}

pub(super) fn holder_in(surroundings: &SocketDirectories, address: SocketAddr) -> Option<Instance> {
    let (names, _) = names_in(surroundings);
    names
        .into_iter()
        .filter(|name| name.port == address.port())
        .filter(is_living)
        .filter_map(|name| {
            ask(&name.socket, ControlRequest::DESCRIBE, DESCRIBE_LIMIT)
                .ok()
                .or_else(|| name.instance())
        })
        .find(|instance| overlap(instance.bind, address.ip()))
}

/// Whether two listeners on one port get into each other's way.
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
fn clear_one(name: &InstanceName) -> ClearOutcome {
    let mut tries_left = TRIES;
    loop {
        let life = life_of(name)?;
        if life == Liveness::Gone {
            return Ok(None);
        }
        match (
            ask::<ClearResponse>(&name.socket, ControlRequest::CLEAR, CLEAR_LIMIT),
            life,
        ) {
            (
                Ok(ClearResponse {
                    instance,
                    entries,
                    bytes,
                }),
                _,
            ) => {
                return Ok(Some(ClearedInstance {
                    instance,
                    entries,
                    bytes,
                }));
            }
            (Err(ControlError::Connect { source, .. }), Liveness::Unknown)
                if says_deserted(&source) =>
            {
                bury(name)?;
                return Ok(None);
            }
            (Err(error), _) if tries_left == 0 || is_final(&error) => return Err(error),
            (Err(_), _) => {
                tries_left -= 1;
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// Whether asking again is in vain: it had its time, or has decided. All else is also seen of one that is starting or
/// stopping; to clear twice does no harm.
fn is_final(error: &ControlError) -> bool {
    match error {
        ControlError::Status { .. } => true,
        ControlError::Connect { source, .. } => !says_deserted(source),
        ControlError::Exchange { source, .. } => source.kind() == ErrorKind::TimedOut,
        _ => false,
    }
}

/// Whether somebody lives under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Liveness {
    Running,
    Gone,
    /// Somebody tidied the lock away, as cleaners of temporary directories do, but not the socket.
    Unknown,
}

/// Whether somebody lives under a name, as far as its lock tells.
pub(super) fn is_living(name: &InstanceName) -> bool {
    matches!(name.lock(IfNoFile::Skip), Ok(LockAttempt::HeldElsewhere))
}

/// What a dead instance left is removed.
fn life_of(name: &InstanceName) -> Result<Liveness, ControlError> {
    match name.lock(IfNoFile::Skip)? {
        LockAttempt::HeldElsewhere => return Ok(Liveness::Running),
        LockAttempt::Acquired(claim) => claim.bury(),
        LockAttempt::NoFile => {}
    }
    Ok(if name.socket.exists() {
        Liveness::Unknown
    } else {
        Liveness::Gone
    })
}

/// Removes a socket nobody answers at. The lock is made again for it: only its owner may remove the socket.
fn bury(name: &InstanceName) -> Result<(), ControlError> {
    if let LockAttempt::Acquired(claim) = name.lock(IfNoFile::Create)? {
        claim.bury();
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
    fn only_one_who_may_be_starting_or_stopping_is_asked_again() {
        for kind in [ErrorKind::ConnectionRefused, ErrorKind::NotFound] {
            assert!(!is_final(&failed_connect(kind)), "{kind}");
        }
        for kind in [ErrorKind::TimedOut, ErrorKind::PermissionDenied] {
            assert!(is_final(&failed_connect(kind)), "{kind}");
        }
    }
}
