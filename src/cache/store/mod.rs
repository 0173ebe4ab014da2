//! What is stored, in memory, within a budget.

pub(super) mod body;
pub(super) mod budget;
pub(super) mod changes;
pub(super) mod disposal;
pub(super) mod entry;
pub(super) mod even_pieces;
pub(super) mod file_body;
pub(super) mod index;
pub(super) mod key;
pub(super) mod memory;
pub(super) mod order;
pub(super) mod piece;
pub(super) mod related;
pub(super) mod resource_records;
pub(super) mod shared_list;
pub(super) mod slots;
pub(super) mod stored;
mod stored_key;
pub(super) mod table;
mod use_counts;
