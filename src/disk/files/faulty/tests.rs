//! Tests of the files that fail.

use super::{state::SECTOR, *};

fn text(files: &FaultyFiles, name: &str) -> String {
    String::from_utf8(files.bytes(name).unwrap()).unwrap()
}

#[test]
fn after_a_power_cut_what_was_synced_is_there_and_other_sectors_may_be() {
    let files = FaultyFiles::new();
    let file = files.open("a", OpenMode::CreateNew).unwrap();
    file.write_all_at(&[b'o'; 2 * SECTOR], 0).unwrap();
    file.sync_data().unwrap();
    files.sync_dir("").unwrap();
    file.write_all_at(&[b'n'; 2 * SECTOR], 0).unwrap();
    files.rename("a", "b").unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..64 {
        let left = files.after_power_cut(seed);
        let name = left.names().pop().unwrap();
        let content = text(&left, &name);
        seen.insert((name, content[..1].to_owned(), content[1023..].to_owned()));
    }
    assert_eq!(seen.len(), 8);
    assert_eq!(text(&files.after_kill(), "b"), "n".repeat(2 * SECTOR));
}

#[test]
fn what_a_failed_sync_has_lost_a_later_sync_does_not_bring_back() {
    let files = FaultyFiles::new();
    let file = files.open("a", OpenMode::CreateNew).unwrap();
    files.sync_dir("").unwrap();
    file.set_len(1).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(b"x", 0).unwrap();
    let fault = Fault {
        operation: Operation::Sync,
        nth: 0,
        times: 1,
        failure: Failure::Io,
    };
    files.fail(fault);
    file.sync_data().unwrap_err();
    file.sync_data().unwrap();
    let lost = (0..16).any(|seed| text(&files.after_power_cut(seed), "a") == "\0");
    assert!(lost);
    file.write_all_at(b"x", 0).unwrap();
    file.sync_data().unwrap();
    assert!((0..16).all(|seed| text(&files.after_power_cut(seed), "a") == "x"));
}

#[test]
fn faults_happen_at_their_operation_and_a_killed_process_does_nothing_more() {
    let files = FaultyFiles::new();
    let file = files.open("a", OpenMode::CreateNew).unwrap();
    files.fail(Fault {
        operation: Operation::Write,
        nth: 1,
        times: 1,
        failure: Failure::Killed(2),
    });
    file.write_all_at(b"1234", 0).unwrap();
    file.write_all_at(b"5678", 4).unwrap_err();
    file.sync_data().unwrap_err();
    assert_eq!(text(&files.after_kill(), "a"), "123456");
    files.after_kill().set_total_bytes(8);
}

#[test]
fn a_full_disk_takes_no_more_bytes() {
    let files = FaultyFiles::new();
    files.set_total_bytes(4);
    let file = files.open("a", OpenMode::CreateNew).unwrap();
    file.write_all_at(b"1234", 0).unwrap();
    let full = file.write_all_at(b"5", 4).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    file.write_all_at(b"4321", 0).unwrap();
    assert_eq!(files.space().unwrap().free_bytes, 0);
}
