//! The borders between the rooms of the crate, and the size of its files, read from the sources.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// What each room may use. `main.rs` and its `commands` may use everything; a room that is missing here has no borders yet.
const BORDERS: &[(&str, &[&str])] = &[
    ("lib", &[]),
    ("cli", &["config", "policy"]),
    ("config", &["policy", "origin", "cli"]),
    (
        "server",
        &[
            "config", "proxy", "cache", "control", "origin", "policy", "reload",
        ],
    ),
    (
        "proxy",
        &[
            "policy", "cache", "origin", "headers", "error", "config", "reload", "mask", "observe",
            "clock",
        ],
    ),
    ("headers", &["policy"]),
    ("error", &["origin", "policy"]),
    ("origin", &["headers"]),
    ("policy", &[]),
    ("mask", &[]),
    ("clock", &["policy"]),
    ("cache", &["policy", "mask"]),
    ("reload", &["cache", "config", "error"]),
    (
        "explain",
        &["cache", "config", "error", "mask", "policy", "proxy"],
    ),
    (
        "control",
        &[
            "cache", "clock", "config", "explain", "mask", "observe", "policy", "proxy", "reload",
        ],
    ),
    (
        "observe",
        &["cache", "error", "headers", "origin", "policy"],
    ),
    (
        "dashboard",
        &["cache", "clock", "headers", "observe", "proxy"],
    ),
];

const MAX_LINES: usize = 450;

struct Source {
    path: PathBuf,
    room: String,
    /// Its code without comments and without what stands behind `#[cfg(test)]`.
    code: String,
    lines: usize,
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let own: Vec<&str> = text
            .lines()
            .take_while(|line| !line.starts_with("#[cfg(test)]"))
            .collect();
        let code = own
            .iter()
            .map(|line| line.split("//").next().unwrap_or_default())
            .collect::<Vec<_>>()
            .join("\n");
        let relative = path.strip_prefix(&root).unwrap();
        let first = relative
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_string_lossy();
        Source {
            room: first.trim_end_matches(".rs").to_owned(),
            lines: own.len(),
            code,
            path: relative.to_owned(),
        }
    };
    // Files of tests alone are announced as such by the file above them; by their place they are known here.
    let only_tests = |path: &PathBuf| {
        let relative = path.strip_prefix(&root).unwrap().with_extension("");
        relative
            .components()
            .any(|part| part.as_os_str().to_string_lossy().ends_with("tests"))
    };
    files
        .into_iter()
        .filter(|path| !only_tests(path))
        .map(read)
        .collect()
}

fn identifier(text: &str) -> &str {
    let end = text
        .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .unwrap_or(text.len());
    &text[..end]
}

/// The first names of the paths that begin with the given root: `crate::a::b` and `crate::{a::b, c}`.
fn names_after<'a>(code: &'a str, root: &str) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(root) {
        let rest = &code[at + root.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.insert(identifier(rest));
            continue;
        };
        let mut depth = 0;
        let mut begins = true;
        for (position, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                _ if begins && !letter.is_whitespace() => {
                    names.insert(identifier(&group[position..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    names
}

#[test]
fn rooms_use_only_what_their_borders_allow() {
    let rooms: BTreeSet<&str> = BORDERS.iter().map(|(room, _)| *room).collect();
    let mut trespasses = Vec::new();
    let program = ["main", "commands", "logging", "signals"];
    for source in sources()
        .iter()
        .filter(|source| !program.contains(&source.room.as_str()))
    {
        let Some((_, allowed)) = BORDERS.iter().find(|(room, _)| *room == source.room) else {
            trespasses.push(format!(
                "{}: the room `{}` has no borders yet",
                source.path.display(),
                source.room
            ));
            continue;
        };
        let mut used = names_after(&source.code, "crate::");
        // From a file at the top, `super` is the crate.
        let depth = source.path.components().count();
        if depth == 1 || (depth == 2 && source.path.ends_with("mod.rs")) {
            used.extend(names_after(&source.code, "super::"));
        }
        for name in used {
            if rooms.contains(name) && name != source.room && !allowed.contains(&name) {
                trespasses.push(format!(
                    "{}: `{}` may not use `{name}`",
                    source.path.display(),
                    source.room
                ));
            }
        }
    }
    assert!(trespasses.is_empty(), "{trespasses:#?}");
}

#[test]
fn the_policy_knows_no_clock_no_runtime_and_no_log() {
    let foreign = [
        "log::", "tokio", "actix::", "actix_rt", "awc::", "::now()", "async fn", "std::fs",
        "std::net", "std::io",
    ];
    for source in sources().iter().filter(|source| source.room == "policy") {
        for word in foreign {
            assert!(
                !source.code.contains(word),
                "{word} in src/{}",
                source.path.display()
            );
        }
    }
}

#[test]
fn files_can_be_read_in_one_sitting() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|source| source.lines > MAX_LINES)
        .map(|source| format!("src/{}: {} lines", source.path.display(), source.lines))
        .collect();
    assert!(
        long.is_empty(),
        "more than {MAX_LINES} lines without tests: {long:#?}"
    );
}

#[test]
fn imports_are_read_right() {
    let code = "use crate::{a::{b, c}, d, e::f};\nlet x = crate::g::h();\nuse std::{i};";
    assert_eq!(
        names_after(code, "crate::"),
        BTreeSet::from(["a", "d", "e", "g"])
    );
}
