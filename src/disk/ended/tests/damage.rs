//! Logs that were changed, cut, exchanged or removed.

use std::sync::Arc;

use crate::disk::{
    ended::{
        header::{LogMark, ROWS_AT},
        log::EndedLog,
        log_file::NAME,
        row::EndedRow,
        tests::steps::{Known, SECRET, check_left, random, run, steps},
    },
    files::faulty::FaultyFiles,
};

fn after(seed: u64) -> (Arc<FaultyFiles>, Known, Vec<LogMark>) {
    let files = FaultyFiles::new();
    let (known, marks) = run(&files, &steps(seed, 40), 0);
    (files, known, marks)
}

/// The end of what is not zero.
fn end_of(files: &FaultyFiles) -> usize {
    let bytes = files.bytes(NAME).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

#[test]
fn no_flipped_bit_brings_anything_back() {
    let (files, known, marks) = after(1);
    for at in (0..end_of(&files)).step_by(3) {
        let damaged = files.after_kill();
        damaged.flip_bit(NAME, at, u32::try_from(at % 8).unwrap());
        // Newer segments would show that rows are missing; without them, the rows alone have to.
        let is_same = check_left(&damaged, &known, &marks[..0]);
        assert!(
            !is_same || (40..512).contains(&at) || (568..1024).contains(&at),
            "{at}"
        );
    }
}

#[test]
fn no_random_damage_brings_anything_back() {
    let mut seed = 9;
    for round in 0..100 {
        let (files, known, marks) = after(round % 4);
        let end = end_of(&files);
        let mut below = |bound: usize| usize::try_from(random(&mut seed)).unwrap() % bound;
        for _ in 0..=below(3) {
            let at = below(end);
            match below(4) {
                0 => files.flip_bit(NAME, at, 3),
                1 => {
                    let noise: Vec<u8> = (0..1 + below(900))
                        .map(|_| u8::try_from(below(256)).unwrap())
                        .collect();
                    files.overwrite(NAME, at, &noise);
                }
                2 => {
                    let bytes = 1 + below(2000);
                    files.overwrite(NAME, at, &vec![0; bytes]);
                }
                _ => {
                    let bytes = files.bytes(NAME).unwrap();
                    let from = below(end);
                    files.overwrite(NAME, at, &bytes[from..from + below(end - from)]);
                }
            }
        }
        check_left(&files, &known, &marks);
    }
}

#[test]
fn a_shorter_log_than_the_newest_segment_has_seen_is_lost() {
    let (files, known, marks) = after(1);
    let end = end_of(&files);
    for bytes in (0..end).step_by(7).chain(end - 9..end) {
        let cut = files.after_kill();
        cut.truncate(NAME, bytes);
        assert!(!check_left(&cut, &known, &marks), "{bytes}");
    }
}

#[test]
fn an_older_copy_of_the_log_is_lost() {
    let files = FaultyFiles::new();
    let (mut log, _) = EndedLog::open(files.clone(), &SECRET, &[]).unwrap();
    let older = files.bytes(NAME).unwrap();
    log.append_all(7).unwrap();
    let mark = log.mark();
    files.put(NAME, &older);
    let (log, before) = EndedLog::open(files.after_kill(), &SECRET, &[mark]).unwrap();
    assert!(before.was_lost && log.id() != mark.id);
    let (log, before) = EndedLog::open(files, &SECRET, &[LogMark { count: 1, ..mark }]).unwrap();
    assert!(!before.was_lost && log.id() == mark.id);
}

#[test]
fn a_missing_log_or_one_of_another_secret_is_lost() {
    let files = FaultyFiles::new();
    let (log, before) = EndedLog::open(files.clone(), &SECRET, &[]).unwrap();
    assert!(!before.was_lost && !before.are_notes_lost && before.run == 1);
    let mark = log.mark();
    let (other, before) = EndedLog::open(files.after_kill(), &[8; 32], &[mark]).unwrap();
    assert!(before.was_lost && before.are_notes_lost && other.id() != mark.id);
    assert_eq!(before.run, 2);
    files.delete(NAME);
    let (other, before) = EndedLog::open(files, &SECRET, &[mark]).unwrap();
    assert!(before.was_lost && other.id() != mark.id);
    // Files of bodies are numbered by the run.
    assert!(before.run > 1 << 22 && before.run < 1 << 24);
}

#[test]
fn a_lost_row_in_the_middle_is_noticed_and_sequence_numbers_and_runs_go_on() {
    let files = FaultyFiles::new();
    let (mut log, _) = EndedLog::open(files.clone(), &SECRET, &[]).unwrap();
    for seq in 1..=3 {
        let resources = &[seq * 17];
        log.append(&[EndedRow::Resources { seq, resources }])
            .unwrap();
    }
    files.overwrite(NAME, ROWS_AT + 48, &[0; 48]);
    let (mut log, before) = EndedLog::open(files.clone(), &SECRET, &[]).unwrap();
    assert!(before.was_lost && before.run == 2);
    log.append_all(9).unwrap();
    files.overwrite(NAME, ROWS_AT, &[1]);
    let (_, before) = EndedLog::open(files, &SECRET, &[]).unwrap();
    assert!(before.was_lost && before.run == 3 && before.last_seq == 9);
}
