//! Finds `errors` in the response to a GraphQL query, while it arrives.

/// Finds a member `errors` at the top level of a JSON object, or of each object of an array, that is a list or an object
/// and not empty. The body comes in pieces of any size.
#[derive(Debug, Default)]
pub struct ErrorsScan {
    depth: u32,
    /// The depth of the objects: 1, or 2 in an array; `None` before the first byte.
    object_depth: Option<u32>,
    string: Option<StringKind>,
    is_escaped: bool,
    /// The start of the last name of a member.
    name: Vec<u8>,
    next: NextToken,
    has_errors: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum StringKind {
    Name,
    Value,
}

/// What the next token of an object is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum NextToken {
    Name,
    /// The value of `errors`.
    Errors,
    /// Something in the list or object that is the value of `errors`, or its end.
    InErrors,
    #[default]
    Other,
}

const NAME: &[u8] = b"errors";

impl ErrorsScan {
    /// Reads the next bytes of the body.
    pub fn read(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match self.string {
                Some(kind) => self.read_in_string(kind, byte),
                None if !byte.is_ascii_whitespace() => self.read_token(byte),
                None => {}
            }
        }
    }

    /// True if there are errors in what has been read.
    pub fn has_errors(&self) -> bool {
        self.has_errors
    }

    fn read_in_string(&mut self, kind: StringKind, byte: u8) {
        let is_end = byte == b'"' && !self.is_escaped;
        self.is_escaped = byte == b'\\' && !self.is_escaped;
        if is_end {
            self.string = None;
        } else if kind == StringKind::Name && self.name.len() <= NAME.len() {
            self.name.push(byte);
        }
    }

    /// True if the last name is `errors`, or is written with an escape: servers write no other name so either.
    fn may_be_errors(&self) -> bool {
        self.name == NAME || self.name.contains(&b'\\')
    }

    fn read_token(&mut self, byte: u8) {
        let object_depth = *self
            .object_depth
            .get_or_insert(if byte == b'[' { 2 } else { 1 });
        let is_member = self.depth == object_depth;
        self.has_errors |= self.next == NextToken::InErrors && !matches!(byte, b']' | b'}');
        match byte {
            b'"' if is_member && self.next == NextToken::Name => {
                self.name.clear();
                self.string = Some(StringKind::Name);
            }
            b'"' => self.string = Some(StringKind::Value),
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.next = match byte {
            b':' if is_member && self.may_be_errors() => NextToken::Errors,
            b'{' | b'[' if self.next == NextToken::Errors => NextToken::InErrors,
            b'{' if self.depth == object_depth => NextToken::Name,
            b',' if is_member => NextToken::Name,
            _ => NextToken::Other,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn has_errors(body: &str) -> bool {
        let mut scan = ErrorsScan::default();
        scan.read(body.as_bytes());
        scan.has_errors()
    }

    #[test]
    fn errors_are_found_at_the_top_level_only() {
        for (body, expected) in [
            (r#"{"errors":[{"message":"x"}]}"#, true),
            (r#"{"data":null,"errors":[{"message":"x"}]}"#, true),
            (" { \"data\" : {} , \"errors\" : [ {} ] } ", true),
            (r#"{"errors":{"message":"x"}}"#, true),
            (r#"[{"data":1},{"errors":["x"]}]"#, true),
            (r#"{"a":"\"","errors":[1]}"#, true),
            (r#"{"a":"\\","errors":[1]}"#, true),
            (r#"{"err\u006frs":[1]}"#, true),
            (r#"{"errors":[]}"#, false),
            (r#"{"errors":{}}"#, false),
            (r#"{"errors":null,"data":[1]}"#, false),
            (r#"{"errors":false,"data":[1]}"#, false),
            (r#"{"errors":"x","data":["y"]}"#, false),
            (r#"{"data":{"errors":[1]}}"#, false),
            (r#"{"data":["errors",{"errors":[1]}]}"#, false),
            (r#"{"data":"errors","x":[1]}"#, false),
            (r#"{"a":"\"errors\":[1]"}"#, false),
            (r#"{"error":[1],"errorss":[1],"xerrors":[1]}"#, false),
            (r#"[["errors",[1]],{"data":1}]"#, false),
            ("\"errors\":[1]", false),
            ("}]", false),
            ("", false),
        ] {
            assert_eq!(has_errors(body), expected, "{body}");
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            body in "[\\[{]?(\"errors\"|\"data\"|[\\[\\]{}:,\" 1\\\\]){0,12}",
            cut in 0_usize..40,
        ) {
            let whole = has_errors(&body);
            let mut scan = ErrorsScan::default();
            let (first, second) = body.as_bytes().split_at(cut.min(body.len()));
            scan.read(first);
            scan.read(second);
            prop_assert_eq!(scan.has_errors(), whole);
        }

        #[test]
        fn valid_json_is_read_as_a_parser_reads_it(
            before in "(\"[a\\\\]{0}[a-c]\":(1|\\[\\]|\\{\"errors\":\\[1\\]\\}|\"[{}]\"),){0,3}",
            errors in "(\\[\\]|\\[1\\]|\\{\\}|null|\"x\"|7)",
        ) {
            let body = format!("{{{before}\"errors\":{errors}}}");
            let parsed: serde_json::Value = serde_json::from_str(&body).unwrap();
            let expected = match &parsed["errors"] {
                serde_json::Value::Array(items) => !items.is_empty(),
                serde_json::Value::Object(members) => !members.is_empty(),
                _ => false,
            };
            prop_assert_eq!(has_errors(&body), expected, "{}", body);
        }
    }
}
