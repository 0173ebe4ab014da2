//! The resources of the origin, and content that says what it is: each piece of it has the path, the version and its own
//! position. So every byte of a response can be compared.

/// The number of resources. The first four are the paths above the others.
pub(crate) const RESOURCES: usize = 48;
const GROUPS: [&str; 4] = ["red", "green", "blue", "grey"];
/// The identity and the language of a request that has none.
pub(crate) const NONE: &str = "-";

/// Lengths of bodies in bytes: none, few, and those around the length from which bodies have files of their own.
const SIZES: [usize; 12] = [
    313, 0, 20_000, 1, 65_536, 4096, 150_000, 65_535, 1500, 65_537, 307_200, 70_000,
];
/// The length of one piece of content with its own position.
const PIECE: usize = 256;

/// One resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Resource(pub(crate) usize);

/// What the origin says about lifetimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// Nothing: the proxy guesses.
    Unsaid,
    Long,
    StaleAtOnce,
    WhileRevalidating,
    Public,
    Private,
    NoStore,
}

impl Resource {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..RESOURCES).map(Self)
    }

    /// Those for which `is_named` is true.
    pub(crate) fn named(is_named: impl Fn(Self) -> bool) -> Vec<Self> {
        Self::all().filter(|resource| is_named(*resource)).collect()
    }

    pub(crate) fn group(self) -> &'static str {
        GROUPS[self.0 % GROUPS.len()]
    }

    /// True if its path is above those of the others of its group.
    pub(crate) fn is_root(self) -> bool {
        self.0 < GROUPS.len()
    }

    pub(crate) fn path(self) -> String {
        match self.is_root() {
            true => format!("/{}", self.group()),
            false => format!("/{}/{}", self.group(), self.0),
        }
    }

    pub(crate) fn at(path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or_default();
        let group = GROUPS.iter().position(|group| *group == name);
        let found = group.or_else(|| name.parse().ok()).map(Self);
        let found = found.filter(|resource| resource.path() == path);
        found.unwrap_or_else(|| panic!("no resource: {path}"))
    }

    pub(crate) fn tag(self) -> String {
        format!("tag-{}", self.0 % 5)
    }

    pub(crate) fn lifetime(self) -> Lifetime {
        match self.0 / GROUPS.len() {
            0..3 | 10 => Lifetime::Unsaid,
            3..6 => Lifetime::Long,
            6 => Lifetime::StaleAtOnce,
            7 => Lifetime::Public,
            8 | 9 => Lifetime::Private,
            _ if self.0.is_multiple_of(2) => Lifetime::NoStore,
            _ => Lifetime::WhileRevalidating,
        }
    }

    /// True if a successful unsafe request to `other` makes a guessed lifetime of this one end.
    pub(crate) fn is_doubted_by(self, other: Self) -> bool {
        self != other
            && self.lifetime() == Lifetime::Unsaid
            && self.group() == other.group()
            && (self.is_root() || other.is_root())
    }

    /// True if X-Lang selects the response.
    pub(crate) fn varies(self) -> bool {
        self.0.is_multiple_of(3)
    }

    /// True if the body is sent without a length.
    pub(crate) fn is_chunked(self) -> bool {
        self.0 % 5 == 2
    }

    /// True if the response has a strong tag, and ranges are answered.
    pub(crate) fn has_tag(self) -> bool {
        self.lifetime() == Lifetime::StaleAtOnce || self.0 % 7 != 1
    }

    pub(crate) fn size(self) -> usize {
        SIZES[self.0 % SIZES.len()]
    }

    /// The header lines about storing.
    pub(crate) fn lines(self) -> String {
        let lifetime = match self.lifetime() {
            Lifetime::Unsaid => "",
            Lifetime::Long => "Cache-Control: max-age=6000\r\n",
            Lifetime::StaleAtOnce => "Cache-Control: max-age=0\r\n",
            Lifetime::WhileRevalidating => {
                "Cache-Control: max-age=5, stale-while-revalidate=6000\r\nAge: 30\r\n"
            }
            Lifetime::Public => "Cache-Control: public, max-age=6000\r\n",
            Lifetime::Private => "Cache-Control: private, max-age=6000\r\n",
            Lifetime::NoStore => "Cache-Control: no-store\r\n",
        };
        let vary = match self.varies() {
            true => "Vary: X-Lang\r\n",
            false => "",
        };
        format!("{lifetime}{vary}Cache-Tag: {}\r\n", self.tag())
    }
}

/// What is stored as one response: a resource for an identity and a language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    pub(crate) resource: Resource,
    pub(crate) identity: &'static str,
    pub(crate) lang: &'static str,
}

impl Slot {
    /// The slot of responses to such a request. `None` if they are not stored.
    pub(crate) fn of(
        resource: Resource,
        identity: &'static str,
        lang: &'static str,
    ) -> Option<Self> {
        let identity = match resource.lifetime() {
            Lifetime::NoStore => return None,
            Lifetime::Private if identity == NONE => return None,
            Lifetime::Public => NONE,
            _ => identity,
        };
        let lang = match resource.varies() {
            true => lang,
            false => NONE,
        };
        Some(Self {
            resource,
            identity,
            lang,
        })
    }
}

/// One response of the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// Later responses have larger numbers.
    pub(crate) number: u64,
    /// The Authorization that it was made for.
    pub(crate) identity: String,
    /// The X-Lang that it was made for.
    pub(crate) lang: String,
}

impl Version {
    /// `None` if it is no version.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().trim_matches('"').split('.');
        Some(Self {
            number: parts.next()?.parse().ok()?,
            identity: parts.next()?.to_owned(),
            lang: parts.next()?.to_owned(),
        })
    }

    /// All bytes of this version of `resource`.
    pub(crate) fn content(&self, resource: Resource) -> Vec<u8> {
        let size = resource.size();
        let prefix = format!("{} {self} ", resource.path());
        let mut content = Vec::with_capacity(size + PIECE);
        while content.len() < size {
            let begin = content.len();
            content.extend_from_slice(format!("{prefix}{begin:08x} ").as_bytes());
            content.resize(begin + PIECE - 1, b'.');
            content.push(b'\n');
        }
        content.truncate(size);
        content
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            number,
            identity,
            lang,
        } = self;
        write!(formatter, "{number}.{identity}.{lang}")
    }
}
