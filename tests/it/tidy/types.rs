//! The types that a file declares.

/// The names of its structs, enums, traits and aliases. Associated types and types within functions are not among them.
pub(super) fn declared_types(code: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut is_declared = false;
    let mut found = Vec::new();
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut rest = code;
    while let Some(letter) = rest.chars().next() {
        let end = match is_word(letter) {
            true => rest.find(|letter| !is_word(letter)).unwrap_or(rest.len()),
            false => letter.len_utf8(),
        };
        let (word, behind) = rest.split_at(end);
        match word {
            "{" => depth += 1,
            "}" => depth -= 1,
            "struct" | "enum" | "trait" | "type" => is_declared = depth == 0,
            word if is_declared && is_word(letter) => {
                found.push(word);
                is_declared = false;
            }
            _ => {}
        }
        rest = behind;
    }
    found
}

#[test]
fn types_are_found_where_they_are_declared() {
    let code = "pub(super) struct A<T>(T);\nenum B { C { d: E } }\nimpl F for G { type H = I; }\n\
                fn j() { struct K; }\npub trait L { type M; }\ntype N<'a> = O<'a>;";
    assert_eq!(declared_types(code), ["A", "B", "L", "N"]);
}
