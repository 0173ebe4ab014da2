//! The limit of open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use caching_proxy::config::Config;

use crate::failure::Failure;

/// Descriptors of an idle proxy besides its workers, with some spare ones for connections.
const FILES_BESIDE_WORKERS: u64 = 48;
/// With both listeners of `localhost`.
const FILES_PER_WORKER: u64 = 6;

/// Raises the limit to the maximum: a request takes up to two descriptors, and many systems start programs with 1024.
pub(crate) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        )
    {
        log::debug!("cannot raise the limit of open files from {current:?}: {error}");
    }
}

/// Checks that the workers can start: libraries panic if they get no descriptor for a thread. Warns if not all clients can be
/// connected.
pub(crate) fn check(config: &Config) -> Result<(), Failure> {
    let workers = config.workers;
    let least = FILES_BESIDE_WORKERS + FILES_PER_WORKER * workers as u64;
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < least => Err(Failure::FewFiles {
            limit,
            workers,
            least,
        }),
        Some(limit) if limit < least + config.max_clients as u64 => {
            log::warn!(
                "the limit of open files is {limit}, too few for --max-clients {}: raise it (ulimit -n), or lower that",
                config.max_clients
            );
            Ok(())
        }
        _ => Ok(()),
    }
}
