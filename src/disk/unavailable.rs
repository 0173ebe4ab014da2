//! Why the disk has no answer.

/// Why the disk has no answer. It is taken as a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskUnavailable {
    /// The readers have too much to do.
    #[error("the disk is busy")]
    Busy,
    /// It has taken too long.
    #[error("the disk did not answer in time")]
    Late,
    /// The disk is bypassed, or closed.
    #[error("the disk is not in use")]
    Bypassed,
    /// What was asked for is not there any more.
    #[error("it is not on the disk any more")]
    Gone,
    /// The bytes on the disk are not as they were written, or cannot be read.
    #[error("the bytes on the disk are not as they were written")]
    Corrupt,
    /// The file could not be written.
    #[error("the disk could not be written")]
    NotWritten,
}
