//! Replies of Redis as the types that are expected. Another type is `None`.

use ::redis::{ErrorKind, RedisError, Value};

/// A text without line breaks that says what an error is about. It may contain what the server has sent, shortened.
pub(super) fn reason(error: &RedisError) -> String {
    let text = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    };
    let is_shown = |letter: &char| !letter.is_control();
    text.chars().filter(is_shown).take(200).collect()
}

/// Whether the server has answered, and has refused the command for what it names: a miss, and no failure of Redis.
pub(super) fn is_answer(error: &RedisError) -> bool {
    // WRONGTYPE and OOM have no kind of their own.
    match error.kind() {
        ErrorKind::Extension => matches!(error.code(), Some("WRONGTYPE" | "OOM")),
        _ => false,
    }
}

pub(super) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        Value::VerbatimString { text, .. } => Some(text.into_bytes()),
        _ => None,
    }
}

pub(super) fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?).ok()
}

/// A number that is not negative, also as text.
pub(super) fn number(value: Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(number).ok(),
        value => text(value)?.parse().ok(),
    }
}

pub(super) fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) | Value::Set(values) => Some(values),
        _ => None,
    }
}

/// Pairs, as a map or one after the other.
pub(super) fn pairs(value: Value) -> Option<Vec<(Value, Value)>> {
    let values = match value {
        Value::Map(pairs) => return Some(pairs),
        value => list(value)?,
    };
    let mut values = values.into_iter();
    let mut pairs = Vec::new();
    while let Some(first) = values.next() {
        pairs.push((first, values.next()?));
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_type_is_none() {
        let text_of = |text: &str| Value::BulkString(text.into());
        assert_eq!(number(Value::Int(-1)), None);
        assert_eq!(number(text_of("17")), Some(17));
        assert_eq!(number(text_of("x")), None);
        assert_eq!(text(Value::BulkString(vec![0xff])), None);
        assert_eq!(list(Value::Nil), None);
        assert_eq!(pairs(Value::Array(vec![Value::Nil])), None);
        assert_eq!(pairs(Value::Array(vec![])), Some(vec![]));
        assert_eq!(bytes(Value::Int(1)), None);
    }
}
