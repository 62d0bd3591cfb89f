//! Tells the recipients and other systems how the run ended, and keeps the summary in the consolidated
//! bucket.
//!
//! May be repeated: the mail is claimed by a conditional write, so that a run sends one. The event may
//! come more than once, and names its run.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared::aws::{AwsError, Mail};
use shared::error::TaskError;
use shared::ids::RunId;
use shared::metrics;
use shared::naming;
use shared::report::Report;
use shared::run::{Failure, Outcome, Run};
use shared::run_ended::RunEnded;
use shared::summary::{Records, Setting, Summary};
use shared::totals::Totals;

use crate::Platform;

/// A run that is over but for cleaning up.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The run.
    pub run_id: RunId,
    /// What broke it off, if something did.
    pub failure: Option<Failure>,
}

/// What was told.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// How the run ended.
    pub outcome: Outcome,
}

/// Stores and sends the summary, and tells other systems. A mail that SES does not take is an outcome:
/// the run's result is there all the same, and the reason is recorded.
///
/// # Errors
/// `Throttled`, `Unavailable`.
pub async fn handle(platform: Arc<Platform>, input: Input) -> Result<Output, TaskError> {
    let runs = platform.runs();
    if let Some(failure) = &input.failure {
        runs.record_failure(&input.run_id, failure).await?;
    }
    let run = platform.run(&input.run_id).await?;
    let parts = runs.parts(&run.run_id).await?;
    let totals: Option<Totals> = stored(&platform, &naming::run_totals_key(&run.run_id)).await?;
    let top_prefixes = stored(&platform, &naming::top_prefixes_key(&run.run_id)).await?;
    let setting = Setting {
        host_region: platform.clients.region(),
        consolidated_bucket: platform.settings.consolidated_bucket.clone(),
        work_group: platform.settings.work_group.clone(),
    };
    let earlier = runs.earlier(&run).await?;
    let records = Records {
        run: &run,
        parts: &parts,
        totals: totals.as_ref(),
        earlier: earlier.as_ref().map(|(run, parts)| (run, parts)),
    };
    let summary = Summary::build(records, &setting);
    let report = Report {
        summary: &summary,
        buckets: &parts.buckets,
        totals: totals.as_ref(),
        top_prefixes: top_prefixes.as_ref(),
        as_of: None,
    };
    store(&platform, &run, &report).await?;
    runs.record_outcome(&run.run_id, summary.outcome).await?;
    send(&platform, &run, &summary).await?;
    let deployment = &platform.settings.deployment;
    let ended = RunEnded::of(deployment, &summary, &setting, platform.clients.now());
    tell(&platform, &ended).await?;
    platform.measure(
        Some(&run.run_id),
        &metrics::of_run(summary.outcome, &summary.coverage),
    );
    tracing::info!(outcome = summary.outcome.name(), "summary ready");
    Ok(Output {
        outcome: summary.outcome,
    })
}

/// A document that publication left; `None` when the run broke off before.
async fn stored<T: DeserializeOwned>(
    platform: &Platform,
    key: &str,
) -> Result<Option<T>, TaskError> {
    let home = &platform.settings.consolidated_bucket;
    let Some(body) = platform.consolidated().get(home, key).await? else {
        return Ok(None);
    };
    serde_json::from_slice(&body)
        .map(Some)
        .map_err(|error| TaskError::Internal(format!("{key}: {error}")))
}

async fn store(platform: &Platform, run: &Run, report: &Report<'_>) -> Result<(), TaskError> {
    const HTML: &str = "text/html; charset=utf-8";
    const TEXT: &str = "text/plain; charset=utf-8";
    let summary = report.summary;
    let json =
        serde_json::to_vec(summary).map_err(|error| TaskError::Internal(error.to_string()))?;
    let key = |form| naming::summary_key(&run.run_id, form);
    let page = naming::report_key(&run.run_id);
    let documents = [
        (key("json"), "application/json", json),
        (key("html"), HTML, summary.html().into_bytes()),
        (key("txt"), TEXT, summary.text().into_bytes()),
        (page, HTML, report.page().into_bytes()),
    ];
    for (key, content_type, body) in documents {
        let home = &platform.settings.consolidated_bucket;
        platform
            .consolidated()
            .put(home, &key, content_type, Bytes::from(body))
            .await?;
    }
    Ok(())
}

async fn send(platform: &Platform, run: &Run, summary: &Summary) -> Result<(), AwsError> {
    let runs = platform.runs();
    if !runs
        .claim_summary(&run.run_id, platform.clients.now())
        .await?
    {
        return Ok(());
    }
    let mail = Mail {
        from: run.input.sender_email_address.clone(),
        to: run.input.recipient_email_addresses.clone(),
        subject: summary.subject(),
        text: summary.text(),
        html: summary.html(),
    };
    match platform.clients.send_mail(&mail).await {
        Ok(message_id) => {
            tracing::info!(message_id, recipients = mail.to.len(), "summary sent");
            Ok(())
        }
        Err(error) => {
            runs.release_summary(&run.run_id).await?;
            if error.is_passing() {
                return Err(error);
            }
            tracing::warn!(%error, "SES does not take the summary");
            runs.record_mail_failure(&run.run_id, &error.reason()).await
        }
    }
}

/// Tells other systems. That it is refused is no reason for the run to fail.
async fn tell(platform: &Platform, ended: &RunEnded) -> Result<(), AwsError> {
    match platform.clients.tell_run_ended(ended).await {
        Err(error) if !error.is_passing() => {
            tracing::error!(%error, "other systems are not told that the run has ended");
            Ok(())
        }
        told => told,
    }
}
