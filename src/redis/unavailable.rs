//! Why Redis has no answer.

/// Why Redis has no answer. It is taken as a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisUnavailable {
    /// Redis is not connected, or is left alone for a while after failures.
    #[error("Redis is not in use at present")]
    Away,
    /// It has taken too long.
    #[error("Redis did not answer in time")]
    Late,
    /// Redis has refused the command, or the connection broke.
    #[error("Redis did not answer the command")]
    Failed,
    /// What was asked for is not there any more.
    #[error("it is not in Redis any more")]
    Gone,
    /// The bytes in Redis are not as they were written.
    #[error("the bytes in Redis are not as they were written")]
    Corrupt,
}
