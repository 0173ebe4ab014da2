//! The layout of the crate, checked on its sources: imports between modules, cycles of files, names of types, and the
//! size of files.

mod imports;
mod sources;
mod types;

use std::collections::{BTreeMap, BTreeSet};

use self::{
    imports::{cycles, modules_used},
    sources::sources,
    types::declared_types,
};

/// What each module may import. `main.rs` and its modules may import everything; a module missing here is not checked.
const BORDERS: &[(&str, &[&str])] = &[
    ("lib", &[]),
    ("cli", &["config"]),
    (
        "config",
        &["mask", "policy", "origin", "redis", "regular_file"],
    ),
    (
        "server",
        &[
            "clock", "config", "proxy", "cache", "disk", "origin", "policy", "error", "redis",
            "observe", "reload", "tls",
        ],
    ),
    (
        "proxy",
        &[
            "policy", "cache", "origin", "headers", "error", "config", "reload", "mask", "observe",
            "clock", "tls",
        ],
    ),
    ("headers", &["policy"]),
    ("error", &["origin"]),
    ("origin", &["headers"]),
    ("policy", &[]),
    ("mask", &["policy"]),
    ("guide", &[]),
    ("har", &["mask", "policy"]),
    ("clock", &["policy"]),
    ("tls", &["config", "error", "policy", "regular_file"]),
    ("disk", &[]),
    ("redis", &[]),
    ("regular_file", &[]),
    ("cache", &["disk", "policy", "mask", "redis"]),
    ("reload", &["cache", "clock", "config", "error", "tls"]),
    (
        "explain",
        &["cache", "config", "error", "mask", "policy", "proxy"],
    ),
    (
        "admin",
        &[
            "cache", "disk", "explain", "har", "mask", "observe", "origin", "policy", "proxy",
        ],
    ),
    (
        "control",
        &["admin", "cache", "clock", "explain", "proxy", "reload"],
    ),
    (
        "observe",
        &[
            "cache", "disk", "error", "headers", "origin", "policy", "redis", "tls",
        ],
    ),
    (
        "dashboard",
        &[
            "admin", "cache", "clock", "disk", "headers", "observe", "proxy", "redis",
        ],
    ),
];

const MAX_LINES: usize = 450;

#[test]
fn modules_import_only_what_the_table_allows() {
    let rooms: BTreeSet<&str> = BORDERS.iter().map(|(room, _)| *room).collect();
    let mut trespasses = Vec::new();
    let sources = sources();
    let main = sources.iter().find(|source| source.room == "main").unwrap();
    let is_program = |room: &str| room == "main" || main.code.contains(&format!("\nmod {room};"));
    for source in sources.iter().filter(|source| !is_program(&source.room)) {
        let Some((_, allowed)) = BORDERS.iter().find(|(room, _)| *room == source.room) else {
            trespasses.push(format!(
                "{}: the room `{}` has no borders yet",
                source.path.display(),
                source.room
            ));
            continue;
        };
        let used = modules_used(source);
        for name in &used {
            let name = name.as_str();
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
fn the_table_of_imports_allows_only_what_is_used() {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        let names = modules_used(&source);
        used.entry(source.room).or_default().extend(names);
    }
    let mut unused = Vec::new();
    for (room, allowed) in BORDERS {
        let used = used.get(*room);
        assert!(used.is_some(), "the room `{room}` has no files");
        for name in *allowed {
            if !used.is_some_and(|used| used.contains(*name)) {
                unused.push(format!("`{room}` does not use `{name}`"));
            }
        }
    }
    assert!(unused.is_empty(), "{unused:#?}");
}

#[test]
fn the_policy_uses_no_clock_no_runtime_and_no_log() {
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
fn files_are_of_limited_length() {
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
fn no_files_import_each_other_in_a_cycle() {
    let cycles = cycles(&sources());
    assert!(cycles.is_empty(), "{cycles:#?}");
}

#[test]
fn a_type_name_is_declared_once() {
    let sources = sources();
    let mut declarations: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for source in &sources {
        for name in declared_types(&source.code) {
            let file = source.path.display().to_string();
            declarations.entry(name).or_default().push(file);
        }
    }
    declarations.retain(|_, files| files.len() > 1);
    assert!(declarations.is_empty(), "{declarations:#?}");
}

#[test]
fn no_import_goes_up_two_modules() {
    for source in sources() {
        let climbs = source.code.contains("use super::super");
        assert!(!climbs, "use crate::... in src/{}", source.path.display());
    }
}
