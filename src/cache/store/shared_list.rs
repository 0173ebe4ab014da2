//! Shared lists, most of which have one item.

use std::{ops::Deref, sync::Arc};

/// Shared items in a fixed order. A single item needs no list.
#[derive(Debug)]
pub(in crate::cache) enum SharedList<T> {
    One(Arc<T>),
    Many(Arc<[Arc<T>]>),
}

impl<T> Deref for SharedList<T> {
    type Target = [Arc<T>];

    fn deref(&self) -> &[Arc<T>] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(list) => list,
        }
    }
}

impl<T> Clone for SharedList<T> {
    fn clone(&self) -> Self {
        match self {
            Self::One(one) => Self::One(Arc::clone(one)),
            Self::Many(list) => Self::Many(Arc::clone(list)),
        }
    }
}

impl<T> Default for SharedList<T> {
    fn default() -> Self {
        Self::Many(Arc::default())
    }
}

impl<T> From<Vec<Arc<T>>> for SharedList<T> {
    fn from(items: Vec<Arc<T>>) -> Self {
        match &*items {
            [one] => Self::One(Arc::clone(one)),
            _ => Self::Many(items.into()),
        }
    }
}

impl<T> From<Arc<[Arc<T>]>> for SharedList<T> {
    fn from(items: Arc<[Arc<T>]>) -> Self {
        match &*items {
            [one] => Self::One(Arc::clone(one)),
            _ => Self::Many(items),
        }
    }
}
