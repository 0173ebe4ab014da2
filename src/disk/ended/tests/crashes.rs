//! Processes that are killed, power cuts, and operations that fail.

use crate::disk::{
    ended::tests::steps::{check_left, run, steps},
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
            check_left(&files.after_kill(), &known, &marks);
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
