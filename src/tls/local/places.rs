//! The directories of authorities.

use std::{ffi::OsString, path::PathBuf};

/// Where the authorities of this user are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tls) struct Places {
    /// That of mkcert. `None` if the environment does not say where it could be.
    pub(in crate::tls) mkcert: Option<PathBuf>,
    /// That of our own, which may not exist. `None` if the environment does not say where it could be.
    pub(in crate::tls) own: Option<PathBuf>,
}

impl Places {
    /// Those that the environment of this process names.
    pub(in crate::tls) fn of_user() -> Self {
        Self::new(|variable| std::env::var_os(variable))
    }

    /// Those that an environment names. A variable that is empty counts as unset, and so does a relative path.
    pub(in crate::tls) fn new(environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let directory = |variable| {
            let path = PathBuf::from(environment(variable)?);
            path.is_absolute().then_some(path)
        };
        let data = directory("XDG_DATA_HOME").or_else(|| {
            let home = directory("HOME")?;
            Some(match cfg!(target_os = "macos") {
                true => home.join("Library/Application Support"),
                false => home.join(".local/share"),
            })
        });
        let below = |name: &str| data.as_ref().map(|data| data.join(name));
        Self {
            mkcert: directory("CAROOT").or_else(|| below("mkcert")),
            own: below("caching-proxy"),
        }
    }
}
