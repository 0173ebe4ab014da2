//! The file of a log: making a new one, filling it with zeros, reading it.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
};

use crate::disk::{
    ended::{
        header::{LogHeader, LogSlot},
        row::RowContent,
    },
    files::{Files, OpenMode, StoreFile},
};

pub(super) const NAME: &str = "ended.log";
/// A log that is being written, before it is renamed.
pub(super) const NEW_NAME: &str = "ended.log.new";
/// The file grows by this.
pub(super) const STEP: u64 = 256 << 10;
/// No log that this program writes is longer.
const MAX_BYTES: u64 = 1 << 30;

/// A log that was written, and not yet renamed.
pub(super) struct NewLog {
    pub(super) file: Arc<dyn StoreFile>,
    pub(super) slot: LogSlot,
    pub(super) end: u64,
    pub(super) next_number: u64,
    pub(super) capacity: u64,
}

/// Writes and syncs a log beside the one that is in use.
pub(super) fn write_new(
    files: &dyn Files,
    header: LogHeader,
    slot: LogSlot,
    rows: &[RowContent],
) -> io::Result<NewLog> {
    let next_number = header.first_number + rows.len() as u64;
    let slot = LogSlot {
        rows: next_number - 1,
        ..slot
    };
    let mut bytes = header.to_sector().to_vec();
    bytes.extend_from_slice(&slot.to_sector(header.id));
    bytes.extend_from_slice(&group(header.id, header.first_number, rows));
    let end = bytes.len() as u64;
    remove_if_there(files, NEW_NAME)?;
    let file = files.open(NEW_NAME, OpenMode::CreateNew)?;
    file.write_all_at(&bytes, 0)?;
    let full = (end + STEP / 2).next_multiple_of(STEP);
    // On a full disk it can grow later, when the old log is gone.
    let capacity = match write_zeros(&*file, end, full) {
        Ok(()) => full,
        Err(_) => file.set_len(end).map(|()| end)?,
    };
    file.sync_data()?;
    Ok(NewLog {
        file,
        slot,
        end,
        next_number,
        capacity,
    })
}

/// The bytes of rows that are synced together.
pub(super) fn group(id: u64, first_number: u64, rows: &[RowContent]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for ((number, position), row) in (first_number..).zip(0..).zip(rows) {
        row.write(id, number, position, &mut bytes);
    }
    bytes
}

/// Writes zeros in the range of offsets.
pub(super) fn write_zeros(file: &dyn StoreFile, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; 64 << 10];
    let mut at = from;
    while at < to {
        let bytes = usize::try_from(to - at).map_or(zeros.len(), |left| left.min(zeros.len()));
        file.write_all_at(&zeros[..bytes], at)?;
        at += bytes as u64;
    }
    Ok(())
}

/// The bytes of a file.
pub(super) fn read_all(file: &dyn StoreFile) -> io::Result<Vec<u8>> {
    let len = file.len()?;
    if len > MAX_BYTES {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Removes a file. It is no error if it is not there.
pub(super) fn remove_if_there(files: &dyn Files, name: &str) -> io::Result<()> {
    match files.remove(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
