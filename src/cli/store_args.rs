//! The options about the store on disk.

use std::ffi::OsString;

use clap::Args;

const STORE: &str = "Store on disk";

/// The settings of the store, as options.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// Keep the cache in this directory too, so that it survives restarts and may be larger than memory [default: none]
    ///
    /// The directory is made if it does not exist. One proxy at a time can use it.
    #[arg(long, help_heading = STORE, value_name = "DIR")]
    pub store: Option<OsString>,

    /// Most space that the store takes, as a size such as 50GiB; at least 64MiB [default: 10GiB]
    #[arg(long, help_heading = STORE, hide_short_help = true, value_name = "SIZE")]
    pub max_disk: Option<OsString>,

    /// Largest body to keep on disk, as a size such as 1GiB [default: a quarter of --max-disk]
    #[arg(long, help_heading = STORE, hide_short_help = true, value_name = "SIZE")]
    pub max_disk_object: Option<OsString>,

    /// Space that the store leaves free on its file system, as a size such as 2GiB [default: the larger of 1GiB and 5 %]
    #[arg(long, help_heading = STORE, hide_short_help = true, value_name = "SIZE")]
    pub disk_reserve: Option<OsString>,
}

impl StoreArgs {
    /// The options by name. `None` for those that were not given.
    pub(super) fn options(self) -> [(&'static str, Option<OsString>); 4] {
        [
            ("store", self.store),
            ("max-disk", self.max_disk),
            ("max-disk-object", self.max_disk_object),
            ("disk-reserve", self.disk_reserve),
        ]
    }
}
