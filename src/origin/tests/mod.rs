//! The room against origins that misbehave.
