//! Processes that are killed, power cuts, and operations that fail.

use crate::disk::{
    ended::{
        log::EndedLog,
        row::EndedRow,
        tests::steps::{SECRET, check_left, run, steps},
    },
    files::faulty::{Failure, Fault, FaultyFiles, Operation},
};

#[test]
fn after_a_kill_at_any_operation_what_was_answered_has_ended() {
    for seed in 0..2 {
        let steps = steps(seed, 40);
        let files = FaultyFiles::new();
        run(&files, &steps, 0);
        for stop in 0..=files.operations() {
            let files = FaultyFiles::new();
            files.stop_after(stop);
            let (known, marks) = run(&files, &steps, 0);
            let is_same = check_left(&files.after_kill(), &known, &marks);
            assert!(
                is_same || marks.is_empty(),
                "nothing is lost by a kill: {stop}"
            );
        }
    }
}

#[test]
fn after_a_power_cut_at_any_operation_what_was_answered_has_ended() {
    for seed in 2..3 {
        let steps = steps(seed, 40);
        let files = FaultyFiles::new();
        run(&files, &steps, 0);
        for stop in 0..files.operations() {
            let files = FaultyFiles::new();
            files.fail(Fault {
                operation: Operation::Any,
                nth: stop,
                times: 1,
                failure: Failure::PowerCut,
            });
            let (known, marks) = run(&files, &steps, 0);
            for cut in 0..4 {
                let left = files.after_power_cut(stop * 100 + cut);
                let is_same = check_left(&left, &known, &marks);
                assert!(is_same || marks.is_empty(), "{stop} {cut}");
            }
        }
    }
}

#[test]
fn after_any_operation_has_failed_what_was_answered_has_ended() {
    let steps = steps(3, 30);
    let files = FaultyFiles::new();
    run(&files, &steps, 0);
    let failures = [
        (Failure::Short(700), 1),
        (Failure::NoSpace, 1),
        (Failure::Io, 1),
        (Failure::Io, 3),
        (Failure::ReadOnly, 1),
    ];
    for nth in 0..files.operations() {
        for (failure, times) in failures {
            let files = FaultyFiles::new();
            files.fail(Fault {
                operation: Operation::Any,
                nth,
                times,
                failure,
            });
            let (known, marks) = run(&files, &steps, 3);
            let is_same = check_left(&files.after_kill(), &known, &marks);
            assert!(is_same, "one failure loses nothing: {nth} {failure:?}");
            check_left(&files.after_power_cut(nth), &known, &marks);
        }
    }
}

#[test]
fn after_a_kill_within_any_write_what_was_answered_has_ended() {
    let steps = steps(5, 40);
    for nth in 0.. {
        for bytes in [1, 20, 47, 100, 512, 600, 4096] {
            let files = FaultyFiles::new();
            files.fail(Fault {
                operation: Operation::Write,
                nth,
                times: 1,
                failure: Failure::Killed(bytes),
            });
            let (known, marks) = run(&files, &steps, 0);
            if !files.has_stopped() {
                assert!(nth > 20, "all writes were failed");
                return;
            }
            check_left(&files.after_kill(), &known, &marks);
        }
    }
}

#[test]
fn what_a_failed_write_has_left_behind_is_not_taken_for_damage() {
    let files = FaultyFiles::new();
    let (mut log, _) = EndedLog::open(files.clone(), &SECRET, &[]).unwrap();
    files.fail(Fault {
        operation: Operation::Sync,
        nth: 0,
        times: 1,
        failure: Failure::Io,
    });
    let (long, short) = (&[1, 2, 3, 4, 5], &[6]);
    let row = |resources| EndedRow::Resources { seq: 9, resources };
    log.append(&[row(long), row(long)]).unwrap_err();
    log.append(&[row(short)]).unwrap();
    let (_, before) = EndedLog::open(files, &SECRET, &[log.mark()]).unwrap();
    assert!(!before.was_lost && before.set.ends(6, 0, 9) && !before.set.ends(1, 0, 9));
}

#[test]
fn rows_that_a_failed_sync_has_left_unsynced_are_durable_when_they_were_read() {
    let files = FaultyFiles::new();
    let (mut log, _) = EndedLog::open(files.clone(), &SECRET, &[]).unwrap();
    files.fail(Fault {
        operation: Operation::Sync,
        nth: 0,
        times: 1,
        failure: Failure::Io,
    });
    let row = EndedRow::Resources {
        seq: 9,
        resources: &[1],
    };
    log.append(&[row]).unwrap_err();
    let files = files.after_kill();
    let (_, before) = EndedLog::open(files.clone(), &SECRET, &[]).unwrap();
    assert!(before.set.ends(1, 0, 9));
    for seed in 0..16 {
        let (_, before) = EndedLog::open(files.after_power_cut(seed), &SECRET, &[]).unwrap();
        assert!(before.set.ends(1, 0, 9));
    }
}
