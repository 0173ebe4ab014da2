//! Lists that are shared, and mostly have one item.

use std::{ops::Deref, sync::Arc};

/// Shared items in an order that does not change. One of them takes no list of its own.
#[derive(Debug)]
pub(in crate::cache) enum Shared<T> {
    One(Arc<T>),
    List(Arc<[Arc<T>]>),
}

impl<T> Shared<T> {
    /// True when both are the same list: not only equal ones.
    pub(in crate::cache) fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::One(one), Self::One(other)) => Arc::ptr_eq(one, other),
            (Self::List(one), Self::List(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl<T> Deref for Shared<T> {
    type Target = [Arc<T>];

    fn deref(&self) -> &[Arc<T>] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::List(list) => list,
        }
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        match self {
            Self::One(one) => Self::One(Arc::clone(one)),
            Self::List(list) => Self::List(Arc::clone(list)),
        }
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self::List(Arc::default())
    }
}

impl<T> From<Vec<Arc<T>>> for Shared<T> {
    fn from(items: Vec<Arc<T>>) -> Self {
        match &*items {
            [one] => Self::One(Arc::clone(one)),
            _ => Self::List(items.into()),
        }
    }
}

impl<T> From<Arc<[Arc<T>]>> for Shared<T> {
    fn from(items: Arc<[Arc<T>]>) -> Self {
        match &*items {
            [one] => Self::One(Arc::clone(one)),
            _ => Self::List(items),
        }
    }
}
