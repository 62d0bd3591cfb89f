//! Smoke runs: puts a small, valid report into the destination of every Region of the run, as S3
//! would. No source bucket is touched.
//!
//! May be repeated: same keys, same bytes.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shared::aws::AwsError;
use shared::error::TaskError;
use shared::ids::{BucketName, Region, RunId};
use shared::run::{Run, SourceBucket};
use shared::smoke_report::SmokeReport;
use shared::status::InventoryStatus;
use shared::{naming, protocol};

use crate::Platform;

/// A smoke run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The run.
    pub run_id: RunId,
}

/// What was put.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Reports, one for each Region with a destination.
    pub reports: usize,
}

/// Puts the reports. A Region without a destination is an outcome that fails the test later.
///
/// # Errors
/// `Throttled`, `Unavailable`, `AccessDenied`.
pub async fn handle(platform: Arc<Platform>, input: Input) -> Result<Output, TaskError> {
    let run = platform.run(&input.run_id).await?;
    protocol::may_still_make(&run)?;
    let runs = platform.runs();
    let mut reports = 0;
    for region in &run.regions {
        let bucket = SourceBucket::discovered(
            platform.settings.host_account.clone(),
            naming::smoke_test_bucket(&run.run_id, region),
            region.clone(),
        );
        runs.add_buckets(&run.run_id, std::slice::from_ref(&bucket))
            .await?;
        let destination = runs.destination(&run.run_id, region).await?;
        match protocol::usable_destination(destination.as_ref()) {
            Ok(destination) => {
                runs.begin(&run.run_id, std::slice::from_ref(&bucket))
                    .await?;
                if let Some(destination) = &destination.bucket {
                    deliver(&platform, &run, region, &bucket, destination).await?;
                    reports += 1;
                }
            }
            Err(reason) => {
                let next = InventoryStatus::InventoryConfigurationNotCreated;
                runs.end_discovered(&run.run_id, &bucket, next, Some(&reason))
                    .await?;
            }
        }
    }
    Ok(Output { reports })
}

async fn deliver(
    platform: &Platform,
    run: &Run,
    region: &Region,
    bucket: &SourceBucket,
    destination: &BucketName,
) -> Result<(), AwsError> {
    let report = SmokeReport::new(
        &bucket.account,
        &bucket.bucket,
        &naming::configuration_id(&platform.settings.deployment, &run.run_id),
        destination,
        run.started_at,
    );
    let objects = platform.clients.objects(region);
    // In the order in which S3 writes them: the checksum says that the rest is there.
    for (key, content_type, body) in report.objects {
        objects
            .put(destination, &key, content_type, Bytes::from(body))
            .await?;
    }
    Ok(())
}
