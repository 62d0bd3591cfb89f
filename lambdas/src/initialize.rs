//! Checks the run input and opens the run. All problems come in one answer, before anything is
//! made.
//!
//! May be repeated: the run is recorded by a conditional write, and the same execution with the
//! same input is the same run.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::aws::Opened;
use shared::error::TaskError;
use shared::ids::{AccountId, RunId};
use shared::input::{self, Checked, Problem, RunInput, Surroundings};
use shared::run::Run;
use shared::runtime;

use crate::Platform;

/// What the Harvester was started with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The run input as it came.
    pub input: Value,
    /// The execution.
    pub execution_arn: String,
    /// When it started.
    pub started_at: Timestamp,
}

/// What the Harvester needs to know of the run.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Its id.
    pub run_id: RunId,
    /// The accounts to read.
    pub accounts: Vec<AccountId>,
    /// Whether it only proves the delivery path.
    pub is_smoke_test: bool,
    /// Seconds between two looks at buckets whose report has not come.
    pub status_refresh_seconds: u32,
}

/// Checks the input and opens the run.
///
/// # Errors
/// `InvalidInput` with every problem of the input.
pub async fn handle(platform: Arc<Platform>, input: Input) -> Result<Output, TaskError> {
    let enabled_regions = platform.clients.enabled_regions().await?;
    let checked = input::check(
        &input.input,
        &Surroundings {
            enabled_regions: &enabled_regions,
            execution_arn: &input.execution_arn,
            started_at: input.started_at,
        },
    );
    let taken = taken_names(&platform, &input, checked.as_ref().ok()).await?;
    let Checked {
        input: run_input,
        mut warnings,
    } = match checked {
        Ok(checked) if taken.is_empty() => checked,
        Ok(_) => return Err(refusal(&taken)),
        Err(mut problems) => {
            problems.extend(taken);
            return Err(refusal(&problems));
        }
    };
    runtime::is_about(&run_input.run_id);
    warnings.extend(unverified_addresses(&platform, &run_input).await?);

    let run = Run {
        run_id: run_input.run_id.clone(),
        execution_arn: input.execution_arn,
        started_at: input.started_at,
        deadline: run_input.deadline(input.started_at),
        warnings: warnings.into_iter().map(Into::into).collect(),
        input: run_input,
        regions: [].into(),
        in_progress: 0,
        task_token: None,
        frozen_at: None,
        made_database: false,
        made_table: false,
        failure: None,
        summary_sent_at: None,
        mail_failure: None,
        outcome: None,
        cleaned_up_at: None,
    };
    match platform.runs().open(&run).await? {
        Opened::Open(run) => Ok(Output {
            accounts: run
                .input
                .accounts
                .iter()
                .map(|account| account.id.clone())
                .collect(),
            is_smoke_test: run.input.is_smoke_test,
            status_refresh_seconds: run.input.status_refresh_minutes * 60,
            run_id: run.run_id,
        }),
        Opened::Taken(other) => Err(refusal(&[run_id_taken(&other)])),
    }
}

fn refusal(problems: &[Problem]) -> TaskError {
    TaskError::InvalidInput(input::describe(problems))
}

fn run_id_taken(other: &Run) -> Problem {
    Problem {
        path: "run_id".into(),
        message: format!(
            "{} was used by {}; choose another, or leave it out",
            other.run_id, other.execution_arn
        ),
    }
}

/// Names the input gives that are in use: looked up also when other fields are wrong, so that one
/// answer names everything.
async fn taken_names(
    platform: &Platform,
    input: &Input,
    checked: Option<&Checked>,
) -> Result<Vec<Problem>, TaskError> {
    let given = |field: &str| input.input.get(field).and_then(Value::as_str);
    let mut taken = Vec::new();
    let run_id = given("run_id").and_then(|text| RunId::try_from(text).ok());
    if let Some(run_id) = run_id
        && let Some(other) = platform.runs().run(&run_id).await?
    {
        if other.execution_arn == input.execution_arn {
            // A repeated attempt of this very execution: what it took is its own.
            return Ok(taken);
        }
        taken.push(run_id_taken(&other));
    }
    let database = given("athena_database_name").unwrap_or(input::DEFAULT_DATABASE);
    let table = given("athena_table_name")
        .or_else(|| checked.map(|checked| checked.input.athena_table_name.as_str()));
    if let Some(table) = table
        && input::is_identifier(database)
        && input::is_identifier(table)
        && platform.clients.table_exists(database, table).await?
    {
        taken.push(Problem {
            path: "athena_table_name".into(),
            message: format!(
                "table {table} of database {database} exists; choose another, or leave it out"
            ),
        });
    }
    Ok(taken)
}

/// Has SES verify addresses that need it, and warns of each: the summary cannot be sent before
/// its link is followed. Recipients need it only in SES's sandbox; elsewhere it would mail
/// strangers.
async fn unverified_addresses(
    platform: &Platform,
    input: &RunInput,
) -> Result<Vec<Problem>, TaskError> {
    let mut addresses = vec![(
        "sender_email_address".to_owned(),
        &input.sender_email_address,
    )];
    if platform.clients.mail_is_sandboxed().await? {
        let recipients = input.recipient_email_addresses.iter().enumerate();
        addresses.extend(
            recipients
                .map(|(index, address)| (format!("recipient_email_addresses[{index}]"), address)),
        );
    }
    let mut warnings = Vec::new();
    for (path, address) in addresses {
        if platform.clients.identity_is_verified(address).await? == Some(true) {
            continue;
        }
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
        if platform.clients.identity_is_verified(domain).await? == Some(true) {
            continue;
        }
        platform.clients.request_verification(address).await?;
        warnings.push(Problem {
            path,
            message: format!(
                "{address} is not verified in SES; a verification mail was requested, and the \
                 summary cannot be sent until its link is followed"
            ),
        });
    }
    Ok(warnings)
}
