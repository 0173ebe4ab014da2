//! A stored head as bytes, for tiers of the cache that outlive the process.
//!
//! Numbers are little-endian. A text follows its length in bytes (`u32`). An optional value follows a byte: 1 if it is there,
//! 0 if not. In this order:
//!
//! | bytes | value |
//! |---|---|
//! | 1 | [`VERSION`] |
//! | 2 | status |
//! | 5 x 1 | kind of lifetime, certainty, audience, what forbids stale use, provenance: each its index in a table of this file |
//! | 4 x 8 | lifetime, receipt, date, initial age: in milliseconds |
//! | 4 | `stale-while-revalidate` in seconds |
//! | | optional: the partition (16 bytes) |
//! | 4 | number of selecting fields, then for each: name, optional value |
//! | | optional: first and last byte of the part (8 bytes each), then optional: length of the whole (8) |
//! | | optional: `stale-if-error` in seconds (4) |
//! | | optional: the block of the fields that Connection named |
//! | | the block of the fields |
//!
//! There is one way to write a head. Bytes that no head is written as are refused, except those of [`FIRST_VERSION`].

use actix_web::http::{
    StatusCode,
    header::{HeaderName, HeaderValue},
};

use crate::policy::{
    Audience, ByteRange, ContentRange, Fields, Identity, Reason, StoredHead, Time,
    freshness::lifetime::{Certainty, Lifetime},
    storing::{provenance::Provenance, selector::Selector, stored_head::Scope},
};

/// The first byte. Any change of the format, or of the meaning of a value, needs another number.
const VERSION: u8 = 2;
/// It is read as well. The names of its fields are in lower case, and all else is the same.
const FIRST_VERSION: u8 = 1;
/// The most bytes that are read as a head.
const MAX_BYTES: usize = 256 * 1024;
/// The last millisecond of the year 9999, after which HTTP has no dates.
const LAST_MILLISECOND: u64 = 253_402_300_799_999;

// The bytes of these values are their indexes. New ones are added at the end.
const CERTAINTIES: [Certainty; 3] = [Certainty::Stated, Certainty::Guessed, Certainty::Doubted];
const AUDIENCES: [Audience; 2] = [Audience::Everyone, Audience::Partition];
const PROVENANCES: [Provenance; 3] = [
    Provenance::Fetched,
    Provenance::Recorded,
    Provenance::Imported,
];
const NEVER_STALE: [Option<Reason>; 5] = [
    None,
    Some(Reason::NoCache),
    Some(Reason::MustRevalidate),
    Some(Reason::ProxyRevalidate),
    Some(Reason::SMaxage),
];

impl StoredHead {
    /// Appends this head to `out`, as [`StoredHead::read`] reads it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (lifetime_kind, lifetime_millis) = match self.lifetime.get() {
            Lifetime::Age { millis } => (0, millis),
            Lifetime::SinceReceipt { millis } => (1, millis),
            Lifetime::UntilCleared => (2, 0),
        };
        out.push(VERSION);
        out.extend(self.status.as_u16().to_le_bytes());
        out.push(lifetime_kind);
        out.push(index_in(&CERTAINTIES, self.certainty));
        out.push(index_in(&AUDIENCES, self.audience));
        out.push(index_in(&NEVER_STALE, self.never_stale));
        out.push(index_in(&PROVENANCES, self.provenance()));
        for millis in [
            lifetime_millis,
            self.received.unix_millis(),
            self.date.unix_millis(),
            self.initial_age_millis,
        ] {
            out.extend(millis.to_le_bytes());
        }
        out.extend(self.stale_while_revalidate_seconds.to_le_bytes());
        self.write_variant(out);
        write_optional(out, self.content_range(), |out, part| {
            out.extend(part.range.first.to_le_bytes());
            out.extend(part.range.last.to_le_bytes());
            write_optional(out, part.complete_bytes, |out, bytes| {
                out.extend(bytes.to_le_bytes());
            });
        });
        write_optional(out, self.stale_if_error_seconds(), |out, seconds| {
            out.extend(seconds.to_le_bytes());
        });
        write_optional(out, self.connection_fields(), |out, fields| {
            write_text(out, fields.block());
        });
        write_text(out, self.fields.block());
    }

    /// The head that [`StoredHead::write`] has written.
    ///
    /// `None` for all other bytes: of another version, cut, with more behind them, of more than 256 KiB, or with a value
    /// that no stored head has.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_BYTES {
            return None;
        }
        let mut rest = HeadReader(bytes);
        if ![FIRST_VERSION, VERSION].contains(&rest.byte()?) {
            return None;
        }
        let status = stored_status(u16::from_le_bytes(rest.array()?))?;
        let lifetime_kind = rest.byte()?;
        let certainty = rest.one_of(&CERTAINTIES)?;
        let audience = rest.one_of(&AUDIENCES)?;
        let never_stale = rest.one_of(&NEVER_STALE)?;
        let provenance = rest.one_of(&PROVENANCES)?;
        let lifetime = lifetime(lifetime_kind, rest.number()?)?;
        let (received, date) = (rest.time()?, rest.time()?);
        let initial_age_millis = rest.number()?;
        let stale_while_revalidate_seconds = rest.count()?;
        let partition = rest.optional(|rest| rest.array().map(Identity::from_bytes))?;
        let selectors = rest.selectors()?;
        let part = rest.optional(HeadReader::part)?;
        let stale_if_error_seconds = rest.optional(HeadReader::count)?;
        let connection_fields = rest.optional(HeadReader::fields)?;
        let fields = rest.fields()?;
        let is_possible = rest.0.is_empty()
            && part.is_some() == (status == StatusCode::PARTIAL_CONTENT)
            && (partition.is_none() || audience == Audience::Partition);
        is_possible.then(|| Self {
            fields,
            selectors,
            lifetime: lifetime.into(),
            certainty,
            received,
            date,
            initial_age_millis,
            stale_while_revalidate_seconds,
            never_stale,
            audience,
            status,
            scope: Scope {
                partition,
                part,
                connection_fields,
                stale_if_error_seconds,
                provenance,
            }
            .boxed(),
        })
    }

    /// Bytes that are equal for two heads if and only if they are of the same variant ([`StoredHead::same_variant`]).
    pub fn variant_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write_variant(&mut bytes);
        bytes
    }

    /// Appends the partition and the selecting fields.
    fn write_variant(&self, out: &mut Vec<u8>) {
        write_optional(out, self.partition(), |out, partition| {
            out.extend(partition.to_bytes());
        });
        write_count(out, self.selectors.len());
        for selector in &self.selectors {
            write_text(out, selector.name().as_str().as_bytes());
            write_optional(out, selector.value(), write_text);
        }
    }
}

/// The index of a value in its table. 255, which is never read, if it is not there.
fn index_in<T: PartialEq>(table: &[T], value: T) -> u8 {
    let index = table.iter().position(|other| *other == value);
    index.map_or(u8::MAX, |index| u8::try_from(index).unwrap_or(u8::MAX))
}

fn write_optional<T>(out: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        write(out, value);
    }
}

fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    write_count(out, text.len());
    out.extend(text);
}

/// Appends a count. One that is too large for its bytes is larger than anything that is read.
fn write_count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    out.extend(count.to_le_bytes());
}

/// `None` for a status that is never stored: an interim one, or a 304.
fn stored_status(status: u16) -> Option<StatusCode> {
    let status = StatusCode::from_u16(status).ok()?;
    (!status.is_informational() && status != StatusCode::NOT_MODIFIED).then_some(status)
}

/// `None` for another kind.
fn lifetime(kind: u8, millis: u64) -> Option<Lifetime> {
    match (kind, millis) {
        (0, millis) => Some(Lifetime::Age { millis }),
        (1, millis) => Some(Lifetime::SinceReceipt { millis }),
        (2, 0) => Some(Lifetime::UntilCleared),
        _ => None,
    }
}

/// The name that these bytes are. `None` if they are not a name in lower case.
fn lower_case_name(bytes: &[u8]) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(bytes).ok()?;
    (name.as_str().as_bytes() == bytes).then_some(name)
}

/// What is not read yet of a written head. Nothing is allocated for a length before that many bytes are there.
struct HeadReader<'b>(&'b [u8]);

impl<'b> HeadReader<'b> {
    fn array<const LEN: usize>(&mut self) -> Option<[u8; LEN]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn byte(&mut self) -> Option<u8> {
        let [byte] = self.array()?;
        Some(byte)
    }

    fn count(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Option<Time> {
        let millis = self.number()?;
        (millis <= LAST_MILLISECOND).then(|| Time::from_unix_millis(millis))
    }

    fn text(&mut self) -> Option<&'b [u8]> {
        let len = usize::try_from(self.count()?).ok()?;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(text)
    }

    fn one_of<T: Copy>(&mut self, table: &[T]) -> Option<T> {
        table.get(usize::from(self.byte()?)).copied()
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.byte()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }

    fn fields(&mut self) -> Option<Fields> {
        Fields::from_block(self.text()?)
    }

    /// Their names are in ascending order.
    fn selectors(&mut self) -> Option<Box<[Selector]>> {
        let mut selectors: Vec<Selector> = Vec::new();
        for _ in 0..self.count()? {
            let name = lower_case_name(self.text()?)?;
            let value = self.optional(Self::text)?;
            if value.is_some_and(|value| HeaderValue::from_bytes(value).is_err())
                || selectors
                    .last()
                    .is_some_and(|last| last.name.as_str() >= name.as_str())
            {
                return None;
            }
            let value = value.map(Box::from);
            selectors.push(Selector { name, value });
        }
        Some(selectors.into())
    }

    fn part(&mut self) -> Option<ContentRange> {
        let range = ByteRange {
            first: self.number()?,
            last: self.number()?,
        };
        let complete_bytes = self.optional(Self::number)?;
        let part = ContentRange {
            range,
            complete_bytes,
        };
        (part.is_possible() && !part.is_whole()).then_some(part)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*, sample::Index, sample::select};

    use super::*;
    use crate::policy::{
        Mode,
        fixture::{DATE, Exchange, Lines, NOW, identity, later},
    };

    fn written(head: &StoredHead) -> Vec<u8> {
        let mut bytes = Vec::new();
        head.write(&mut bytes);
        bytes
    }

    /// The text for debugging shows every value of a head.
    fn shown(head: &StoredHead) -> String {
        format!("{head:?}")
    }

    #[track_caller]
    fn assert_unchanged(head: &StoredHead) {
        let bytes = written(head);
        let read = StoredHead::read(&bytes).unwrap_or_else(|| panic!("not read: {head:?}"));
        assert_eq!(shown(&read), shown(head));
        assert_eq!(written(&read), bytes);
    }

    fn fields(lines: Lines<'_>) -> Fields {
        let lines = lines.iter();
        Fields::copy_of(lines.map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    /// A head that has everything that a head can have.
    fn full_head() -> StoredHead {
        StoredHead {
            fields: fields(&[("etag", "\"a\""), ("x-b", "\u{e9}\t:")]),
            selectors: [("accept", Some("de,en")), ("x-a", None), ("x-c", Some(""))]
                .map(|(name, value)| Selector {
                    name: lower_case_name(name.as_bytes()).unwrap(),
                    value: value.map(|value| value.as_bytes().into()),
                })
                .into(),
            lifetime: Lifetime::SinceReceipt { millis: 0x1122 }.into(),
            certainty: Certainty::Doubted,
            received: NOW,
            date: later(1),
            initial_age_millis: 0x3344,
            stale_while_revalidate_seconds: 0x55,
            never_stale: Some(Reason::SMaxage),
            audience: Audience::Partition,
            status: StatusCode::PARTIAL_CONTENT,
            scope: Scope {
                partition: Some(identity(7)),
                part: Some(ContentRange {
                    range: ByteRange { first: 1, last: 2 },
                    complete_bytes: Some(9),
                }),
                connection_fields: Some(fields(&[("x-d", "1")])),
                stale_if_error_seconds: Some(0x66),
                provenance: Provenance::Imported,
            }
            .boxed(),
        }
    }

    /// [`full_head`] as it has to be written.
    const FULL_HEAD: &str = "\
        02 ce00 01 02 01 04 02 \
        2211000000000000 c0127406a2010000 a8167406a2010000 4433000000000000 55000000 \
        01 07070707070707070707070707070707 \
        03000000 \
        06000000 616363657074 01 05000000 64652c656e \
        03000000 782d61 00 \
        03000000 782d63 01 00000000 \
        01 0100000000000000 0200000000000000 01 0900000000000000 \
        01 66000000 \
        01 06000000 782d643a310a \
        12000000 657461673a2261220a 782d623ac3a9093a0a";

    fn bytes_of(hex: &str) -> Vec<u8> {
        let digits: String = hex.split_whitespace().collect();
        let pairs = digits.as_bytes().chunks(2);
        let pairs = pairs.map(|pair| std::str::from_utf8(pair).unwrap());
        pairs
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect()
    }

    #[test]
    fn the_format_is_that_of_its_version() {
        // If this fails, stores that users have cannot be read any more, or are misread: VERSION needs another number.
        assert_eq!(written(&full_head()), bytes_of(FULL_HEAD));
        assert_unchanged(&full_head());
        let plain = StoredHead::read(include_bytes!("../../../tests/seeds/stored_head/plain"));
        let plain = plain.unwrap();
        assert_eq!(plain.ttl_seconds(later(20)), Some(40));
        assert_eq!(plain.tags().collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(VERSION, 2);
    }

    #[test]
    fn a_head_of_the_first_version_is_read() {
        let mut bytes = bytes_of(FULL_HEAD);
        bytes[0] = FIRST_VERSION;
        let read = StoredHead::read(&bytes).unwrap();
        assert_eq!(written(&read), bytes_of(FULL_HEAD));
    }

    #[test]
    fn bytes_of_another_version_or_length_are_refused() {
        let bytes = written(&full_head());
        for version in std::iter::once(0).chain(VERSION + 1..=u8::MAX) {
            let mut other = bytes.clone();
            other[0] = version;
            assert!(StoredHead::read(&other).is_none(), "version {version}");
        }
        for len in 0..bytes.len() {
            assert!(StoredHead::read(&bytes[..len]).is_none(), "{len} bytes");
        }
        for more in [&b"\0"[..], b"x", &bytes] {
            let longer = [&bytes, more].concat();
            assert!(StoredHead::read(&longer).is_none(), "{more:?}");
        }
        assert!(StoredHead::read(&vec![VERSION; MAX_BYTES + 1]).is_none());
    }

    #[test]
    fn values_that_no_head_has_are_refused() {
        type Change = fn(&mut StoredHead);
        fn scope(head: &mut StoredHead) -> &mut Scope {
            head.scope.as_mut().unwrap()
        }
        fn range(head: &mut StoredHead) -> &mut ContentRange {
            scope(head).part.as_mut().unwrap()
        }
        let changes: [(&str, Change); 16] = [
            ("whole 206", |head| scope(head).part = None),
            ("part of a 200", |head| head.status = StatusCode::OK),
            ("304", |head| head.status = StatusCode::NOT_MODIFIED),
            ("100", |head| head.status = StatusCode::CONTINUE),
            ("partition for all", |head| {
                head.audience = Audience::Everyone
            }),
            ("reason", |head| head.never_stale = Some(Reason::Method)),
            ("backward", |head| range(head).range.first = 3),
            ("too long", |head| range(head).complete_bytes = Some(2)),
            ("endless", |head| {
                range(head).range.last = u64::MAX;
                range(head).complete_bytes = None;
            }),
            ("all bytes", |head| {
                range(head).range.first = 0;
                range(head).complete_bytes = Some(3);
            }),
            ("order", |head| head.selectors.reverse()),
            ("repeated", |head| {
                head.selectors[1].name = head.selectors[0].name.clone();
            }),
            ("selector", |head| {
                head.selectors[0].value = Some(Box::from(&b"a\nb"[..]));
            }),
            ("too large", |head| {
                head.fields = Fields::copy_of([(&b"x-a"[..], &*vec![b'a'; MAX_BYTES])]);
            }),
            ("received", |head| {
                head.received = Time::from_unix_millis(u64::MAX);
            }),
            ("date", |head| {
                head.date = Time::from_unix_millis(LAST_MILLISECOND + 1);
            }),
        ];
        for (name, change) in changes {
            let mut head = full_head();
            change(&mut head);
            assert!(StoredHead::read(&written(&head)).is_none(), "{name}");
        }
    }

    #[test]
    fn two_heads_have_the_same_variant_bytes_if_they_replace_each_other() {
        let vary: Lines<'_> = &[("vary", "x-a, x-b"), ("cache-control", "max-age=9")];
        let heads: Vec<StoredHead> = [
            (&[][..] as Lines<'_>, None),
            (&[("x-a", "")], None),
            (&[("x-b", "")], None),
            (&[("x-a", "1")], None),
            (&[("x-a", "1"), ("x-b", "")], None),
            (&[("x-a", "1"), ("x-c", "1")], None),
            (&[("x-a", "1")], Some(1)),
            (&[("x-a", "1")], Some(2)),
        ]
        .into_iter()
        .flat_map(|(request, number)| {
            let exchange = Exchange::new(Mode::Standard, vary).request(request);
            let exchange = match number {
                Some(number) => exchange.identity(number),
                None => exchange,
            };
            [
                exchange.admit().unwrap(),
                exchange.status(404).admit().unwrap(),
            ]
        })
        .collect();
        let mut same = 0;
        for one in &heads {
            for other in &heads {
                let is_same = one.same_variant(other);
                assert_eq!(one.variant_bytes() == other.variant_bytes(), is_same);
                same += usize::from(is_same);
            }
            let read = StoredHead::read(&written(one)).unwrap();
            assert!(read.same_variant(one));
        }
        // Each with itself and its 404; those that differ only in X-C with each other too.
        assert_eq!(same, 6 * 4 + 16);
    }

    #[test]
    fn what_each_policy_stores_is_read_unchanged() {
        let everyone: Lines<'_> = &[("cache-control", "public, max-age=60"), ("age", "3")];
        let of_one: Lines<'_> = &[
            ("cache-control", "private, max-age=60, stale-if-error=9"),
            ("set-cookie", "a=1"),
            ("vary", "accept-language, x-a"),
        ];
        let always_stale: Lines<'_> = &[
            ("cache-control", "no-cache, stale-while-revalidate=5"),
            ("etag", "\"a\""),
            ("surrogate-key", "a b"),
        ];
        let checked: Lines<'_> = &[("cache-control", "s-maxage=5"), ("date", DATE)];
        let part: Lines<'_> = &[("content-range", "bytes 2-5/*"), ("etag", "\"a\"")];
        let guessed: Lines<'_> = &[];
        let mut stored = 0;
        for mode in [Mode::Standard, Mode::Strict, Mode::Always] {
            for response in [everyone, of_one, always_stale, checked, part, guessed] {
                for status in [200, 206, 301, 404, 500] {
                    let request: Lines<'_> = &[("range", "bytes=2-5"), ("x-a", "1")];
                    let exchange = Exchange::new(mode, response).request(request);
                    for exchange in [exchange.clone(), exchange.identity(3)] {
                        let Ok(head) = exchange.status(status).admit() else {
                            continue;
                        };
                        stored += 1;
                        assert_unchanged(&head);
                        assert_unchanged(&head.expired(later(2)));
                        assert_unchanged(&head.doubted(later(2)));
                    }
                }
            }
        }
        assert!(stored > 60, "{stored} heads");
    }

    fn any_fields() -> impl Strategy<Value = Fields> {
        let line = ("(etag|vary|age|x-[a-z!#0-9]{1,3})", "[ -~\u{e9}\t]{0,9}");
        vec(line, 0..6).prop_map(|lines| {
            let borrowed = lines.iter().map(|(name, value)| (&name[..], &value[..]));
            fields(&borrowed.collect::<Vec<_>>())
        })
    }

    fn any_scope() -> impl Strategy<Value = Scope> {
        let part = (0..9_u64, 0..9_u64, option::of(2..9_u64)).prop_map(|(first, more, rest)| {
            let last = first + more;
            ContentRange {
                range: ByteRange { first, last },
                complete_bytes: rest.map(|rest| last + rest),
            }
        });
        let partition = option::of(any::<[u8; 16]>().prop_map(Identity::from_bytes));
        (
            partition,
            option::of(part),
            option::of(any_fields()),
            option::of(any::<u32>()),
            select(&PROVENANCES[..]),
        )
            .prop_map(
                |(partition, part, connection_fields, stale_if_error_seconds, provenance)| Scope {
                    partition,
                    part,
                    connection_fields,
                    stale_if_error_seconds,
                    provenance,
                },
            )
    }

    prop_compose! {
        fn any_head()(
            scope in any_scope(),
            fields in any_fields(),
            names in proptest::collection::btree_map("[a-z][a-z-]{0,9}", option::of("[!-~]{0,9}"), 0..4),
            millis in any::<u64>(),
            kind in 0..3_usize,
            certainty in select(&CERTAINTIES[..]),
            times in prop::array::uniform2(0..=LAST_MILLISECOND),
            initial_age_millis in any::<u64>(),
            stale_while_revalidate_seconds in any::<u32>(),
            never_stale in select(&NEVER_STALE[..]),
            audience in select(&AUDIENCES[..]),
            status in (200..=999_u16).prop_filter("it is stored", |status| !matches!(status, 206 | 304)),
        ) -> StoredHead {
            let selectors = names.into_iter().map(|(name, value)| Selector {
                name: lower_case_name(name.as_bytes()).unwrap(),
                value: value.map(|value| value.into_bytes().into()),
            });
            let lifetimes =
                [Lifetime::Age { millis }, Lifetime::SinceReceipt { millis }, Lifetime::UntilCleared];
            let [received, date] = times.map(Time::from_unix_millis);
            let status = match scope.part {
                Some(_) => StatusCode::PARTIAL_CONTENT,
                None => StatusCode::from_u16(status).unwrap(),
            };
            StoredHead {
                fields,
                selectors: selectors.collect(),
                lifetime: lifetimes[kind].into(),
                certainty,
                received,
                date,
                initial_age_millis,
                stale_while_revalidate_seconds,
                never_stale,
                audience: match scope.partition {
                    Some(_) => Audience::Partition,
                    None => audience,
                },
                status,
                scope: scope.boxed(),
            }
        }
    }

    /// Bytes are refused, or are the only way to write the head that they are read as.
    fn assert_refused_or_read_exactly(bytes: &[u8]) {
        crate::policy::fuzzing::stored_head(bytes);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn every_head_is_read_unchanged(head in any_head()) {
            assert_unchanged(&head);
        }

        #[test]
        fn any_bytes_are_refused_or_read_exactly(bytes in vec(any::<u8>(), 0..200)) {
            assert_refused_or_read_exactly(&bytes);
            assert_refused_or_read_exactly(&[&[VERSION][..], &bytes].concat());
        }

        #[test]
        fn a_changed_head_is_refused_or_read_exactly(
            head in any_head(),
            places in vec((any::<Index>(), any::<u8>()), 1..4),
            cut in any::<[Index; 2]>(),
            inserted in vec(any::<u8>(), 0..5),
        ) {
            let bytes = written(&head);
            let mut changed = bytes.clone();
            for (place, byte) in places {
                changed[place.index(bytes.len())] = byte;
                assert_refused_or_read_exactly(&changed);
            }
            let [from, to] = cut.map(|place| place.index(bytes.len() + 1));
            changed.clone_from(&bytes);
            changed.splice(from.min(to)..from.max(to), inserted);
            assert_refused_or_read_exactly(&changed);
        }
    }
}
