//! Numbered places for items, for walks that pause.

/// How many places are allocated at a time. Adding a block moves no item.
const BLOCK: usize = 1024;

/// Items that keep their number as long as they are there. So a walk by number can pause at any place: it misses no item
/// that was there when it began, and sees none twice.
#[derive(Debug)]
pub(in crate::cache) struct Slots<T> {
    blocks: Vec<Vec<Slot<T>>>,
    /// The first free place; `None` if all are taken.
    free: Option<usize>,
    taken: usize,
}

#[derive(Debug)]
enum Slot<T> {
    Taken(T),
    /// Free, with the number of the next free one; `None` for the last.
    Free(Option<usize>),
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            free: None,
            taken: 0,
        }
    }
}

impl<T> Slots<T> {
    /// Adds an item. Returns its number.
    pub(in crate::cache) fn insert(&mut self, item: T) -> usize {
        self.taken += 1;
        if let Some(number) = self.free
            && let Some(slot) = self.slot_mut(number)
            && let Slot::Free(next) = *slot
        {
            *slot = Slot::Taken(item);
            self.free = next;
            return number;
        }
        let number = self.end();
        match self.blocks.last_mut().filter(|block| block.len() < BLOCK) {
            Some(block) => block.push(Slot::Taken(item)),
            None => self.blocks.push(vec![Slot::Taken(item)]),
        }
        number
    }

    /// Removes the item with this number; `None` if there is none.
    pub(in crate::cache) fn remove(&mut self, number: usize) -> Option<T> {
        let free = self.free;
        let slot = self.slot_mut(number)?;
        if matches!(slot, Slot::Free(_)) {
            return None;
        }
        let removed = std::mem::replace(slot, Slot::Free(free));
        self.free = Some(number);
        self.taken -= 1;
        match removed {
            Slot::Taken(item) => Some(item),
            Slot::Free(_) => None,
        }
    }

    /// The number that the next item will have.
    pub(in crate::cache) fn next_number(&self) -> usize {
        self.free.unwrap_or_else(|| self.end())
    }

    /// The item with this number; `None` if there is none.
    pub(in crate::cache) fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        match self.slot_mut(number)? {
            Slot::Taken(item) => Some(item),
            Slot::Free(_) => None,
        }
    }

    /// The item with this number; `None` if there is none.
    pub(in crate::cache) fn get(&self, number: usize) -> Option<&T> {
        match self.blocks.get(number / BLOCK)?.get(number % BLOCK)? {
            Slot::Taken(item) => Some(item),
            Slot::Free(_) => None,
        }
    }

    /// All numbers are below this one.
    pub(in crate::cache) fn end(&self) -> usize {
        let full = self.blocks.len().saturating_sub(1) * BLOCK;
        full + self.blocks.last().map_or(0, Vec::len)
    }

    /// The number of items.
    pub(in crate::cache) fn len(&self) -> usize {
        self.taken
    }

    /// All items.
    pub(in crate::cache) fn into_items(self) -> impl Iterator<Item = T> {
        let slots = self.blocks.into_iter().flatten();
        slots.filter_map(|slot| match slot {
            Slot::Taken(item) => Some(item),
            Slot::Free(_) => None,
        })
    }

    /// True if there is no item.
    pub(in crate::cache) fn is_empty(&self) -> bool {
        self.taken == 0
    }

    fn slot_mut(&mut self, number: usize) -> Option<&mut Slot<T>> {
        self.blocks.get_mut(number / BLOCK)?.get_mut(number % BLOCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_keep_their_numbers_and_free_numbers_are_used_again() {
        let mut slots = Slots::default();
        let many = 3 * BLOCK + 5;
        for item in 0..many {
            assert_eq!(slots.next_number(), item);
            assert_eq!(slots.insert(item), item);
        }
        assert_eq!(slots.end(), many);
        assert_eq!(slots.remove(7), Some(7));
        assert_eq!(slots.remove(7), None);
        assert_eq!(slots.remove(BLOCK), Some(BLOCK));
        assert_eq!((slots.get(7), slots.get(8)), (None, Some(&8)));
        assert_eq!(slots.next_number(), BLOCK);
        assert_eq!((slots.insert(1), slots.insert(2)), (BLOCK, 7));
        assert_eq!(slots.insert(3), many);
        for number in 0..=many {
            assert!(!slots.is_empty());
            assert!(slots.remove(number).is_some(), "{number}");
        }
        assert!(slots.is_empty());
        assert_eq!(slots.remove(many + 1), None);
    }
}
