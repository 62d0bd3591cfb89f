//! Whole runs while AWS misbehaves: requests of functions are refused, dropped and late, functions
//! are killed, notifications go astray. A seed says which. Whatever happens, a run has to end, to
//! tell the truth, and to leave nothing behind.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use local_aws::{FaultKind, FaultPlan, FaultRule, MachineFaults, NotificationFaults};
use serde_json::json;
use shared::run::Outcome;
use shared::status::InventoryStatus;

use crate::{Ended, Platform, leftovers, snapshot_of};

/// Factor on the time until the message of a function that was killed comes back.
const REDELIVERY_SCALE: f64 = 0.003;

/// What became of one run.
#[derive(Debug, Default)]
pub struct FaultRun {
    /// Which faults.
    pub seed: u64,
    /// How many there were, by kind.
    pub faults: BTreeMap<String, u64>,
    /// `complete`, `partial` or `failed`; what the execution ended as where there was no such word.
    pub outcome: String,
    /// Rows that the buckets have for whom a sound report comes.
    pub rows_expected: usize,
    /// Rows of all buckets in the snapshot table.
    pub rows_found: usize,
    /// Rows of `done` buckets that are not in the table.
    pub rows_lost: usize,
    /// How long the run took.
    pub duration: Duration,
    /// Promises that it broke.
    pub broken: Vec<String>,
}

/// Every third run can be complete: each of its buckets gets a report and no notification is lost.
fn can_be_complete(seed: u64) -> bool {
    seed.is_multiple_of(3)
}

/// The faults of a seed.
pub fn fault_plan(seed: u64) -> FaultPlan {
    let rule = |kind, rate, at_most| FaultRule {
        service: None,
        operation: None,
        rate,
        at_most,
        kind,
    };
    let of_dynamodb = |rule| FaultRule {
        service: Some("dynamodb".to_owned()),
        ..rule
    };
    FaultPlan {
        seed,
        rules: vec![
            rule(FaultKind::KillBefore, 0.01, Some(3)),
            rule(FaultKind::KillAfter, 0.01, Some(3)),
            rule(FaultKind::HangAfter, 0.005, Some(1)),
            // Each takes as long as the clients wait for an answer.
            of_dynamodb(rule(FaultKind::Silence, 0.01, Some(1))),
            of_dynamodb(rule(FaultKind::StaleRead, 0.2, None)),
            rule(FaultKind::Throttle, 0.05, None),
            rule(FaultKind::Error500, 0.02, None),
            rule(FaultKind::Error503, 0.03, None),
            rule(FaultKind::DropBefore, 0.015, None),
            rule(FaultKind::DropAfter, 0.015, None),
            rule(FaultKind::Delay(700), 0.03, None),
        ],
        notifications: NotificationFaults {
            lost: if can_be_complete(seed) { 0.0 } else { 0.05 },
            duplicated: 0.15,
            late: 0.25,
            late_seconds: 8.0,
        },
        machines: MachineFaults {
            refused: 0.05,
            answer_lost: 0.03,
        },
        received_twice: 0.1,
        // Long enough for a silent connection, so that only what hangs is ended.
        function_seconds: Some(45),
    }
}

fn accounts(seed: u64) -> [String; 2] {
    [1, 2].map(|number| format!("53{seed:09}{number}"))
}

fn run_id(seed: u64) -> String {
    format!("faults{seed}")
}

fn estate(seed: u64) -> String {
    let [first, second] = accounts(seed);
    let (never, damaged) = if can_be_complete(seed) {
        ("{}", "{}")
    } else {
        ("{never: true}", "{wrong_file_md5: true}")
    };
    let run_id = run_id(seed);
    format!(
        r#"
accounts:
  - id: "{first}"
    buckets:
      - name: {run_id}-files
        region: eu-west-1
        objects: [{{pattern: "a/{{n:02}}", count: 60}}]
        faults: {{rows_per_file: 12}}
      - name: {run_id}-versions
        region: us-west-2
        versioning: true
        objects: [{{pattern: "b/{{n:02}}", count: 12, noncurrent: 2, delete_marker: true}}]
        faults: {{twice: true}}
      - name: {run_id}-never
        region: eu-west-1
        objects: [{{pattern: "c/{{n}}", count: 9}}]
        faults: {never}
  - id: "{second}"
    buckets:
      - name: {run_id}-home
        objects: [{{pattern: "d/{{n:02}}", count: 25}}]
      - name: {run_id}-damaged
        region: us-west-2
        objects: [{{pattern: "e/{{n}}", count: 8}}]
        faults: {damaged}
      - name: {run_id}-twice
        region: eu-west-1
        objects: [{{pattern: "f/{{n:02}}", count: 30}}]
        faults: {{twice: true, rows_per_file: 7}}
      - {{name: {run_id}-empty, region: us-west-2}}
input:
  other: {{run_id: {run_id}, inventory_timeout_minutes: 2, status_refresh_minutes: 1}}
"#
    )
}

/// Buckets of the estate.
const BUCKETS: usize = 7;

/// Runs one seed. The platform is one's own: faults meet everything that runs in it.
pub async fn fault_run(platform: &Platform, seed: u64) -> Result<FaultRun> {
    let run_id = run_id(seed);
    let aws = &platform.aws;
    aws.set_redelivery_scale("", REDELIVERY_SCALE).await?;
    let estate = platform.build(&estate(seed)).await?;
    let input = estate.run_input(&aws.host_account_id);
    aws.set_fault_plan(&fault_plan(seed)).await?;
    let started = Instant::now();
    let execution = platform.start_harvester(&input).await?;
    let ended = platform.ended(&execution).await;
    aws.clear_fault_plan().await?;
    let mut told = FaultRun {
        seed,
        faults: aws.faults_injected().await?,
        duration: started.elapsed(),
        ..FaultRun::default()
    };
    match ended {
        Err(error) => {
            platform.stop(&execution).await?;
            "did not end".clone_into(&mut told.outcome);
            told.broken.push(format!("{error:#}"));
        }
        Ok(ended) => {
            told.outcome.clone_from(&ended.status);
            if let Some(error) = &ended.error {
                let cause = ended.cause.unwrap_or_default();
                told.broken.push(format!("failed with {error}: {cause}"));
            }
        }
    }
    let run = platform.run_of(&execution).await?;
    if run.is_none() {
        told.broken.push("no run is on record".to_owned());
    }
    if let Some(run) = run {
        let ended = Ended {
            execution: platform.clients.execution(&execution).await?,
            parts: platform.parts(&run.run_id).await?,
            run,
        };
        if let Some(outcome) = ended.run.outcome {
            outcome.name().clone_into(&mut told.outcome);
            if outcome == Outcome::Failed {
                told.broken.push(format!("{:?}", ended.run.failure));
            }
        }
        check(platform, &ended, &mut told).await?;
        if ended.run.cleaned_up_at.is_none() {
            platform.clean_up(&json!({ "run_id": run_id })).await?;
        }
    }
    let accounts = accounts(seed);
    let left = leftovers(platform, &run_id, &accounts.each_ref().map(String::as_str)).await?;
    told.broken.extend(left);
    Ok(told)
}

async fn check(platform: &Platform, ended: &Ended, told: &mut FaultRun) -> Result<()> {
    let Ended { run, parts, .. } = ended;
    let covered = |status| {
        matches!(
            status,
            InventoryStatus::Done | InventoryStatus::BucketIsEmpty
        )
    };
    let complete = run.outcome == Some(Outcome::Complete);
    let published = matches!(run.outcome, Some(Outcome::Complete | Outcome::Partial));
    if run.outcome.is_none() {
        told.broken.push("no outcome is on record".to_owned());
    }
    // Only an account that could not be read, and is told, may keep buckets from being known.
    let all_read = parts
        .accounts
        .iter()
        .all(|account| account.reason.is_none());
    if published && all_read && parts.buckets.len() != BUCKETS {
        let found = parts.buckets.len();
        told.broken
            .push(format!("{found} of {BUCKETS} buckets are on record"));
    }
    for bucket in &parts.buckets {
        let name = bucket.bucket.as_str();
        if !covered(bucket.status) {
            if complete {
                told.broken.push(format!("complete without {name}"));
            }
            if run.outcome.is_some() && bucket.reason.is_none() {
                told.broken.push(format!("no reason for {name}"));
            }
        }
        if !published {
            continue;
        }
        let (database, table) = (
            &run.input.athena_database_name,
            &run.input.athena_table_name,
        );
        let snapshot = snapshot_of(platform, database, table, bucket).await?;
        told.rows_found += snapshot.rows;
        let no_report = ["-never", "-damaged"].iter().any(|end| name.ends_with(end));
        if can_be_complete(told.seed) || !no_report {
            told.rows_expected += snapshot.in_bucket.len();
        }
        if bucket.status == InventoryStatus::Done {
            told.rows_lost += snapshot.in_bucket.difference(&snapshot.in_table).count();
            let counts = [snapshot.rows, usize::try_from(bucket.rows)?];
            if snapshot.in_table != snapshot.in_bucket || counts != [snapshot.in_bucket.len(); 2] {
                told.broken.push(format!(
                    "{name} is done with {counts:?} of {} rows",
                    snapshot.in_bucket.len()
                ));
            }
        } else if snapshot.rows > 0 {
            told.broken
                .push(format!("{name} is not done and has {} rows", snapshot.rows));
        }
    }
    Ok(())
}

/// Columns of the table: a heading, and the kinds of faults whose counts it shows.
const COLUMNS: &[(&str, &[&str])] = &[
    ("Throttled", &["throttle"]),
    ("500, 503", &["error500", "error503"]),
    ("Cut off, silent", &["drop_before", "drop_after", "silence"]),
    ("Late, stale", &["delay", "stale_read"]),
    ("Killed, hung", &["kill_before", "kill_after", "hang_after"]),
    (
        "Calls of machines refused, lost",
        &["machine_refused", "machine_answer_lost"],
    ),
    ("Messages twice", &["message_received_twice"]),
    (
        "Notifications lost, twice, late",
        &[
            "notification_lost",
            "notification_duplicated",
            "notification_late",
        ],
    ),
];

/// The runs of some seeds as a table.
pub fn fault_table(runs: &[FaultRun]) -> String {
    let headings: Vec<&str> = COLUMNS.iter().map(|(heading, _)| *heading).collect();
    let mut lines = vec![
        format!(
            "| Seed | {} | Outcome | Rows expected | Rows found | Rows lost | Seconds |",
            headings.join(" | ")
        ),
        format!(
            "|---:|{}---|---:|---:|---:|---:|",
            "---:|".repeat(headings.len())
        ),
    ];
    for run in runs {
        let count = |kind: &str| run.faults.get(kind).copied().unwrap_or_default();
        let counts: Vec<String> = COLUMNS
            .iter()
            .map(|(_, kinds)| {
                kinds
                    .iter()
                    .map(|kind| count(kind))
                    .sum::<u64>()
                    .to_string()
            })
            .collect();
        lines.push(format!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            run.seed,
            counts.join(" | "),
            run.outcome,
            run.rows_expected,
            run.rows_found,
            run.rows_lost,
            run.duration.as_secs()
        ));
    }
    lines.join("\n")
}

/// Fails when a run broke a promise.
pub fn check_fault_runs(runs: &[FaultRun]) -> Result<()> {
    let broken = runs.iter().filter(|run| !run.broken.is_empty());
    let broken: Vec<String> = broken
        .map(|run| format!("seed {}: {}", run.seed, run.broken.join("; ")))
        .collect();
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}
