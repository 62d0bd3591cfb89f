//! `run list`.

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;
use shared::ids::RunId;
use shared::run::{Outcome, Run};

use crate::exit::Exit;
use crate::output;
use crate::platform::Platform;

/// A run in a list.
#[derive(Debug, Serialize)]
struct Listed {
    run_id: RunId,
    started_at: Timestamp,
    /// How it ended; absent while it goes on, or when it was stopped and not cleaned up.
    outcome: Option<Outcome>,
    is_smoke_test: bool,
    /// Source buckets whose report is awaited.
    in_progress: u64,
    database: String,
    table: String,
    execution_arn: String,
    /// When Cleanup found nothing left of it.
    cleaned_up_at: Option<Timestamp>,
}

impl From<Run> for Listed {
    fn from(run: Run) -> Self {
        Self {
            run_id: run.run_id,
            started_at: run.started_at,
            outcome: run.outcome,
            is_smoke_test: run.input.is_smoke_test,
            in_progress: run.in_progress,
            database: run.input.athena_database_name,
            table: run.input.athena_table_name,
            execution_arn: run.execution_arn,
            cleaned_up_at: run.cleaned_up_at,
        }
    }
}

pub(super) async fn run(platform: &Platform, json: bool) -> Result<Exit> {
    let runs: Vec<Listed> = platform
        .runs()
        .runs()
        .await?
        .into_iter()
        .map(Listed::from)
        .collect();
    if json {
        output::json(&runs)?;
    } else if runs.is_empty() {
        output::note("there are no runs on record");
    } else {
        output::data(&text(&runs))?;
    }
    Ok(Exit::Done)
}

fn text(runs: &[Listed]) -> String {
    let heading = ["RUN", "STARTED", "OUTCOME", "CLEANED UP", "TABLE"]
        .map(str::to_owned)
        .to_vec();
    let row = |run: &Listed| {
        let table = if run.is_smoke_test {
            "(smoke test)".to_owned()
        } else {
            format!("{}.{}", run.database, run.table)
        };
        vec![
            run.run_id.to_string(),
            run.started_at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            run.outcome.map_or("-", Outcome::name).to_owned(),
            if run.cleaned_up_at.is_some() {
                "yes"
            } else {
                "no"
            }
            .to_owned(),
            table,
        ]
    };
    output::table(
        &std::iter::once(heading)
            .chain(runs.iter().map(row))
            .collect::<Vec<_>>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_table() {
        let listed = |run_id: &str, outcome, is_smoke_test| Listed {
            run_id: run_id.parse().unwrap(),
            started_at: "2026-01-05T04:00:00Z".parse().unwrap(),
            outcome,
            is_smoke_test,
            in_progress: 0,
            database: "s3insights".into(),
            table: "inventory_a".into(),
            execution_arn: String::new(),
            cleaned_up_at: outcome.map(|_| "2026-01-05T05:00:00Z".parse().unwrap()),
        };
        let runs = [
            listed("a", Some(Outcome::Partial), false),
            listed("smoke", None, true),
        ];
        assert_eq!(
            text(&runs),
            "RUN    STARTED                  OUTCOME  CLEANED UP  TABLE\n\
             a      2026-01-05 04:00:00 UTC  partial  yes         s3insights.inventory_a\n\
             smoke  2026-01-05 04:00:00 UTC  -        no          (smoke test)\n"
        );
    }
}
