//! The guides, the README and the notes for contributors: listed items exist, and links have targets.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use caching_proxy::{cli::Cli, guide::GUIDES};
use clap::CommandFactory as _;

use crate::instance::Home;

/// Text wider than this wraps on many terminals. Rows of tables may be a little wider.
const MAX_COLUMNS: usize = 104;
/// People read a README of this length to the end.
const MAX_README_WORDS: usize = 1500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The Markdown files of the repository, but those that belong to others.
fn documents() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md"), root().join("benches/README.md")];
    for folder in ["src/guide", ".github"] {
        let entries = fs::read_dir(root().join(folder)).unwrap().flatten();
        found.extend(
            entries
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|kind| kind == "md")),
        );
    }
    found
}

/// The targets of the links `[text](target)` and `[name]: target`.
fn links(text: &str) -> Vec<&str> {
    let inline = text
        .split("](")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(')')?.0));
    let defined = text
        .lines()
        .filter(|line| line.starts_with('['))
        .filter_map(|line| Some(line.split_once("]: ")?.1));
    inline.chain(defined).collect()
}

/// The names of the long options in a text: `--max-memory` is one, `--` is none.
fn options(text: &str) -> BTreeSet<&str> {
    text.split("--")
        .skip(1)
        .filter(|rest| rest.starts_with(|letter: char| letter.is_ascii_lowercase()))
        .map(|rest| {
            let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '-';
            &rest[..rest.find(|letter| !is_name(letter)).unwrap_or(rest.len())]
        })
        .collect()
}

#[test]
fn every_topic_prints_its_guide() {
    let home = Home::new();
    for guide in GUIDES {
        let finished = home.run(&["guide", guide.topic]);
        assert_eq!(
            (finished.code, finished.stderr.as_str()),
            (Some(0), ""),
            "{}",
            guide.topic
        );
        assert_eq!(finished.stdout, guide.plain());
        assert!(finished.stdout.starts_with("# "), "{}", guide.topic);
        assert!(!finished.stdout.contains(".md"), "{}", guide.topic);
    }
}

#[test]
fn the_list_of_guides_is_complete() {
    let topics: BTreeSet<String> = GUIDES.iter().map(|guide| guide.topic.to_owned()).collect();
    let files = fs::read_dir(root().join("src/guide")).unwrap().flatten();
    let files: BTreeSet<String> = files
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".md")?.to_owned()))
        .collect();
    assert_eq!(files, topics);
    let list = Home::new().run(&["guide"]);
    assert_eq!(list.code, Some(0));
    for guide in GUIDES {
        let is_its_line = |line: &&str| {
            line.trim_start().starts_with(guide.topic) && line.ends_with(guide.summary)
        };
        assert!(
            list.stdout.lines().any(|line| is_its_line(&line)),
            "{}",
            guide.topic
        );
    }
}

#[test]
fn an_unknown_topic_is_refused_with_the_topics() {
    let finished = Home::new().run(&["guide", "polices"]);
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(2), ""));
    assert!(
        finished.stderr.contains("did you mean `policies`?"),
        "{}",
        finished.stderr
    );
    let finished = Home::new().run(&["guide", "xyz"]);
    assert_eq!(finished.code, Some(2));
    for guide in GUIDES {
        assert!(finished.stderr.contains(guide.topic), "{}", finished.stderr);
    }
}

#[test]
fn guides_fit_a_terminal() {
    for guide in GUIDES {
        for line in guide.text.lines() {
            assert!(
                line.chars().count() <= MAX_COLUMNS,
                "{}: {line}",
                guide.topic
            );
        }
    }
}

#[test]
fn the_readme_is_short() {
    let words = read(&root().join("README.md")).split_whitespace().count();
    assert!(words <= MAX_README_WORDS, "{words} words");
}

#[test]
fn links_lead_to_files_that_exist() {
    for document in documents() {
        let text = read(&document);
        for link in links(&text) {
            let path = link.split('#').next().unwrap();
            if path.is_empty() || link.contains("://") || link.contains("::") {
                continue;
            }
            let target = document.parent().unwrap().join(path);
            assert!(target.exists(), "{}: {link}", document.display());
        }
    }
}

#[test]
fn sources_that_documents_name_exist() {
    let is_in_path = |letter: char| letter.is_ascii_alphanumeric() || "/_.-".contains(letter);
    for document in documents() {
        let text = read(&document);
        for folder in ["src/", "tests/", "config/", "benches/", ".github/", ".ci/"] {
            for quoted in text.split('`').filter(|quoted| quoted.starts_with(folder)) {
                let end = quoted.find(|letter| !is_in_path(letter));
                let path = &quoted[..end.unwrap_or(quoted.len())];
                assert!(root().join(path).exists(), "{}: {path}", document.display());
            }
        }
    }
}

#[test]
fn the_table_of_flags_has_the_flags_of_the_program() {
    let guide = read(&root().join("src/guide/configuration.md"));
    let (_, section) = guide.split_once("\n## Flags\n").unwrap();
    let rows = section.split("\n## ").next().unwrap();
    let first_cells: String = rows
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| row.split('`').next())
        .collect();
    let mut program = Cli::command();
    let help = program.render_long_help().to_string();
    let (_, of_help) = help.split_once("Options:").unwrap_or(("", &help));
    let flags: BTreeSet<&str> = program
        .get_arguments()
        .filter(|argument| !argument.is_hide_set())
        .filter_map(clap::Arg::get_long)
        .filter(|name| !["help", "version"].contains(name))
        .collect();
    assert_eq!(options(&first_cells), flags);
    assert!(options(of_help).is_superset(&flags));
}

#[test]
fn the_table_of_commands_has_the_commands_of_the_program() {
    let guide = read(&root().join("src/guide/commands.md"));
    let rows = guide.lines().filter_map(|line| line.strip_prefix("| `"));
    let named: BTreeSet<&str> = rows
        .map(|row| row.split([' ', '`']).next().unwrap())
        .filter(|name| !name.starts_with("--"))
        .collect();
    let program = Cli::command();
    let commands: BTreeSet<&str> = program
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(clap::Command::get_name)
        .filter(|name| *name != "help")
        .collect();
    assert_eq!(named, commands);
}

#[test]
fn links_and_options_are_found() {
    let text = "See [a](b.md#c) and [d].\n\n[d]: e.md\n";
    assert_eq!(links(text), ["b.md#c", "e.md"]);
    assert_eq!(
        options("| `--max-memory SIZE` | -- x --port=1"),
        BTreeSet::from(["max-memory", "port"])
    );
}
