//! The imports between the files of the crate.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
};

use super::sources::Source;

/// A path as written, name by name.
type Names = Vec<String>;

/// A module: its names from the root of the crate.
type Module = Vec<String>;

/// A `use` declaration of one path.
#[derive(Debug, PartialEq, Eq)]
struct Import {
    path: Names,
    /// The name of the import in this file.
    alias: String,
    is_exported: bool,
}

/// The files by their modules, and the names that each exports.
struct Crate<'a> {
    files: BTreeMap<Module, &'a Source>,
    exports: BTreeMap<Module, BTreeMap<String, Names>>,
}

/// The shortest cycles of files, as `a -> b -> a`. A file and the files in the folder of its name are no cycle, nor is
/// anything with a `mod.rs`, which stands for its folder.
pub(super) fn cycles(sources: &[Source]) -> BTreeSet<String> {
    let graph = Crate::new(sources).graph();
    let shortest = graph.keys().filter_map(|file| shortest_cycle(&graph, file));
    let mut cycles: BTreeMap<BTreeSet<&str>, Vec<&str>> = BTreeMap::new();
    for cycle in shortest {
        let members = cycle.iter().copied().collect();
        cycles.entry(members).or_insert(cycle);
    }
    cycles.values().map(|cycle| cycle.join(" -> ")).collect()
}

/// The names beneath the root of the crate that a file uses.
pub(super) fn modules_used(source: &Source) -> BTreeSet<String> {
    let depth = module_of(&source.path).len();
    let names = paths(&source.code).into_iter().filter_map(|path| {
        let up = path.iter().take_while(|name| *name == "super").count();
        let is_from_root = path[0] == "crate" || up > 0 && up == depth;
        is_from_root.then(|| path.into_iter().nth(up.max(1)))?
    });
    names.collect()
}

type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

fn shortest_cycle<'a>(graph: &Graph<'a>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut found_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut waiting = VecDeque::from([start]);
    while let Some(file) = waiting.pop_front() {
        for next in &graph[file] {
            if *next == start {
                let mut cycle = vec![start, file];
                while let Some(before) = found_from.get(cycle[cycle.len() - 1]) {
                    cycle.push(before);
                }
                cycle.reverse();
                cycle.push(start);
                cycle.dedup();
                return Some(cycle);
            }
            if !found_from.contains_key(next) {
                found_from.insert(next, file);
                waiting.push_back(next);
            }
        }
    }
    None
}

impl<'a> Crate<'a> {
    fn new(sources: &'a [Source]) -> Self {
        // The program has a crate of its own, whose names beneath its root differ from those of the library.
        let files: BTreeMap<Module, &Source> = sources
            .iter()
            .filter(|source| source.path != Path::new("main.rs"))
            .map(|source| (module_of(&source.path), source))
            .collect();
        let exports = files.iter().map(|(module, source)| {
            let exported = imports(&source.code)
                .into_iter()
                .filter(|import| import.is_exported);
            let named = exported.map(|import| (import.alias, import.path)).collect();
            (module.clone(), named)
        });
        Self {
            exports: exports.collect(),
            files,
        }
    }

    fn graph(&self) -> Graph<'a> {
        let name = |module: &Module| self.files[module].path.to_str().unwrap();
        self.files
            .iter()
            .filter(|(_, source)| !stands_for_folder(&source.path))
            .map(|(module, source)| {
                let used = paths(&source.code).into_iter();
                let used = used.filter_map(|path| self.resolve(module, &path, 0));
                let used = used.filter(|used| {
                    !stands_for_folder(&self.files[used].path)
                        && !used.starts_with(module)
                        && !module.starts_with(used)
                });
                (name(module), used.map(|used| name(&used)).collect())
            })
            .collect()
    }

    /// The module whose file declares the named item; `None` for an item of another crate.
    fn resolve(&self, from: &Module, path: &[String], steps: usize) -> Option<Module> {
        let mut module = from.clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" | "caching_proxy" => (module, rest) = (Vec::new(), &rest[1..]),
            "self" => rest = &rest[1..],
            "super" => {}
            // The name of a submodule.
            first => {
                module.push(first.to_owned());
                let is_beneath = self.files.contains_key(&module);
                module.pop();
                if !is_beneath {
                    return None;
                }
            }
        }
        while rest.first().is_some_and(|name| name == "super") {
            module.pop();
            rest = &rest[1..];
        }
        while let Some(name) = rest.first() {
            module.push(name.clone());
            if !self.files.contains_key(&module) {
                module.pop();
                break;
            }
            rest = &rest[1..];
        }
        let exported = rest
            .first()
            .and_then(|name| self.exports.get(&module)?.get(name));
        if let Some(exported) = exported
            && steps < 8
            && let Some(found) = self.resolve(&module, exported, steps + 1)
        {
            return Some(found);
        }
        self.files.contains_key(&module).then_some(module)
    }
}

/// Whether a file stands for its folder: `mod.rs`, `lib.rs` or `main.rs`.
fn stands_for_folder(path: &Path) -> bool {
    ["mod.rs", "lib.rs", "main.rs"].contains(&path.file_name().unwrap().to_str().unwrap())
}

fn module_of(path: &Path) -> Module {
    let path = match stands_for_folder(path) {
        true => path.parent().unwrap().to_owned(),
        false => path.with_extension(""),
    };
    let names = path.iter().map(|name| name.to_str().unwrap().to_owned());
    names.collect()
}

/// All paths into the crate in a file.
fn paths(code: &str) -> Vec<Names> {
    let mut found: Vec<Names> = imports(code)
        .into_iter()
        .map(|import| import.path)
        .collect();
    for root in ["crate::", "self::", "super::"] {
        for (begin, _) in code.match_indices(root) {
            let before = code[..begin].chars().next_back();
            let is_root = !before.is_some_and(|letter| is_word(letter) || letter == ':');
            let end = code[begin..].find(|letter| !is_word(letter) && letter != ':');
            let path = &code[begin..end.map_or(code.len(), |end| begin + end)];
            if is_root {
                let names = path.split("::").filter(|name| !name.is_empty());
                found.push(names.map(str::to_owned).collect());
            }
        }
    }
    found
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The `use` declarations of a file.
fn imports(code: &str) -> Vec<Import> {
    let mut found = Vec::new();
    for (begin, _) in code.match_indices("use ") {
        let line = code[..begin].rsplit('\n').next().unwrap().trim_start();
        let is_exported = line.starts_with("pub");
        if !(line.is_empty() || is_exported && !line.contains(';')) {
            continue;
        }
        let tree = code[begin + 4..].split(';').next().unwrap();
        for (path, alias) in branches(tree) {
            found.push(Import {
                path,
                alias,
                is_exported,
            });
        }
    }
    found
}

/// The paths of a nested import such as `a::{b, c as d}`, each with its name in the file.
fn branches(tree: &str) -> Vec<(Names, String)> {
    let tree = tree.trim();
    let Some((stem, group)) = tree.split_once('{') else {
        let (path, alias) = match tree.split_once(" as ") {
            Some((path, alias)) => (path, Some(alias.trim())),
            None => (tree, None),
        };
        let names: Names = path
            .split("::")
            .map(|name| name.trim().to_owned())
            .collect();
        let alias = alias.map_or_else(|| names.last().unwrap().clone(), str::to_owned);
        return vec![(names, alias)];
    };
    let stem: Names = stem
        .split("::")
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    let group = group.trim_end().strip_suffix('}').unwrap_or(group);
    let mut found = Vec::new();
    for branch in members(group) {
        for (path, alias) in branches(branch) {
            let is_stem = path == ["self"];
            let alias = match is_stem && alias == "self" {
                true => stem.last().cloned().unwrap_or_default(),
                false => alias,
            };
            let path = if is_stem { Vec::new() } else { path };
            found.push((stem.iter().cloned().chain(path).collect(), alias));
        }
    }
    found
}

/// The items of a group, which commas separate.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut begin) = (0, 0);
    let mut found = Vec::new();
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&group[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    found.push(&group[begin..]);
    found.retain(|member| !member.trim().is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn source(path: &str, code: &str) -> Source {
        Source {
            path: PathBuf::from(path),
            room: String::new(),
            code: code.to_owned(),
            lines: 0,
        }
    }

    #[test]
    fn nested_imports_are_parsed_completely() {
        let read = |tree| {
            let branches = branches(tree).into_iter();
            branches
                .map(|(path, alias)| format!("{} {alias}", path.join("::")))
                .collect::<Vec<_>>()
        };
        assert_eq!(read("a::b"), ["a::b b"]);
        assert_eq!(read("a::b as c"), ["a::b c"]);
        assert_eq!(
            read("a::{self, b::{c, d as e}, f,\n}"),
            ["a a", "a::b::c c", "a::b::d e", "a::f f"]
        );
    }

    #[test]
    fn a_module_is_imported_through_its_root_only() {
        let code = "use crate::{a::{b, c}, d, e::f};\nlet x = crate::g::h();\nuse std::{i};\nuse super::j::k;";
        let used = |path| {
            modules_used(&source(path, code))
                .into_iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(used("l/m.rs"), ["a", "d", "e", "g"]);
        assert_eq!(used("l/mod.rs"), ["a", "d", "e", "g", "j"]);
        assert_eq!(used("l.rs"), ["a", "d", "e", "g", "j"]);
    }

    #[test]
    fn a_cycle_is_found_through_exports_and_paths() {
        let mut sources = vec![
            source(
                "a/mod.rs",
                "mod b;\nmod c;\npub use self::{b::B, c::C as D};\n",
            ),
            source("a/b.rs", "use super::D;\n"),
            source("a/c.rs", "fn c() -> crate::a::B { }\n"),
            source("e.rs", "use crate::g;\nmod f;\n"),
            source("e/f.rs", "use super::E;\n"),
        ];
        assert_eq!(
            cycles(&sources),
            BTreeSet::from(["a/b.rs -> a/c.rs -> a/b.rs".to_owned()])
        );
        sources[2] = source("a/c.rs", "fn c() -> crate::e::E { }\n");
        assert_eq!(cycles(&sources), BTreeSet::new());
        sources[3] = source("e.rs", "use crate::{a::{D, g}, h};\nmod f;\n");
        assert_eq!(
            cycles(&sources),
            BTreeSet::from(["a/c.rs -> e.rs -> a/c.rs".to_owned()])
        );
    }
}
