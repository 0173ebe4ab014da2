//! Entry point for fuzzing: the configuration file with its rules.

use std::path::Path;

use super::{Flags, SettingSources, file::SettingsFile, keys::KEYS};

/// Any file is understood, or refused with a message.
pub fn config_file(bytes: &[u8]) {
    let flags = Flags::from([("origin", "http://127.0.0.1:1".into())]);
    let loaded = SettingsFile::parse(Path::new("proxy.toml"), bytes, KEYS).and_then(|file| {
        SettingSources {
            flags: &flags,
            environment: &|_| None,
            file,
        }
        .config()
    });
    match loaded {
        Ok(config) => assert!(!config.values().is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
