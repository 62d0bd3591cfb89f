//! Where a schedule begins: the estate, the inputs of the runs, and what will happen to both.

use serde_json::{Value, json};

use crate::inventory;
use crate::queues::{FILES, Replay};
use crate::world::{Chaos, Event, Refusal, Source, State};

pub(crate) const REGIONS: [&str; 2] = ["us-east-1", "eu-west-1"];
pub(crate) const HOST: &str = "999999999999";
pub(crate) const DEPLOYMENT: &str = "insights";
pub(crate) const CONSOLIDATED: &str = "insights-999999999999-us-east-1-consolidated";
const EARLIER: &str = "earlier-reports";
const ACCOUNTS: [&str; 2] = ["111111111111", "222222222222"];

/// Makes the estate and what will happen to it; gives the inputs of the runs, with their start.
pub(crate) fn estate(state: &mut State) -> Vec<(i64, Value)> {
    state.buckets.insert(CONSOLIDATED.to_owned());
    state.buckets.insert(EARLIER.to_owned());
    state.chaos = chaos(&mut state.rng);
    let mut existing = Vec::new();
    let count = state.rng.usize(1..=4);
    for number in 0..count {
        let name = format!("bucket-{number}");
        let is_unlistable = state.rng.u32(0..20) == 0;
        let source = Source {
            account: ACCOUNTS[state.rng.usize(0..2)].to_owned(),
            region: REGIONS[state.rng.usize(0..2)].to_owned(),
            exists: true,
            is_empty: state.rng.u32(0..12) == 0,
            open: true,
            listable: !is_unlistable,
            configurable: state.rng.u32(0..15) > 0,
        };
        state.sources.insert(name.clone(), source);
        if state.rng.u32(0..12) == 0 {
            let manifest = inventory::existing(state, &name, EARLIER);
            existing.push(json!({ "bucket": name, "manifest": manifest }));
        }
        if state.rng.u32(0..6) == 0 {
            let time = state.rng.i64(60..12_000);
            let event = match state.rng.u32(0..4) {
                0 => Event::Vanish(name),
                1 => Event::Close(name),
                2 => Event::Empty(name),
                _ => Event::RemoveConfiguration(name),
            };
            state.at(time, event);
        }
    }
    if state.rng.u32(0..15) == 0 {
        let region = REGIONS[state.rng.usize(0..2)].to_owned();
        state.failing_regions.insert(region);
    }
    if state.rng.u32(0..10) == 0 {
        let time = state.rng.i64(60..15_000);
        state.at(time, Event::CleanUp(json!({ "manual_cleanup": true })));
    }
    let runs = if state.rng.u32(0..5) == 0 { 2 } else { 1 };
    if state.rng.u32(0..6) == 0 {
        refuse(state, runs);
    }
    if state.rng.u32(0..20) == 0 {
        kill_many(state);
    }
    let mut inputs = Vec::new();
    let mut start = 0;
    for number in 0..runs {
        if state.rng.u32(0..4) == 0 {
            // Soon or late: in the first states, while it waits, or while it ends.
            let longest = [400, 4_000, 20_000][state.rng.usize(0..3)];
            let time = start + state.rng.i64(1..longest);
            let arn = format!("harvester:{number}");
            let with_nested = state.rng.bool();
            state.at(time, Event::Stop { arn, with_nested });
        }
        // What is refused for hours is not to be cut short by the deadline.
        let longest = if state.refusal.is_some() { 900 } else { 300 };
        inputs.push((
            start,
            json!({
                "run_id": format!("run{number}"),
                "accounts": ACCOUNTS.iter().map(|id| json!({ "id": id })).collect::<Vec<_>>(),
                "athena_table_name": format!("snapshot{number}"),
                "sender_email_address": "sender@example.com",
                "recipient_email_addresses": ["recipient@example.com"],
                "existing_inventories": existing,
                "inventory_timeout_minutes": state.rng.i64(60..longest),
                "status_refresh_minutes": state.rng.i64(15..120),
            }),
        ));
        start += state.rng.i64(0..9_000);
    }
    inputs
}

/// Has a permission be missing for so long that messages die, and somebody replay them, maybe too soon,
/// more than once, or never.
fn refuse(state: &mut State, runs: u32) {
    let run = format!("run{}", state.rng.u32(0..runs));
    let account = ACCOUNTS[state.rng.usize(0..2)];
    let destination = format!("{DEPLOYMENT}-{run}-");
    let (operation, about) = match state.rng.u32(0..7) {
        0 => ("GetObject", destination),
        1 => ("HeadObject", destination),
        2 => ("SendMessageBatch", FILES.to_owned()),
        3 => ("CompleteMultipartUpload", format!("inventory/{run}/")),
        4 => (
            "PutObject",
            format!("{CONSOLIDATED}/totals/{run}/{account}/"),
        ),
        5 => ("SendTaskSuccess", format!("token-{run}")),
        _ => ("SendEmail", String::new()),
    };
    let from = state.rng.i64(60..12_000);
    state.refusal = Some(Refusal {
        operation,
        about,
        from,
    });
    if state.rng.u32(0..4) > 0 {
        let time = from + state.rng.i64(9_000..30_000);
        state.at(time, Event::Mend);
    }
    for _ in 0..state.rng.u32(0..4) {
        let time = from + state.rng.i64(12_000..50_000);
        let which = match state.rng.u32(0..4) {
            0 => Replay::All,
            _ => Replay::Waiting,
        };
        state.at(time, Event::Replay(which));
    }
}

/// Has functions be killed for a while until no retry helps, at the beginning or in the middle.
fn kill_many(state: &mut State) {
    let latest = [5, 600, 12_000][state.rng.usize(0..3)];
    let from = state.rng.i64(0..latest);
    let until = from + state.rng.i64(100..10_000);
    let usual = state.chaos.killed;
    state.at(from, Event::Kill(4_000));
    state.at(until, Event::Kill(usual));
}

/// From a calm day to a bad one.
fn chaos(rng: &mut fastrand::Rng) -> Chaos {
    let some = |rng: &mut fastrand::Rng, most: u32| if rng.bool() { rng.u32(0..most) } else { 0 };
    if rng.u32(0..5) == 0 {
        return Chaos {
            slip: 200,
            ..Chaos::default()
        };
    }
    Chaos {
        throttled: some(rng, 300),
        answer_lost: some(rng, 100),
        repeated: some(rng, 200),
        killed: some(rng, 200),
        orphaned: some(rng, 100),
        stalled: some(rng, 300),
        duplicated: some(rng, 5_000),
        lost: some(rng, 1_000),
        slip: some(rng, 500),
    }
}
