//! The stored responses that do not match the explained request, and where they differ.

use serde::{Deserialize, Serialize};

use crate::{
    cache::Entry,
    mask::{hidden, shown_value},
    policy::title_case,
    proxy::DryRun,
};

/// A stored response that a request header rules out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// The header that differs.
    pub field: String,
    /// Its value in the request that the response was stored for; `None` if it was not sent.
    pub stored: Option<String>,
    /// Its value in the explained request; `None` if it is not sent.
    pub asked: Option<String>,
}

/// The most similar stored path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nearest {
    /// Its path, secrets masked.
    pub path: String,
    /// The first byte that differs, counted from 1; `None` if nothing differs that may be shown.
    pub differs_at: Option<usize>,
    /// True if only masked values differ. If nothing differs, it is stored for other credentials or another request body.
    pub differs_masked: bool,
    /// The stored path from that byte on, one character; `None` if it ends there.
    pub stored: Option<String>,
    /// The requested path from that byte on, one character; `None` if it ends there.
    pub asked: Option<String>,
}

/// The headers that rule out the stored responses, as people write them.
pub(super) fn other_field(considered: &DryRun) -> String {
    let mismatches = mismatches(considered);
    let mut names: Vec<String> = mismatches
        .into_iter()
        .map(|one| title_case(&one.field).map(char::from).collect())
        .collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// The responses stored for the same target that a request header rules out.
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
}
