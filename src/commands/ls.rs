//! `ls`: the cached responses as a table.

use caching_proxy::{
    admin::ListRequest,
    cache::{ListOrder, ListedKey, Listing},
    cli::{LsArgs, Sort},
    control,
};

use super::text::{cut, fresh, plain, print_json, seconds, size, width};
use crate::{
    failure::Failure,
    terminal::{counted, print, say},
};

/// The least width of a path, in characters.
const LEAST_PATH: usize = 16;

pub(super) fn run(ls: LsArgs) -> Result<(), Failure> {
    let ask = ListRequest {
        path: ls.path.clone(),
        order: match ls.sort {
            Sort::Path => ListOrder::Path,
            Sort::Size => ListOrder::Size,
            Sort::Age => ListOrder::Age,
            Sort::Hits => ListOrder::Hits,
            Sort::Fresh => ListOrder::Fresh,
        },
        limit: ls.limit,
        offset: ls.offset,
    };
    let body = serde_json::to_vec(&ask).map_err(|error| Failure::Print(error.into()))?;
    let listing: Listing = control::choose(ls.proxy.port)?.ask("POST", "/list", &body)?;
    if ls.proxy.json {
        return print_json(&listing);
    }
    match (listing.total, ls.path) {
        (0, None) if listing.not_read_on_disk == 0 => print("the cache is empty\n"),
        (0, None) => print("nothing is cached in memory\n"),
        (0, Some(path)) => print(&format!("no cached response matches {}\n", plain(&path))),
        _ => print(&table(&listing.entries, width())),
    }
    for note in notes(&listing, ls.offset) {
        say(&note);
    }
    Ok(())
}

/// What the list does not have.
fn notes(listing: &Listing, offset: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if listing.more > 0 {
        let next = offset + listing.entries.len();
        let how = match (listing.is_cut, listing.entries.is_empty()) {
            (false, _) => format!("list them with --offset {next} or a larger --limit"),
            (true, false) => {
                format!("the list ends here because it is too long; go on with --offset {next}")
            }
            (true, true) => {
                "they are too many to list; a pattern such as '/products/*' narrows the list"
                    .to_owned()
            }
        };
        notes.push(format!("{} more; {how}", listing.more));
    }
    if listing.not_read_on_disk > 0 {
        notes.push(format!(
            "{} on disk not looked at: reading the store took too long; a whole path without * is found at once",
            counted(listing.not_read_on_disk, "response", "responses")
        ));
    }
    notes
}

/// Columns as wide as their content; the last one takes the rest of the width.
fn table(entries: &[ListedKey], width: Option<usize>) -> String {
    let head = [
        "STATUS",
        "SIZE",
        "AGE",
        "FRESH FOR",
        "HITS",
        "VARIANTS",
        "FOR",
    ];
    let rows: Vec<[String; 7]> = entries.iter().map(cells).collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([head[column].len()]).max().unwrap_or_default()
        })
        .collect();
    let before: usize = widths.iter().map(|width| width + 2).sum();
    let room = width.map(|width| width.saturating_sub(before).max(LEAST_PATH));
    let mut text = line(&head.map(str::to_owned), &widths, "PATH");
    for (row, entry) in rows.iter().zip(entries) {
        let path = path(entry);
        let path = room.map_or_else(|| path.clone(), |room| cut(&path, room));
        text.push_str(&line(row, &widths, &path));
    }
    text
}

fn line(cells: &[String; 7], widths: &[usize], path: &str) -> String {
    let mut line = String::new();
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        // FOR is a word; the others are numbers.
        match column {
            6 => line.push_str(&format!("{cell:<width$}  ")),
            _ => line.push_str(&format!("{cell:>width$}  ")),
        }
    }
    format!("{line}{path}\n")
}

fn cells(entry: &ListedKey) -> [String; 7] {
    [
        entry.status.to_string(),
        size(entry.body_bytes),
        seconds(entry.age_seconds),
        fresh(entry.fresh_seconds, entry.is_stale),
        entry.hits.to_string(),
        entry.variants.to_string(),
        if entry.is_own { "own" } else { "all" }.to_owned(),
    ]
}

fn path(entry: &ListedKey) -> String {
    let mut path = plain(&entry.path);
    if entry.method != "GET" {
        path = format!("{} {path}", entry.method);
    }
    if let Some(host) = &entry.host {
        path.push_str(&format!("  ({})", plain(host)));
    }
    if let Some(origin) = &entry.origin {
        path.push_str(&format!("  at {}", plain(origin)));
    }
    if entry.is_on_disk {
        path.push_str("  (on disk)");
    }
    if let Some(provenance) = &entry.provenance {
        path.push_str(&format!("  ({})", plain(provenance)));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(path: &str) -> ListedKey {
        ListedKey {
            path: path.to_owned(),
            host: None,
            origin: None,
            method: "GET".to_owned(),
            status: 200,
            body_bytes: 1536,
            memory_bytes: 2000,
            age_seconds: 12,
            fresh_seconds: Some(48),
            is_stale: false,
            hits: 3,
            variants: 1,
            is_own: false,
            is_on_disk: false,
            provenance: None,
        }
    }

    #[test]
    fn a_list_that_ends_before_its_end_says_why() {
        let listing = |is_cut, entries: &[ListedKey], not_read_on_disk| Listing {
            entries: entries.to_vec(),
            total: 9,
            more: 8,
            is_cut,
            not_read_on_disk,
            ..Listing::default()
        };
        let one = [listed("/a")];
        let more = notes(&listing(false, &one, 0), 0);
        assert_eq!(
            more,
            ["8 more; list them with --offset 1 or a larger --limit"]
        );
        let long = notes(&listing(true, &one, 0), 5).concat();
        assert!(long.contains("too long; go on with --offset 6"), "{long}");
        let many = notes(&listing(true, &[], 0), 5).concat();
        assert!(many.contains("a pattern"), "{many}");
        let not_read = notes(&listing(false, &one, 7), 0);
        assert!(not_read[1].starts_with("7 responses on disk not looked at"));
    }

    #[test]
    fn a_table_fits_the_terminal_and_is_whole_on_a_pipe() {
        let long = format!("/{}/end", "a".repeat(200));
        let entries = [listed(&long), listed("/b")];
        let narrow = table(&entries, Some(90));
        for line in narrow.lines() {
            assert!(line.chars().count() <= 90, "{line}");
        }
        assert!(
            narrow
                .lines()
                .nth(1)
                .is_some_and(|line| line.ends_with("a/end"))
        );
        assert!(table(&entries, None).contains(&long));
        assert_eq!(
            table(&entries[1..], None),
            "STATUS     SIZE  AGE  FRESH FOR  HITS  VARIANTS  FOR  PATH\n   \
             200  1.5 KiB  12s        48s     3         1  all  /b\n"
        );
    }
}
