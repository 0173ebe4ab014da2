//! The resources of the origin, and the settings that reloads switch between.

use caching_proxy::{
    config::Flags,
    policy::Mode::{self, Always},
};

use crate::harness::http_date;

/// How many resources there are.
pub(super) const TARGETS: usize = 15;

/// What the origin says about the lifetime of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// Fresh for longer than the test runs.
    Long,
    /// None at all: validated at each use.
    Zero,
    /// Nothing: the policy decides.
    Unsaid,
    /// Over, and a stale response may be served while it is validated.
    StaleWhileRevalidate,
    /// Over, and a stale response may be served if the origin fails. The origin fails at some validations.
    StaleIfError,
}

use Lifetime::{Long, StaleIfError, StaleWhileRevalidate, Unsaid, Zero};

/// One resource, by its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target(pub(super) usize);

impl Target {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..TARGETS).map(Self)
    }

    pub(super) fn with_path(path: &str) -> Self {
        let target = Self::all().find(|target| target.path() == path);
        target.unwrap_or_else(|| panic!("no resource has the path {path:?}"))
    }

    pub(super) fn path(self) -> String {
        format!("/{}/{}", self.directory(), self.0)
    }

    /// The part of the path that patterns name.
    pub(super) fn directory(self) -> char {
        if self.0 < 8 { 'a' } else { 'b' }
    }

    pub(super) fn tag(self) -> String {
        format!("tag-{}", self.0 % 4)
    }

    pub(super) fn lifetime(self) -> Lifetime {
        [Long, Zero, Unsaid, StaleWhileRevalidate, StaleIfError][self.0 % 5]
    }

    /// Whether `X-Lang` selects the response.
    pub(super) fn varies(self) -> bool {
        self.0.is_multiple_of(3)
    }

    /// How often the number of the response stands in its body.
    pub(super) fn repeats(self) -> usize {
        if (5..10).contains(&self.0) { 2500 } else { 4 }
    }

    /// The header lines of each 200 and 304 response.
    pub(super) fn header_lines(self) -> String {
        let lifetime = match self.lifetime() {
            Long => "Cache-Control: max-age=600\r\n".to_owned(),
            Zero => "Cache-Control: max-age=0\r\n".to_owned(),
            Unsaid => String::new(),
            StaleWhileRevalidate => {
                "Cache-Control: max-age=5, stale-while-revalidate=600\r\nAge: 30\r\n".to_owned()
            }
            StaleIfError => {
                let date = http_date(-30);
                format!("Cache-Control: max-age=5, stale-if-error=600\r\nDate: {date}\r\n")
            }
        };
        let vary = if self.varies() {
            "Vary: X-Lang\r\n"
        } else {
            ""
        };
        format!("{lifetime}{vary}Cache-Tag: {}\r\n", self.tag())
    }
}

/// Reloadable settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) mode: Mode,
    ttl: Option<&'static str>,
    /// Whether `X-Team` makes an identity.
    pub(super) is_team_identity: bool,
}

impl Settings {
    /// All that reloads switch between; the first are those of the start.
    pub(super) const fn all(mode: Mode) -> [Self; 4] {
        let first = Self {
            mode,
            ttl: None,
            is_team_identity: false,
        };
        [
            first,
            Self {
                ttl: Some("10m"),
                ..first
            },
            Self {
                is_team_identity: true,
                ..first
            },
            Self {
                mode: Always,
                ..first
            },
        ]
    }

    /// Whether the cache is cleared when these settings replace `before`.
    pub(super) fn clears(self, before: Self) -> bool {
        (self.mode, self.is_team_identity) != (before.mode, before.is_team_identity)
    }

    /// The flags of a proxy before the origin at `url`.
    pub(super) fn flags(self, url: &str) -> Flags {
        let mut flags = Flags::from([
            ("origin", url.into()),
            ("policy", self.mode.as_str().into()),
        ]);
        if let Some(ttl) = self.ttl {
            flags.insert("ttl", ttl.into());
        }
        if self.is_team_identity {
            flags.insert("identity-headers", "x-team".into());
        }
        flags
    }
}
