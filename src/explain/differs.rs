//! What is stored for other requests than the one that is explained, and where they differ.

use serde::{Deserialize, Serialize};

use super::shown_value;
use crate::{cache::Entry, mask::hidden, proxy::DryRun};

/// A stored response that is for another request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// The field that differs.
    pub field: String,
    /// What it was when the response was stored; none: it was not sent.
    pub stored: Option<String>,
    /// What it is now.
    pub asked: Option<String>,
}

/// The nearest that is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nearest {
    /// Its path, secrets masked.
    pub path: String,
    /// The first byte that differs, counted from 1; none: nothing differs that may be told.
    pub differs_at: Option<usize>,
    /// Only values that are masked differ; else, where nothing differs, it is for somebody else or another body.
    pub differs_masked: bool,
    /// What is stored there; none: it ends.
    pub stored: Option<String>,
    /// What was asked there; none: it ends.
    pub asked: Option<String>,
}

/// The fields by which what is stored differs, as people write them.
pub(super) fn other_field(considered: &DryRun) -> String {
    let mismatches = mismatches(considered);
    let mut names: Vec<String> = mismatches
        .into_iter()
        .map(|one| title(&one.field))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// `accept-encoding` as people write it.
fn title(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        format!(
            "{}{}",
            first.map_or_else(String::new, String::from),
            letters.as_str()
        )
    });
    words.collect::<Vec<_>>().join("-")
}

/// What is stored for the same target and another request.
pub(super) fn mismatches(considered: &DryRun) -> Vec<Mismatch> {
    let policy = considered.policy();
    let heads = considered.visible().map(Entry::head);
    heads
        .filter_map(|head| head.mismatch(policy.mode, considered.headers()))
        .map(|(name, stored)| {
            let asked: Vec<&[u8]> = considered
                .headers()
                .get_all(name)
                .map(|line| line.as_bytes())
                .collect();
            Mismatch {
                field: name.as_str().to_owned(),
                stored: stored.map(|value| shown_value(policy, name, value)),
                asked: (!asked.is_empty())
                    .then(|| shown_value(policy, name, &asked.join(&b", "[..]))),
            }
        })
        .collect()
}

/// Where two targets differ. Values that are masked are not compared.
pub(super) fn compared(stored: &str, asked: &str) -> Option<Nearest> {
    let is_same = stored == asked;
    let (stored, asked) = (hidden(stored), hidden(asked));
    let letters = stored.char_indices().zip(asked.chars());
    let same = letters.take_while(|((_, one), other)| one == other);
    let common = same
        .last()
        .map_or(0, |((at, letter), _)| at + letter.len_utf8());
    let letter = |text: &str| text[common..].chars().next().map(String::from);
    let (of_stored, of_asked) = (letter(&stored), letter(&asked));
    let differs_at = (of_stored.is_some() || of_asked.is_some()).then_some(common + 1);
    // That both begin with a slash says nothing.
    (common > 1 || stored.len() == common).then(|| Nearest {
        differs_at,
        differs_masked: differs_at.is_none() && !is_same,
        stored: of_stored,
        asked: of_asked,
        path: stored.into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_targets_are_compared_up_to_the_first_byte_that_differs() {
        let differ = |stored, asked| {
            let nearest = compared(stored, asked)?;
            Some((nearest.differs_at, nearest.stored, nearest.asked))
        };
        let letter = |letter: &str| Some(letter.to_owned());
        assert_eq!(
            differ("/products/1b", "/products/1B"),
            Some((Some(12), letter("b"), letter("B")))
        );
        assert_eq!(differ("/a", "/a?b"), Some((Some(3), None, letter("?"))));
        assert_eq!(differ("/a/", "/a"), Some((Some(3), letter("/"), None)));
        assert_eq!(differ("/a", "/b"), None);
        assert_eq!(differ("/a", "/a"), Some((None, None, None)));
        // Not even one letter of a secret is told.
        assert_eq!(
            differ("/a?token=abc", "/a?token=abd"),
            Some((None, None, None))
        );
        let masked = |stored, asked| compared(stored, asked).map(|nearest| nearest.differs_masked);
        assert_eq!(masked("/a?token=abc", "/a?token=abd"), Some(true));
        assert_eq!(masked("/a?token=abc", "/a?token=abc"), Some(false));
        assert_eq!(masked("/a?token=abc&b", "/a?token=abd&c"), Some(false));
    }

    #[test]
    fn names_are_written_as_people_write_them() {
        assert_eq!(title("accept-encoding"), "Accept-Encoding");
    }
}
