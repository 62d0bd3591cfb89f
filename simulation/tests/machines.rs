//! That the machines of the simulation are the real ones. Retries, times and bounds are read from these;
//! here the steps that were taken are compared with those that may be taken, and what decides between
//! them with what it was when it was written down in Rust.

use std::collections::BTreeSet;

use simulation::How::{Fails, Goes};
use simulation::Machine::{Cleanup, Harvester};
use simulation::{Machine, Step, simulate};

/// States that no schedule comes to: there are no smoke tests and no queries.
const NOT_SIMULATED: [&str; 7] = [
    "Seed smoke test",
    "Run the queries",
    "Run query",
    "Check query",
    "Wait for the query",
    "Query ended",
    "Query not run",
];

/// Steps that no schedule takes, because what leads there cannot happen, or is not simulated.
const NOT_TAKEN: &[Step] = &[
    // What went wrong before is counted: after it nothing is clean, and nothing succeeds.
    (Harvester, "Clean up", Fails, "Run ended"),
    (Cleanup, "Find leftovers", Fails, "Clean"),
    (Cleanup, "Close run", Fails, "Clean"),
    (Cleanup, "Remove the destinations", Goes, "Clean"),
    // A look that failed is neither the end of the wait nor goes on behind a bucket.
    (
        Harvester,
        "Refresh statuses",
        Fails,
        "Nothing more to await",
    ),
    (Harvester, "Refresh statuses", Fails, "Refresh statuses"),
    (Harvester, "Refresh statuses", Fails, "Refreshed too often"),
    // Both branches of the wait end with an error.
    (
        Harvester,
        "Wait for the inventory reports",
        Goes,
        "Publish snapshot",
    ),
    // A distributed map fails only when it cannot begin an item, or make its result.
    (Harvester, "Discover the source buckets", Fails, "Clean up"),
    (Harvester, "Configure the source buckets", Fails, "Clean up"),
    (
        Cleanup,
        "Remove the inventory configurations",
        Fails,
        "Remove the destinations",
    ),
    (Cleanup, "Remove the destinations", Fails, "Clean"),
    (Cleanup, "Remove the destinations", Fails, "Close run"),
    (Cleanup, "Remove the destinations", Fails, "Find leftovers"),
    (Cleanup, "Remove the destinations", Fails, "Send summary"),
    (
        Cleanup,
        "Remove the destinations",
        Fails,
        "Something is left",
    ),
    // The Regions are read without a request.
    (Harvester, "Look up the Regions", Fails, "Clean up"),
    // No task is called until it has been called too often.
    (
        Harvester,
        "Configure inventories",
        Goes,
        "Give up the buckets",
    ),
    (Cleanup, "Remove inventories", Goes, "Configurations left"),
    (Cleanup, "Empty destination", Goes, "Empty destination"),
    (Cleanup, "Empty destination", Goes, "Destination left"),
    // No stack takes that long, no run is looked at that often, and no Cleanup finds 500 runs.
    (Harvester, "Create destination", Goes, "Region not covered"),
    (Harvester, "Refresh statuses", Goes, "Refreshed too often"),
    (Cleanup, "Delete destination", Goes, "Destination left"),
    (Cleanup, "Close run", Goes, "Something is left"),
];

/// Steps that some thousand schedules may come to or not: a task stood still until its time was up, somebody
/// cleaned up behind the Harvester's back, or a Cleanup of all runs met more than one trouble.
const RARE: &[Step] = &[
    (
        Harvester,
        "Configure inventories",
        Fails,
        "Account not configured",
    ),
    (
        Harvester,
        "Create destination",
        Fails,
        "Destination not created",
    ),
    (Harvester, "Create the destinations", Fails, "Clean up"),
    (
        Harvester,
        "Discover buckets",
        Fails,
        "Account not discovered",
    ),
    (Cleanup, "Close run", Fails, "Something is left"),
    (Cleanup, "Remove inventories", Goes, "Remove inventories"),
    (Harvester, "Refresh statuses", Goes, "Refresh statuses"),
    (
        Harvester,
        "Configure inventories",
        Goes,
        "Configure inventories",
    ),
    (Cleanup, "Close run", Fails, "Find leftovers"),
    (Cleanup, "Find leftovers", Goes, "Something is left"),
    (Cleanup, "Remove the destinations", Goes, "Find leftovers"),
    (Cleanup, "Send summary", Fails, "Find leftovers"),
];

/// What decides, of choices their conditions, of waits their seconds, of maps their mode.
const DECISIONS: &[(Machine, &str, &[&str])] = &[
    (Harvester, "Discover the source buckets", &["DISTRIBUTED"]),
    (
        Harvester,
        "Every account discovered?",
        &["$exists($states.input.error)"],
    ),
    (Harvester, "Create the destinations", &["INLINE"]),
    (
        Harvester,
        "Destination settled?",
        &[
            "$states.input.state != 'in_progress'",
            "$states.input.polls >= 20",
        ],
    ),
    (
        Harvester,
        "Wait for the destination stack",
        &["$min([60, 10 * $states.input.polls])"],
    ),
    (Harvester, "Smoke test?", &["$is_smoke_test"]),
    (Harvester, "Configure the source buckets", &["DISTRIBUTED"]),
    (
        Harvester,
        "Every bucket configured?",
        &["$states.input.finished", "$states.input.calls < 100"],
    ),
    (
        Harvester,
        "Every account configured?",
        &["$exists($states.input.error)"],
    ),
    (
        Harvester,
        "Wait for the next refresh",
        &["$max([$min([$status_refresh_seconds, \
           10 * $power(2, $min([$states.input.calls, 10]))]), 2 * $states.input.calls])"],
    ),
    (
        Harvester,
        "Anything more to await?",
        &[
            "$states.input.calls >= 1200",
            "$states.input.cursor != null",
            "$states.input.is_over",
        ],
    ),
    (Harvester, "Any queries?", &["$count($states.input) > 0"]),
    (Harvester, "Run the queries", &["DISTRIBUTED"]),
    (
        Harvester,
        "Query ended?",
        &[
            "$states.input.state != 'running'",
            "$states.input.looks >= 300",
        ],
    ),
    (
        Harvester,
        "Wait for the query",
        &["$min([60, 2 * $states.input.looks])"],
    ),
    (
        Harvester,
        "Every query ended?",
        &["$exists($states.input.error)"],
    ),
    (Harvester, "Did the run succeed?", &["$failure = null"]),
    (Cleanup, "Anything left?", &["$run_id = null"]),
    (
        Cleanup,
        "Remove the inventory configurations",
        &["DISTRIBUTED"],
    ),
    (
        Cleanup,
        "Every configuration removed?",
        &["$states.input.finished", "$states.input.calls < 100"],
    ),
    (Cleanup, "Remove the destinations", &["DISTRIBUTED"]),
    (
        Cleanup,
        "Destination empty?",
        &["$states.input.finished", "$states.input.calls < 60"],
    ),
    (
        Cleanup,
        "Destination deleted?",
        &[
            "$states.input.state = 'deleted'",
            "$states.input.calls >= 60",
            "$states.input.state = 'not_empty'",
            "$states.input.failures >= 4",
        ],
    ),
    (
        Cleanup,
        "Wait for the stack to go",
        &["$min([60, 5 * $states.input.calls])"],
    ),
    (
        Cleanup,
        "Is the run clean?",
        &["$unclean_accounts + $unclean_regions = 0"],
    ),
    (
        Cleanup,
        "Are the recipients told?",
        &["$is_summary_due or $told_failure != null"],
    ),
    (
        Cleanup,
        "Another run?",
        &[
            "$asked_run_id != null or $asked_execution_arn != null",
            "$runs >= 500",
        ],
    ),
    (Cleanup, "Everything clean?", &["$unclean = 0"]),
];

#[test]
fn schedules_take_the_steps_of_the_real_machines_and_no_others() {
    let mut taken = BTreeSet::new();
    for seed in 0..3_000 {
        taken.extend(simulate(seed, None, false).steps);
    }
    let is_simulated = |(_, from, _, to): &Step| {
        let (from, to) = (NOT_SIMULATED.contains(from), NOT_SIMULATED.contains(to));
        !from && !to
    };
    let steps = Machine::ALL.into_iter().flat_map(Machine::steps);
    let mut expected: BTreeSet<Step> = steps.filter(is_simulated).collect();
    for step in NOT_TAKEN {
        assert!(expected.remove(step), "there is no step {step:?}");
    }
    let wrong: Vec<&Step> = taken.difference(&expected).collect();
    assert!(
        wrong.is_empty(),
        "not in the machines, or said not to be taken: {wrong:#?}"
    );
    for step in RARE {
        assert!(expected.contains(step), "there is no step {step:?}");
        taken.insert(*step);
    }
    let missing: Vec<&Step> = expected.difference(&taken).collect();
    assert!(missing.is_empty(), "never taken: {missing:#?}");
}

#[test]
fn what_decides_is_what_it_was_written_down_as() {
    let found = Machine::ALL.into_iter().flat_map(|machine| {
        let decisions = machine.decisions().into_iter();
        decisions.map(move |(name, decides)| (machine, name, decides))
    });
    let found: BTreeSet<(Machine, &str, Vec<&str>)> = found.collect();
    let written = DECISIONS.iter();
    let written: BTreeSet<(Machine, &str, Vec<&str>)> = written
        .map(|(machine, name, decides)| (*machine, *name, decides.to_vec()))
        .collect();
    let differ: Vec<_> = found.symmetric_difference(&written).collect();
    assert!(
        differ.is_empty(),
        "change `machines.rs` with the machines: {differ:#?}"
    );
}
