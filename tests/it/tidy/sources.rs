//! The sources of the crate, without comments, string literals and tests.

use std::{
    collections::BTreeSet,
    ops::Range,
    path::{Path, PathBuf},
};

/// A file of the program.
pub(super) struct Source {
    /// Below `src/`.
    pub(super) path: PathBuf,
    /// The file or folder at the top of `src/`.
    pub(super) room: String,
    /// The code; comments, strings and tests are replaced by spaces.
    pub(super) code: String,
    /// Lines without tests.
    pub(super) lines: usize,
}

/// The files of the program; those that only tests use are left out.
pub(super) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    let mut test_modules = BTreeSet::new();
    let mut sources = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let path = file.strip_prefix(&root).unwrap().to_owned();
        let mut code = code_of(&text);
        let tests = test_items(&code);
        for item in &tests {
            let name = module_name(&code[item.clone()]);
            test_modules.extend(name.map(|name| below(&path).join(name)));
        }
        let test_lines: usize = tests.iter().map(|item| lines_in(&code[item.clone()])).sum();
        let lines = text.lines().count() - test_lines;
        for item in tests {
            blank(&mut code, item);
        }
        let first = path.components().next().unwrap().as_os_str();
        let room = first.to_string_lossy().trim_end_matches(".rs").to_owned();
        sources.push(Source {
            path,
            room,
            code,
            lines,
        });
    }
    sources.retain(|source| {
        let mut places = source.path.ancestors();
        !places.any(|place| test_modules.contains(&place.with_extension("")))
    });
    sources
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The folder of the modules that a file declares.
fn below(path: &Path) -> PathBuf {
    match path.file_stem().unwrap().to_str().unwrap() {
        "mod" | "lib" | "main" => path.parent().unwrap().to_owned(),
        _ => path.with_extension(""),
    }
}

/// The module that an item declares, if it has a file of its own.
fn module_name(item: &str) -> Option<&str> {
    let declaration = item.trim_end().strip_suffix(';')?;
    let (before, name) = declaration.rsplit_once(' ')?;
    before.ends_with("mod").then_some(name)
}

fn lines_in(item: &str) -> usize {
    item.matches('\n').count() + 1
}

fn blank(code: &mut String, range: Range<usize>) {
    let blanked: String = code[range.clone()]
        .chars()
        .map(|letter| if letter == '\n' { '\n' } else { ' ' })
        .collect();
    code.replace_range(range, &blanked);
}

/// The text with a space for each byte of a comment, string or character literal. Line breaks stay.
pub(super) fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + unread_bytes(&bytes[at..], at.checked_sub(1).map(|before| bytes[before]));
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(code).unwrap()
}

/// The length of the comment, string or character literal that begins here; 0 if none does.
fn unread_bytes(rest: &[u8], before: Option<u8>) -> usize {
    let is_within_word = before.is_some_and(is_word);
    match rest {
        [b'/', b'/', ..] => position(rest, b"\n").unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment_bytes(rest),
        [b'"', ..] => text_bytes(rest),
        [b'r', b'"' | b'#', ..] if !is_within_word => raw_text_bytes(rest, 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !is_within_word => raw_text_bytes(rest, 2),
        [b'\'', ..] => character_bytes(rest),
        _ => 0,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|found| found == wanted)
}

/// Block comments can be nested.
fn block_comment_bytes(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn text_bytes(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `r"..."` and `r#"..."#`; 0 for a raw identifier. The hashes begin after the prefix.
fn raw_text_bytes(rest: &[u8], prefix_bytes: usize) -> usize {
    let hashes = rest[prefix_bytes..]
        .iter()
        .take_while(|&&byte| byte == b'#')
        .count();
    let begin = prefix_bytes + hashes + 1;
    if rest.get(begin - 1) != Some(&b'"') {
        return 0;
    }
    let end = [&b"\""[..], &b"#".repeat(hashes)].concat();
    position(&rest[begin..], &end).map_or(rest.len(), |at| begin + at + end.len())
}

/// The length of a character literal; 0 for a lifetime.
fn character_bytes(rest: &[u8]) -> usize {
    if let [_, b'\\', _, after @ ..] = rest {
        return position(after, b"'").map_or(rest.len(), |at| at + 4);
    }
    let text = &rest[1..rest.len().min(6)];
    let letter = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&text[..error.valid_up_to()]).unwrap(),
    };
    match letter.chars().next() {
        Some(letter) if rest.get(1 + letter.len_utf8()) == Some(&b'\'') => letter.len_utf8() + 2,
        _ => 0,
    }
}

/// The ranges of items under `#[cfg(test)]`, attributes included. They can be nested.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (begin, _) in code.match_indices("#[") {
        let end = begin + bracketed_bytes(&code[begin..]);
        let is_within = found.last().is_some_and(|before| begin < before.end);
        let attribute: String = code[begin..end].split_whitespace().collect();
        let for_tests = ["#[cfg(test)]", "#[cfg(any(test,fuzzing))]"];
        if !is_within && for_tests.contains(&attribute.as_str()) {
            found.push(begin..end + item_bytes(&code[end..]));
        }
    }
    found
}

/// The end of the first pair of brackets.
fn bracketed_bytes(code: &str) -> usize {
    let mut depth = 0;
    for (at, letter) in code.char_indices() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 1 => return at + 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The end of the item that begins here, after its attributes: after its block or its semicolon.
fn item_bytes(code: &str) -> usize {
    let mut at = code.len() - code.trim_start().len();
    while code[at..].starts_with("#[") {
        at += bracketed_bytes(&code[at..]);
        at += code[at..].len() - code[at..].trim_start().len();
    }
    let ends_with_semicolon = ends_with_semicolon(&code[at..]);
    while at < code.len() {
        match code.as_bytes()[at] {
            b';' => return at + 1,
            b'{' if !ends_with_semicolon => return at + bracketed_bytes(&code[at..]),
            b'(' | b'[' | b'{' => at += bracketed_bytes(&code[at..]),
            // The end of a field or a match arm, or of the block around it.
            b'}' => return at,
            _ => at += 1,
        }
    }
    at
}

/// Whether an item ends with a semicolon although it may have braces.
fn ends_with_semicolon(item: &str) -> bool {
    let mut words = item
        .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty() && !["pub", "crate", "super", "in", "self"].contains(word));
    match words.next() {
        Some("const") => !matches!(words.next(), Some("fn" | "unsafe" | "async" | "extern")),
        Some("use" | "static" | "type" | "let") => true,
        _ => false,
    }
}

#[test]
fn comments_strings_and_characters_are_not_code() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"a("// b", c)"#, "a(      , c)"),
        (r#"a("\"//", b)"#, "a(      , b)"),
        (r##"a(r#"b"c"#, d)"##, "a(        , d)"),
        (r#"a(br"\", b)"#, "a(     , b)"),
        ("r#type; for\"b\"", "r#type; for   "),
        ("f('\"', '\\'', 'ä') // g", "f(   ,     ,     )     "),
        ("&'a str, 'b: loop {}", "&'a str, 'b: loop {}"),
        ("b'\"' + '\\u{22}'", "b    +         "),
    ] {
        assert_eq!(code_of(text), code, "{text}");
    }
}

#[test]
fn only_the_item_after_the_attribute_is_a_test() {
    for item in [
        "mod tests { fn a() { b(); } }",
        "mod tests;",
        "pub(crate) mod tests;",
        "use a::{b, c};",
        "#[allow(x)]\nfn a(b: [u8; 3]) -> C { d }",
        "const fn a() { b }",
        "pub(super) const A: B = B { c: [0; 2] };",
        "impl A { fn b() {} }",
        "struct A(u8);",
    ] {
        let text = format!("use x;\n#[cfg(test)]\n{item}\nfn y() {{}}\n");
        let items = test_items(&text);
        assert_eq!(items.len(), 1, "{item}");
        assert_eq!(&text[items[0].clone()], format!("#[cfg(test)]\n{item}"));
    }
    assert!(test_items("#[cfg(not(test))]\nuse a;").is_empty());
    assert_eq!(module_name("#[cfg(test)]\nmod a;"), Some("a"));
    assert_eq!(module_name("#[cfg(test)]\nuse a;"), None);
}
