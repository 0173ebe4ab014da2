//! The resources, and content that says what it is: each line has the path, the identity, the language, the number, the time
//! and its own position. So every byte of a response can be compared.

/// Resources with small, medium and large bodies, and two that are too large to store.
pub(super) const TARGETS: usize = 64;
/// The target of the largest body.
pub(super) const LARGEST: Target = Target(63);

const KIB: usize = 1024;

/// One resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target(pub(super) usize);

/// What the origin says about lifetimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saying {
    Nothing,
    Long,
    StaleAtOnce,
    WhileRevalidating,
    Public,
    Private,
    NoStore,
}

impl Target {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..TARGETS).map(Self)
    }

    pub(super) fn path(self) -> String {
        format!("/{}/{}", self.group(), self.0)
    }

    pub(super) fn with_path(path: &str) -> Self {
        let number = path
            .rsplit('/')
            .next()
            .and_then(|number| number.parse().ok());
        Self(number.unwrap_or_else(|| panic!("no target: {path}")))
    }

    /// The first part of the path, by which many are purged at once.
    pub(super) fn group(self) -> &'static str {
        ["red", "green", "blue", "grey"][self.0 % 4]
    }

    pub(super) fn tag(self) -> String {
        format!("tag-{}", self.0 % 5)
    }

    pub(super) fn saying(self) -> Saying {
        match self.0 % 9 {
            0 | 1 => Saying::Nothing,
            2 | 3 => Saying::Long,
            4 => Saying::StaleAtOnce,
            5 => Saying::WhileRevalidating,
            6 => Saying::Public,
            7 => Saying::Private,
            _ => Saying::NoStore,
        }
    }

    /// Whether X-Lang selects the response.
    pub(super) fn varies(self) -> bool {
        self.0.is_multiple_of(4)
    }

    /// Whether the body is sent without a length.
    pub(super) fn is_chunked(self) -> bool {
        self.0.is_multiple_of(3)
    }

    /// Whether the response has a strong tag, and ranges are answered.
    pub(super) fn has_tag(self) -> bool {
        self.0 % 5 != 1
    }

    pub(super) fn size(self) -> usize {
        match self {
            LARGEST => 5 * KIB * KIB,
            Self(62 | 60) => 400 * KIB,
            Self(50..60) => 150 * KIB + self.0,
            Self(30..50) => 20 * KIB + self.0,
            Self(20) => 0,
            _ => 300 + self.0,
        }
    }

    /// The header lines about storing.
    pub(super) fn lines(self) -> String {
        let lifetime = match self.saying() {
            Saying::Nothing => "",
            Saying::Long => "Cache-Control: max-age=600\r\n",
            Saying::StaleAtOnce => "Cache-Control: max-age=0\r\n",
            Saying::WhileRevalidating => {
                "Cache-Control: max-age=5, stale-while-revalidate=600\r\nAge: 30\r\n"
            }
            Saying::Public => "Cache-Control: public, max-age=600\r\n",
            Saying::Private => "Cache-Control: private, max-age=600\r\n",
            Saying::NoStore => "Cache-Control: no-store\r\n",
        };
        let vary = if self.varies() {
            "Vary: X-Lang\r\n"
        } else {
            ""
        };
        format!("{lifetime}{vary}Cache-Tag: {}\r\n", self.tag())
    }
}

/// One response of the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// Later responses have larger numbers.
    pub(super) number: u64,
    /// When it was made, in milliseconds.
    pub(super) millis: i64,
    /// The Authorization that it was made for; `-` for none.
    pub(super) identity: String,
    /// The X-Lang that it was made for; `-` for none.
    pub(super) lang: String,
}

impl Version {
    /// `None` if it is no version.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().trim_matches('"').split('.');
        Some(Self {
            number: parts.next()?.parse().ok()?,
            millis: parts.next()?.parse().ok()?,
            identity: parts.next()?.to_owned(),
            lang: parts.next()?.to_owned(),
        })
    }

    /// All bytes of this version of `target`.
    pub(super) fn content(&self, target: Target) -> Vec<u8> {
        let size = target.size();
        let prefix = format!("{} {self} ", target.path());
        let mut content = Vec::with_capacity(size + 80);
        let mut line = 0_u32;
        while content.len() < size {
            content.extend_from_slice(prefix.as_bytes());
            for shift in (0..32).step_by(4).rev() {
                content.push(b"0123456789abcdef"[(line >> shift) as usize & 15]);
            }
            content.push(b'\n');
            line += 1;
        }
        content.truncate(size);
        content
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            number,
            millis,
            identity,
            lang,
        } = self;
        write!(formatter, "{number}.{millis}.{identity}.{lang}")
    }
}
