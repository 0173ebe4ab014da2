//! Shared lists, most of which have one item.

use std::{ops::Deref, sync::Arc};

use tokio::runtime::Handle;

/// To free so many items takes long enough to delay the other requests of a worker.
const MANY: usize = 512;

/// Shared items in a fixed order. A single item needs no list.
///
/// Many items are freed in another thread.
#[derive(Debug)]
pub(in crate::cache) struct SharedList<T: Send + Sync + 'static>(Items<T>);

#[derive(Debug)]
enum Items<T> {
    One(Arc<T>),
    Many(Arc<[Arc<T>]>),
}

impl<T: Send + Sync> Deref for SharedList<T> {
    type Target = [Arc<T>];

    fn deref(&self) -> &[Arc<T>] {
        match &self.0 {
            Items::One(one) => std::slice::from_ref(one),
            Items::Many(list) => list,
        }
    }
}

impl<T: Send + Sync> Clone for SharedList<T> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Items::One(one) => Items::One(Arc::clone(one)),
            Items::Many(list) => Items::Many(Arc::clone(list)),
        })
    }
}

impl<T: Send + Sync> Default for SharedList<T> {
    fn default() -> Self {
        Self(Items::Many(Arc::default()))
    }
}

impl<T: Send + Sync> From<Arc<T>> for SharedList<T> {
    fn from(one: Arc<T>) -> Self {
        Self(Items::One(one))
    }
}

impl<T: Send + Sync> From<Vec<Arc<T>>> for SharedList<T> {
    fn from(items: Vec<Arc<T>>) -> Self {
        match &*items {
            [one] => Arc::clone(one).into(),
            _ => Self(Items::Many(items.into())),
        }
    }
}

impl<T: Send + Sync> From<Arc<[Arc<T>]>> for SharedList<T> {
    fn from(items: Arc<[Arc<T>]>) -> Self {
        match &*items {
            [one] => Arc::clone(one).into(),
            _ => Self(Items::Many(items)),
        }
    }
}

impl<T: Send + Sync> Drop for SharedList<T> {
    fn drop(&mut self) {
        let Items::Many(list) = &mut self.0 else {
            return;
        };
        // Whoever has the last of several lists at the same time frees them here.
        let is_last = list.len() >= MANY && Arc::strong_count(list) == 1;
        if is_last && let Ok(runtime) = Handle::try_current() {
            let items = std::mem::take(list);
            drop(runtime.spawn_blocking(move || drop(items)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{Sender, channel},
        thread::{self, ThreadId},
    };

    use actix_web::rt::System;

    use super::*;

    /// Sends the thread in which it is dropped.
    struct Item(Sender<ThreadId>);

    impl Drop for Item {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }

    #[test]
    fn many_items_are_freed_in_another_thread_when_nobody_shares_them() {
        let (sender, dropped) = channel();
        let list = |items: usize| {
            let items = (0..items).map(|_| Arc::new(Item(sender.clone())));
            SharedList::from(items.collect::<Vec<_>>())
        };
        let here = thread::current().id();
        System::new().block_on(async {
            for (items, is_here) in [(1, true), (MANY - 1, true), (MANY, false)] {
                let list = list(items);
                drop(list.clone());
                assert!(dropped.try_recv().is_err());
                drop(list);
                for _ in 0..items {
                    let thread = dropped.recv().unwrap();
                    assert_eq!(thread == here, is_here, "{items}");
                }
            }
        });
        // Without a runtime there is nobody to delay.
        drop(list(MANY));
        assert_eq!(
            dropped.try_iter().filter(|thread| *thread == here).count(),
            MANY
        );
    }
}
