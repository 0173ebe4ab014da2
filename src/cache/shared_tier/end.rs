//! What ends stored responses at all instances, as an event that they exchange.

use serde::{Deserialize, Serialize};

use crate::cache::{
    manage::filter::{EntryFilter, WrittenFilter},
    store::key::Resource,
};

/// What ends stored responses at all instances.
#[derive(Clone, Debug)]
pub(in crate::cache) enum SharedEnd {
    /// All are removed.
    All,
    /// Those of these resources are removed, of every identity and every body.
    Resources {
        /// The resources.
        resources: Vec<Resource>,
        /// The resource of the unsafe request that does it: it makes guesses about related paths stale. `None` if there was no
        /// such request.
        related: Option<Resource>,
    },
    /// Those that the filter names are removed.
    Purged(EntryFilter),
    /// Those that the filter names become stale.
    Expired(EntryFilter),
}

/// The form in which it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum WrittenEnd {
    All,
    Resources {
        resources: Vec<String>,
        related: Option<String>,
    },
    Purged(WrittenFilter),
    Expired(WrittenFilter),
}

impl SharedEnd {
    /// The end in bytes.
    pub(in crate::cache) fn write(&self) -> Vec<u8> {
        let text = |resource: &Resource| resource.text().to_owned();
        let written = match self {
            Self::All => WrittenEnd::All,
            Self::Resources { resources, related } => WrittenEnd::Resources {
                resources: resources.iter().map(text).collect(),
                related: related.as_ref().map(text),
            },
            Self::Purged(filter) => WrittenEnd::Purged(filter.written()),
            Self::Expired(filter) => WrittenEnd::Expired(filter.written()),
        };
        // What cannot be written cannot be read, and is then taken for everything.
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// The end that [`SharedEnd::write`] has written. Bytes of another form may end anything.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let resource = |text: String| Resource::from_text(text.into());
        match serde_json::from_slice(bytes) {
            Err(_) | Ok(WrittenEnd::All) => Self::All,
            Ok(WrittenEnd::Resources { resources, related }) => Self::Resources {
                resources: resources.into_iter().map(resource).collect(),
                related: related.map(resource),
            },
            Ok(WrittenEnd::Purged(filter)) => Self::Purged(filter.into()),
            Ok(WrittenEnd::Expired(filter)) => Self::Expired(filter.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_unchanged(end: &SharedEnd) {
        let read = SharedEnd::read(&end.write());
        assert_eq!(format!("{read:?}"), format!("{end:?}"));
    }

    #[test]
    fn each_end_is_read_as_it_was_written() {
        let resource = Resource::of("/a?b", Some(b"host"), Some("http://a"));
        let filter = EntryFilter::of_resource(&resource);
        assert_unchanged(&SharedEnd::All);
        for related in [None, Some(Resource::new("/c"))] {
            assert_unchanged(&SharedEnd::Resources {
                resources: vec![resource.clone(), Resource::new("/")],
                related,
            });
        }
        assert_unchanged(&SharedEnd::Purged(filter.clone()));
        assert_unchanged(&SharedEnd::Expired(filter));
    }

    #[test]
    fn what_cannot_be_read_ends_everything() {
        for bytes in [
            &b""[..],
            b"{}",
            b"\"some\"",
            b"\xff",
            br#"{"resources":{}}"#,
        ] {
            assert!(matches!(SharedEnd::read(bytes), SharedEnd::All));
        }
    }
}
