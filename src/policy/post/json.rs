//! The canonical form of JSON bodies, so that different spellings of the same JSON share a stored response.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// Bodies with deeper nesting have no canonical form.
const MAX_DEPTH: usize = 64;

/// The body with sorted members of objects, without white space between tokens and with one spelling for each string.
/// Numbers stay as written, because an origin may tell 1 from 1.0.
///
/// `None` for a body that is not JSON, has a member twice (parsers differ in which one counts) or is nested too deeply.
pub(in crate::policy) fn canonical(body: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    let mut canonical = Vec::with_capacity(body.len());
    write(serde_json::from_str(text).ok()?, MAX_DEPTH, &mut canonical)?;
    Some(canonical)
}

fn write(value: &RawValue, depth_left: usize, canonical: &mut Vec<u8>) -> Option<()> {
    let text = value.get();
    match text.as_bytes().first()? {
        b'{' => write_object(members(text)?, depth_left.checked_sub(1)?, canonical),
        b'[' => write_array(items(text)?, depth_left.checked_sub(1)?, canonical),
        b'"' => serde_json::to_writer(canonical, &string(text)?).ok(),
        _ => {
            canonical.extend_from_slice(text.as_bytes());
            Some(())
        }
    }
}

fn write_object(
    mut members: Vec<(String, &RawValue)>,
    depth_left: usize,
    canonical: &mut Vec<u8>,
) -> Option<()> {
    members.sort_by(|(one, _), (other, _)| one.cmp(other));
    if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return None;
    }
    let mut before = b'{';
    for (name, value) in members {
        canonical.push(before);
        serde_json::to_writer(&mut *canonical, &name).ok()?;
        canonical.push(b':');
        write(value, depth_left, canonical)?;
        before = b',';
    }
    canonical.extend_from_slice(if before == b'{' { b"{}" } else { b"}" });
    Some(())
}

fn write_array(items: Vec<&RawValue>, depth_left: usize, canonical: &mut Vec<u8>) -> Option<()> {
    let mut before = b'[';
    for value in items {
        canonical.push(before);
        write(value, depth_left, canonical)?;
        before = b',';
    }
    canonical.extend_from_slice(if before == b'[' { b"[]" } else { b"]" });
    Some(())
}

/// The members of an object in their order, also several of one name. `None` if it is not an object.
pub(in crate::policy) fn members(text: &str) -> Option<Vec<(String, &RawValue)>> {
    let ObjectMembers(members) = serde_json::from_str(text).ok()?;
    Some(members)
}

/// The items of an array. `None` if it is not an array.
pub(in crate::policy) fn items(text: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(text).ok()
}

/// The content of a string. `None` if it is not a string, or not Unicode.
pub(in crate::policy) fn string(text: &str) -> Option<String> {
    serde_json::from_str(text).ok()
}

struct ObjectMembers<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for ObjectMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = ObjectMembers<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(ObjectMembers(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn canonical_text(body: &str) -> Option<String> {
        canonical(body.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn canonical_forms() {
        for (body, expected) in [
            (r#" { "b" : 1 , "a" : [ 1, 2 ] } "#, r#"{"a":[1,2],"b":1}"#),
            (
                r#"{"b":{"d":null,"c":true},"a":""}"#,
                r#"{"a":"","b":{"c":true,"d":null}}"#,
            ),
            (r#""\u0041\/\u00e9\n""#, "\"A/é\\n\""),
            (r#""\ud83d\ude00""#, "\"😀\""),
            (r#"{"\u0062":1,"a":2}"#, r#"{"a":2,"b":1}"#),
            ("[[],{}]", "[[],{}]"),
            ("\t1.0\r\n", "1.0"),
            (
                "[1,1.0,1e0,-0,0.10,12345678901234567890123]",
                "[1,1.0,1e0,-0,0.10,12345678901234567890123]",
            ),
            (r#""a  b""#, r#""a  b""#),
        ] {
            assert_eq!(canonical_text(body).as_deref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn ambiguous_json_has_no_canonical_form() {
        for body in [
            "",
            "{",
            "{}{}",
            "{'a':1}",
            "{a:1}",
            "[1,]",
            "01",
            "NaN",
            "\u{feff}{}",
            "{\"a\":1,\"a\":1}",
            "{\"a\":1,\"\\u0061\":2}",
            "[{\"b\":{\"a\":1,\"a\":2}}]",
            "\"\\ud800\"",
            "{\"\\udc00\":1}",
            "\"\u{1}\"",
            "// a\n1",
        ] {
            assert_eq!(canonical_text(body), None, "{body}");
        }
        assert_eq!(canonical(b"\"\xff\""), None);
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(canonical_text(&nested(64)), Some(nested(64)));
        assert_eq!(canonical_text(&nested(65)), None);
        assert_eq!(canonical_text(&"[".repeat(100_000)), None);
        assert_eq!(canonical_text(&nested(100_000)), None);
    }

    /// JSON, and another spelling of it: with members in reverse order and white space between tokens.
    fn spellings() -> impl Strategy<Value = (String, String)> {
        let leaf = prop_oneof![
            "-?[1-9][0-9]{0,3}(\\.[0-9]{1,2})?".prop_map(|number| (number.clone(), number)),
            "[ -~é]{0,6}".prop_map(|text| {
                let plain = serde_json::to_string(&text).unwrap();
                let escaped: String = text
                    .encode_utf16()
                    .map(|unit| format!("\\u{unit:04X}"))
                    .collect();
                (plain, format!("\"{escaped}\""))
            }),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let object = proptest::collection::btree_map("[a-c]{1,2}", inner.clone(), 0..4);
            prop_oneof![
                vec(inner, 0..4).prop_map(|items| {
                    let (one, other): (Vec<_>, Vec<_>) = items.into_iter().unzip();
                    (
                        format!("[{}]", one.join(",")),
                        format!("[ {}\n]", other.join(" , ")),
                    )
                }),
                object.prop_map(|members| {
                    let (one, mut other): (Vec<_>, Vec<_>) = members
                        .into_iter()
                        .map(|(name, (a, b))| {
                            (format!("\"{name}\":{a}"), format!("\"{name}\"\t: {b}"))
                        })
                        .unzip();
                    other.reverse();
                    (
                        format!("{{{}}}", one.join(",")),
                        format!(" {{{} }}", other.join(",\r")),
                    )
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(body: Vec<u8>, nearly in "[\\[\\]{}\":,a1\\\\u ]{0,20}") {
            let _ = canonical(&body);
            let _ = canonical(nearly.as_bytes());
        }

        #[test]
        fn spellings_share_a_canonical_form_which_is_canonical((one, other) in spellings()) {
            let canonical = canonical_text(&one);
            prop_assert!(canonical.is_some());
            prop_assert_eq!(&canonical, &canonical_text(&other));
            prop_assert_eq!(&canonical, &canonical_text(canonical.as_deref().unwrap_or_default()));
        }

        #[test]
        fn the_canonical_form_means_what_the_body_means((one, _) in spellings()) {
            let meaning = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            prop_assert_eq!(meaning(&one), meaning(&canonical_text(&one).unwrap()));
        }
    }
}
