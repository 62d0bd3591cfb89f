//! The history of an execution ends at 25,000 events, and with it the execution. Counted here from
//! the definitions, for runs of any length and any number of accounts: loops go round as often as
//! their choices let them, maps over Regions have an item for each Region there is.

use serde_json::Value;

use crate::documents::{Machine, Scope, machines};
use crate::machines::{counted_bound, successors};

/// Regions of a run: all of AWS's standard partition.
const REGIONS: u64 = 34;
/// Where an execution ends.
const LIMIT: u64 = 25_000;
/// Events of a repeated attempt: it timed out, was scheduled, started and submitted again.
const EVENTS_PER_ATTEMPT: u64 = 4;

/// Whether `to` can be reached from `from` without leaving the scope.
fn leads_to(scope: &Scope, from: &str, to: &str) -> bool {
    let mut ahead = successors(&scope.states[from]);
    let mut seen = Vec::new();
    while let Some(name) = ahead.pop() {
        if name == to {
            return true;
        }
        if !seen.contains(&name) {
            seen.push(name);
            ahead.extend(successors(&scope.states[name]));
        }
    }
    false
}

/// How long a run goes on.
#[derive(Clone, Copy)]
enum Length {
    /// As long as the loops and retries let it.
    Longest,
    /// These seconds of waiting for reports, at this refresh interval, and the cleanup of that one run.
    Waits { seconds: u64, interval: u64 },
}

/// How often a state is entered: once, or as often as the choices on its loops count.
fn visits(scope: &Scope, name: &str, length: Length) -> u64 {
    if !leads_to(scope, name, name) {
        return 1;
    }
    let bound = scope
        .states
        .iter()
        .filter(|(choice, _)| leads_to(scope, name, choice) && leads_to(scope, choice, name))
        .filter_map(|(_, state)| counted_bound(state))
        .max()
        .unwrap_or_else(|| panic!("{} / {name} is on a loop that nothing counts", scope.path));
    let is_refresh = scope.states.contains_key("Wait for the next refresh");
    match length {
        Length::Waits { seconds, interval } if is_refresh => {
            bound.min(rounds_in(seconds, interval))
        }
        Length::Waits { .. } if scope.states.contains_key("Another run?") => 1,
        _ => bound,
    }
}

/// Seconds of the wait before a refresh, as the machine computes them.
fn pause(round: u64, interval: u64) -> u64 {
    u64::max(u64::min(interval, 10 << round.min(10)), 2 * round)
}

/// Rounds of the refresh loop that begin within some seconds.
fn rounds_in(seconds: u64, interval: u64) -> u64 {
    let mut left = seconds;
    let mut round = 0;
    while let Some(rest) = left.checked_sub(pause(round, interval)) {
        left = rest;
        round += 1;
    }
    round + 1
}

/// Events of one visit, those inside of it included.
fn events(machine: &Machine, scope: &Scope, name: &str, state: &Value, length: Length) -> u64 {
    let inner = |path: &str| -> u64 {
        let scopes = machine.scopes();
        scopes
            .iter()
            .filter(|scope| scope.path == path)
            .map(|scope| total(machine, scope, length))
            .sum()
    };
    let path = format!("{} / {name}", scope.path);
    match state["Type"].as_str().expect("a state has a type") {
        "Task" => {
            // Entered, scheduled, started, submitted, succeeded, exited; retries of errors are rare
            // and covered by the margin, but the callback times out as a matter of course.
            let timeouts = state["Retry"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|retrier| retrier["ErrorEquals"] == serde_json::json!(["States.Timeout"]))
                .filter_map(|retrier| retrier["MaxAttempts"].as_u64())
                .sum::<u64>();
            let timeouts = match (length, state["TimeoutSeconds"].as_u64()) {
                (Length::Waits { seconds, .. }, Some(timeout)) => {
                    timeouts.min(seconds.div_ceil(timeout))
                }
                _ => timeouts,
            };
            6 + timeouts * EVENTS_PER_ATTEMPT
        }
        "Map" if state["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED" => 4,
        // Each item starts and ends.
        "Map" => 4 + REGIONS * (2 + inner(&path)),
        "Parallel" => 4 + inner(&path),
        _ => 2,
    }
}

fn total(machine: &Machine, scope: &Scope, length: Length) -> u64 {
    let states = scope.states.iter();
    states
        .map(|(name, state)| {
            visits(scope, name, length) * events(machine, scope, name, state, length)
        })
        .sum()
}

#[test]
fn the_longest_history_fits_with_a_tenth_to_spare() {
    for machine in machines() {
        let scope = machine.scopes().remove(0);
        let events = total(&machine, &scope, Length::Longest);
        assert!(
            events * 10 <= LIMIT * 9,
            "{}: {events} events",
            machine.name
        );
    }
}

/// The budget of a run as most are: all accounts there may be, all Regions, the default deadline of
/// 50 hours and the default refresh interval. Destination stacks are looked at as often as they may be.
#[test]
fn the_history_of_a_long_run_over_5000_accounts_stays_under_10000_events() {
    let wait = Length::Waits {
        seconds: 50 * 3_600,
        interval: 30 * 60,
    };
    for machine in machines() {
        // Of a map over accounts nothing but the map itself is in the history, so that their number,
        // 5,000 or any other, does not enter.
        let scope = machine.scopes().remove(0);
        let events = total(&machine, &scope, wait);
        assert!(events < 10_000, "{}: {events} events", machine.name);
    }
}

#[test]
fn maps_over_accounts_and_queries_keep_their_history_to_themselves() {
    for machine in machines() {
        for state in machine.states() {
            let Some(processor) = state.body.get("ItemProcessor") else {
                continue;
            };
            let is_inline = processor["ProcessorConfig"]["Mode"] == "INLINE";
            assert!(
                !is_inline || state.name == "Create the destinations",
                "{} puts its items into the history",
                state.path
            );
        }
    }
}

#[test]
fn short_refresh_intervals_stretch_over_the_longest_wait() {
    let [harvester, _] = machines();
    let wait = harvester
        .states()
        .into_iter()
        .find(|state| state.name == "Wait for the next refresh")
        .expect("the Harvester refreshes at intervals");
    assert_eq!(
        wait.body["Seconds"],
        "{% $max([$min([$status_refresh_seconds, 10 * $power(2, $min([$states.input.calls, 10]))]), \
         2 * $states.input.calls]) %}"
    );
    let scope = harvester
        .scopes()
        .into_iter()
        .find(|scope| scope.states.contains_key("Wait for the next refresh"))
        .unwrap();
    let rounds = counted_bound(&scope.states["Anything more to await?"]).unwrap();
    // The shortest interval that a run input may ask for.
    let interval = 60;
    let seconds: u64 = (0..rounds).map(|round| pause(round, interval)).sum();
    let fortnight = 14 * 24 * 3_600;
    assert!(
        seconds > fortnight,
        "{rounds} rounds last {seconds} seconds"
    );

    let callback = harvester
        .states()
        .into_iter()
        .find(|state| state.name == "Await inventories")
        .expect("the Harvester awaits a callback");
    let attempts =
        callback.body["Retry"].as_array().unwrap().last().unwrap()["MaxAttempts"].as_u64();
    let waited = attempts.unwrap() * callback.body["TimeoutSeconds"].as_u64().unwrap();
    assert!(
        waited > fortnight,
        "the callback is awaited for {waited} seconds only"
    );
    let whole = harvester.definition["TimeoutSeconds"].as_u64().unwrap();
    assert!(
        whole > fortnight + 2 * 24 * 3_600,
        "no time is left for queries and Cleanup"
    );
}
