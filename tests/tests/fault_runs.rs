//! Two seeds of the runs under faults; `fault-runs` runs as many as wanted. A test target of its own:
//! the faults would disturb everything else in the same embedded AWS.

use tests::{check_fault_runs, fault_run, fault_table, test};

#[test]
fn runs_end_and_tell_the_truth_while_aws_misbehaves() {
    test(async |platform| {
        let mut runs = Vec::new();
        for seed in [3, 4] {
            runs.push(fault_run(platform, seed).await?);
        }
        eprintln!("{}", fault_table(&runs));
        for run in &runs {
            assert!(run.faults.len() >= 8, "few faults: {:?}", run.faults);
        }
        check_fault_runs(&runs)
    });
}
