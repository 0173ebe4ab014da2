//! Values by hash, of which only recent ones are kept.

/// How many hashes share their places.
const PLACES: usize = 4;

/// Values by the keyed hash of what they belong to. In each set of places, a new value takes the place of the one that was
/// inserted the longest ago.
pub(super) struct RecentHashes<T> {
    sets: Box<[RecentSet<T>]>,
}

/// Hashes with their values, the last inserted first.
type RecentSet<T> = [Option<(u64, T)>; PLACES];

impl<T> RecentHashes<T> {
    /// No values, and room for `most`.
    pub(super) fn new(most: usize) -> Self {
        let sets = most.div_ceil(PLACES).max(1);
        Self {
            sets: (0..sets).map(|_| [const { None }; PLACES]).collect(),
        }
    }

    /// The value of a hash; `None` if there is none any more.
    pub(super) fn get(&self, hash: u64) -> Option<&T> {
        let set = self.sets.get(self.number(hash))?;
        set.iter().flatten().find(|it| it.0 == hash).map(|it| &it.1)
    }

    /// Inserts a value in the place of that of the same hash, or of an old one.
    pub(super) fn insert(&mut self, hash: u64, value: T) {
        if let Some(set) = self.sets.get_mut(self.number(hash)) {
            let at = position(set, hash).unwrap_or(PLACES - 1);
            set[..=at].rotate_right(1);
            set[0] = Some((hash, value));
        }
    }

    /// Removes the value of a hash.
    pub(super) fn remove(&mut self, hash: u64) {
        if let Some(set) = self.sets.get_mut(self.number(hash))
            && let Some(at) = position(set, hash)
        {
            set[at] = None;
            set[at..].rotate_left(1);
        }
    }

    /// Removes all.
    pub(super) fn clear(&mut self) {
        for set in &mut self.sets {
            *set = [const { None }; PLACES];
        }
    }

    fn number(&self, hash: u64) -> usize {
        // The remainder is less than the number of sets.
        usize::try_from(hash % self.sets.len() as u64).unwrap_or_default()
    }
}

/// The place of a hash in its set; `None` if it is not there.
fn position<T>(set: &RecentSet<T>, hash: u64) -> Option<usize> {
    set.iter()
        .position(|it| it.as_ref().is_some_and(|it| it.0 == hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_values_of_a_set_are_kept() {
        let mut recent = RecentHashes::new(PLACES);
        for hash in 0..4 {
            recent.insert(hash, hash * 10);
        }
        recent.insert(0, 1);
        recent.insert(4, 40);
        let kept = [0, 1, 2, 3, 4].map(|hash| recent.get(hash).copied());
        assert_eq!(kept, [Some(1), None, Some(20), Some(30), Some(40)]);
        recent.remove(3);
        recent.remove(9);
        recent.insert(5, 50);
        let kept = [0, 2, 3, 4, 5].map(|hash| recent.get(hash).copied());
        assert_eq!(kept, [Some(1), Some(20), None, Some(40), Some(50)]);
        recent.clear();
        assert_eq!(recent.get(0), None);
    }
}
