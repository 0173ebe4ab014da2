//! Full disks, long logs, and what is bounded.

use std::sync::Arc;

use crate::disk::{
    ended::{
        header::LogHeader,
        log::{AppendError, EndedBefore, EndedLog},
        log_file::NAME,
        row::EndedRow,
        set::EndedAddress,
        tests::steps::SECRET,
    },
    ends::RuleAction,
    files::faulty::FaultyFiles,
};

fn open(files: &Arc<FaultyFiles>) -> (EndedLog, EndedBefore) {
    let (log, before) = EndedLog::open(files.clone(), &SECRET, &[]).unwrap();
    assert!(!before.was_lost);
    (log, before)
}

fn end_resource(log: &mut EndedLog, seq: u64, resource: u64) -> Result<(), AppendError> {
    let resources = &[resource];
    log.append(&[EndedRow::Resources { seq, resources }])?;
    Ok(())
}

fn length(files: &FaultyFiles) -> usize {
    files.bytes(NAME).unwrap().len()
}

#[test]
fn on_a_full_disk_everything_can_still_be_ended() {
    let files = FaultyFiles::new();
    let (mut log, _) = open(&files);
    files.set_total_bytes(files.used_bytes());
    let full = (1..).find(|&seq| match end_resource(&mut log, seq, seq) {
        Ok(()) => false,
        Err(AppendError::NoSpace) => true,
        Err(error) => panic!("{error}"),
    });
    let full = full.unwrap();
    for seq in full..full + 100 {
        log.append_all(seq).unwrap();
    }
    assert!(end_resource(&mut log, full + 200, 1).is_err());
    let (mut log, before) = open(&files);
    assert!(before.set.ends(1, 1, full + 99) && !before.set.ends(1, 1, full + 100));
    files.set_total_bytes(1 << 30);
    end_resource(&mut log, full + 200, 1).unwrap();
    assert!(open(&files).1.set.ends(1, 1, full + 200));
}

#[test]
fn a_log_is_made_on_a_disk_with_little_space() {
    let files = FaultyFiles::new();
    files.set_total_bytes(2000);
    let (mut log, _) = open(&files);
    log.append_all(7).unwrap();
    assert!(open(&files).1.set.ends(1, 1, 7));
}

#[test]
fn a_long_log_is_rewritten_without_what_is_not_needed() {
    let files = FaultyFiles::new();
    let (mut log, _) = open(&files);
    for seq in 1..=1000 {
        let resources: Vec<u64> = (0..1000).collect();
        let resources = &resources[..];
        log.append(&[EndedRow::Resources { seq, resources }])
            .unwrap();
        log.forget(seq - 1);
    }
    assert!(length(&files) <= 5 << 20, "{}", length(&files));
    let header = LogHeader::from_log(&files.bytes(NAME).unwrap()).unwrap();
    assert!(header.first_number > 500, "{header:?}");
    let mark = log.mark();
    let (log, before) = EndedLog::open(files, &SECRET, &[mark]).unwrap();
    assert!(
        log.id() == mark.id && before.set.ends(999, 0, 1000) && !before.set.ends(1000, 0, 1000)
    );
    assert_eq!(before.last_seq, 1000);
}

#[test]
fn a_log_of_which_all_is_needed_stays_bounded() {
    let files = FaultyFiles::new();
    let (mut log, _) = open(&files);
    for seq in 1..=1200 {
        let resources: Vec<u64> = (seq * 1000..(seq + 1) * 1000).collect();
        let resources = &resources[..];
        log.append(&[EndedRow::Resources { seq, resources }])
            .unwrap();
        let addresses = &[EndedAddress {
            resource: seq,
            partition: 1,
        }];
        log.append(&[EndedRow::Addresses { seq, addresses }])
            .unwrap();
    }
    assert!(length(&files) <= 12 << 20, "{}", length(&files));
    let (_, before) = open(&files);
    for seq in 1..=1200 {
        assert!(before.set.ends(seq * 1000 + 999, 0, seq) && before.set.ends(seq, 1, seq));
    }
    assert!(!before.set.ends(1, 1, 1201));
}

#[test]
fn a_large_group_is_written_as_one() {
    let files = FaultyFiles::new();
    let (mut log, _) = open(&files);
    let sequences: Vec<u64> = (1..=200_000).collect();
    let sequences = &sequences[..];
    log.append(&[EndedRow::Sequences { sequences }]).unwrap();
    let (_, before) = open(&files);
    assert!(sequences.iter().all(|seq| before.set.ends(0, 0, *seq)));
    assert!(!before.set.ends(0, 0, 200_001));
}

#[test]
fn a_rule_stays_in_force_until_it_is_done() {
    let files = FaultyFiles::new();
    let (mut log, _) = open(&files);
    let rule = |rule| EndedRow::Rule {
        seq: 5,
        action: RuleAction::Remove,
        rule,
    };
    let ids = log.append(&[rule(b"/a"), rule(b"/b")]).unwrap();
    let (mut log, before) = open(&files);
    let logged: Vec<_> = before.rules.iter().map(|logged| logged.id).collect();
    assert_eq!(logged, ids);
    let done = [
        EndedRow::Sequences { sequences: &[3] },
        EndedRow::RuleDone { rule: ids[0] },
    ];
    log.append(&done).unwrap();
    let (mut log, before) = open(&files);
    assert_eq!(before.rules.len(), 1);
    assert_eq!(before.rules[0].rule.as_deref(), Some(&b"/b"[..]));
    assert!(before.set.ends(0, 0, 3));
    let more = log.append(&[rule(&[b'x'; 70_000])]).unwrap();
    let (_, before) = open(&files);
    assert!(!ids.contains(&more[0]));
    assert_eq!(before.rules[1].rule, None);
}

#[test]
fn too_many_removing_rules_end_everything_before_the_oldest() {
    let files = FaultyFiles::new();
    let (mut log, _) = open(&files);
    for seq in 1..=66 {
        let action = RuleAction::Remove;
        let rule = b"/a";
        log.append(&[EndedRow::Rule { seq, action, rule }]).unwrap();
    }
    let (_, before) = open(&files);
    assert_eq!(before.rules.len(), 64);
    assert!(before.set.ends(0, 0, 2) && !before.set.ends(0, 0, 3));
}

#[test]
fn the_newest_notes_are_kept_and_it_is_known_that_older_ones_were_dropped() {
    let files = FaultyFiles::new();
    let (mut log, before) = open(&files);
    assert!(before.notes.is_empty() && !before.are_notes_lost);
    let notes: Vec<Vec<u8>> = (0..4097u32).map(|note| note.to_le_bytes().into()).collect();
    let rows: Vec<_> = notes.iter().map(|note| EndedRow::Note { note }).collect();
    log.append(&rows[..4096]).unwrap();
    let (mut log, before) = open(&files);
    assert!(before.notes == notes[..4096] && !before.are_notes_lost);
    log.append(&rows[4096..]).unwrap();
    let (mut log, before) = open(&files);
    assert!(before.notes == notes[1..] && before.are_notes_lost);
    log.append(&[EndedRow::Note { note: &[1; 20_000] }])
        .unwrap();
    assert_eq!(open(&files).1.notes, notes[1..]);
}

#[test]
fn notes_of_many_bytes_are_bounded_as_well() {
    let files = FaultyFiles::new();
    let (mut log, _) = open(&files);
    for note in 0..400u32 {
        let note = note.to_le_bytes().repeat(4000);
        log.append(&[EndedRow::Note { note: &note }]).unwrap();
    }
    let (_, before) = open(&files);
    assert_eq!(before.notes.len(), (2 << 20) / 16_000);
    assert_eq!(before.notes.last().unwrap()[..4], 399u32.to_le_bytes());
    assert!(before.are_notes_lost && length(&files) < 9 << 20);
}
