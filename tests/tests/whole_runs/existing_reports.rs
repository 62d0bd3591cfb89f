use anyhow::{Context, Result, ensure};
use aws_sdk_s3::types::{
    BucketLocationConstraint, CreateBucketConfiguration, InventoryConfiguration,
    InventoryDestination, InventoryFormat, InventoryFrequency, InventoryIncludedObjectVersions,
    InventoryOptionalField, InventoryS3BucketDestination, InventorySchedule,
};
use serde_json::json;
use shared::run::Outcome;
use shared::status::InventoryStatus;
use tests::{
    EXISTING_REPORTS, Platform, check_done_buckets, check_outcome, leftovers, rows_in_table,
    snapshot_of, test,
};

const REGION: &str = "eu-west-1";
/// Owns the buckets with reports, and is in no run.
const REPORTS_ACCOUNT: &str = "520000000009";

const ESTATE: &str = r#"
accounts:
  - id: "520000000001"
    buckets:
      - name: existing-photos
        region: eu-west-1
        versioning: true
        objects: [{pattern: "a/{n:02}", count: 14, noncurrent: 1, delete_marker: true}]
      - {name: existing-emptied, region: eu-west-1, objects: [{pattern: "b/{n}", count: 5}]}
      - {name: existing-ordinary, objects: [{pattern: "c/{n}", count: 9}]}
input:
  other: {run_id: existing, status_refresh_minutes: 1}
"#;

#[test]
fn a_report_that_exists_is_verified_and_consolidated_and_its_bucket_never_configured() {
    test(async |platform| {
        let account = "520000000001";
        let [reports, _] = EXISTING_REPORTS;
        let estate = platform.build(ESTATE).await?;
        make_reports_bucket(platform, reports).await?;
        let photos = report_of(platform, account, "existing-photos", reports).await?;
        let emptied = report_of(platform, account, "existing-emptied", reports).await?;
        let s3 = platform.s3(account, REGION);
        for number in 0..5 {
            let object = s3.delete_object().bucket("existing-emptied");
            object.key(format!("b/{number}")).send().await?;
        }
        // Whoever looks at it or puts a configuration on it is refused.
        s3.put_bucket_policy()
            .bucket("existing-photos")
            .policy(
                json!({"Version": "2012-10-17", "Statement": [{
                    "Sid": "Closed", "Effect": "Deny", "Principal": "*",
                    "Action": ["s3:PutInventoryConfiguration", "s3:GetInventoryConfiguration",
                               "s3:ListBucketVersions"],
                    "Resource": "arn:aws:s3:::existing-photos",
                }]})
                .to_string(),
            )
            .send()
            .await?;

        let mut input = estate.run_input(&platform.aws.host_account_id);
        input["existing_inventories"] = json!([
            {"bucket": "existing-photos", "manifest": photos},
            {"bucket": "existing-emptied", "manifest": emptied},
        ]);
        let ended = platform.harvest(&input).await?;
        check_outcome(&ended, Outcome::Complete);

        // 14 objects, each with another version and a delete marker.
        let bucket = ended.bucket("existing-photos");
        assert_eq!((bucket.rows, bucket.files), (42, Some(1)), "{bucket:#?}");
        let table = &ended.run.input;
        let (database, table) = (&table.athena_database_name, &table.athena_table_name);
        let snapshot = snapshot_of(platform, database, table, bucket).await?;
        assert_eq!(snapshot.in_table, snapshot.in_bucket);
        assert_eq!(snapshot.rows, 42);
        // As it was when its report was made.
        let bucket = ended.bucket("existing-emptied");
        assert_eq!((bucket.status, bucket.rows), (InventoryStatus::Done, 5));
        assert_eq!(
            rows_in_table(platform, &ended, "existing-emptied").await?,
            5
        );
        let bucket = ended.bucket("existing-ordinary");
        assert_eq!((bucket.status, bucket.rows), (InventoryStatus::Done, 9));

        for name in ["existing-photos", "existing-emptied"] {
            let bucket = ended.bucket(name);
            assert!(!bucket.configured && !bucket.configuration_removed);
            let made: Vec<String> = platform
                .aws
                .deliveries(name)
                .await?
                .into_iter()
                .map(|delivery| delivery.configuration_id)
                .collect();
            assert_eq!(made, ["daily"], "{name} was asked for another report");
        }
        // No destination is made where every report exists.
        let regions: Vec<&str> = ended
            .parts
            .destinations
            .iter()
            .map(|destination| destination.region.as_str())
            .collect();
        assert_eq!(regions, ["us-east-1"]);
        let mail = platform.mail_of("existing").await?;
        for part in [&mail.text, &mail.html] {
            assert!(
                part.contains("Taken from reports that existed before the run (2)"),
                "{part}"
            );
        }
        assert!(mail.text.contains(&photos), "{}", mail.text);
        let left = leftovers(platform, "existing", &[account]).await?;
        assert_eq!(left, [""; 0]);
        Ok(())
    });
}

const BROKEN_ESTATE: &str = r#"
accounts:
  - id: "520000000002"
    buckets:
      - {name: broken-damaged, region: eu-west-1, objects: [{pattern: "a/{n}", count: 3}]}
      - {name: broken-foreign, region: eu-west-1, objects: [{pattern: "a/{n}", count: 3}]}
      - {name: broken-absent, region: eu-west-1, objects: [{pattern: "a/{n}", count: 3}]}
      - {name: broken-closed, region: eu-west-1, objects: [{pattern: "a/{n}", count: 3}]}
      - name: broken-file
        region: eu-west-1
        objects: [{pattern: "a/{n}", count: 3}]
        faults: {wrong_file_md5: true}
      - {name: broken-not, region: eu-west-1, objects: [{pattern: "a/{n}", count: 3}]}
      - {name: broken-excluded, region: eu-west-1, objects: [{pattern: "a/{n}", count: 3}]}
input:
  exclude: {"520000000002": [broken-excluded]}
  other: {run_id: broken, status_refresh_minutes: 1}
"#;

#[test]
fn an_existing_report_that_cannot_be_taken_says_why_and_is_not_waited_for() {
    test(async |platform| {
        let account = "520000000002";
        let [_, reports] = EXISTING_REPORTS;
        let estate = platform.build(BROKEN_ESTATE).await?;
        make_reports_bucket(platform, reports).await?;
        // Not named by the parameter of the stack, although its own policy would let the platform.
        make_reports_bucket(platform, "broken-private").await?;
        let damaged = report_of(platform, account, "broken-damaged", reports).await?;
        let file = report_of(platform, account, "broken-file", reports).await?;
        let good = report_of(platform, account, "broken-not", reports).await?;
        let closed = report_of(platform, account, "broken-closed", "broken-private").await?;
        damage(platform, reports, &damaged).await?;

        let mut input = estate.run_input(&platform.aws.host_account_id);
        let absent = format!("s3://{reports}/broken-absent/daily/2026-01-01T01-00Z/manifest.json");
        let elsewhere = "s3://broken-no-such-bucket/manifest.json";
        input["existing_inventories"] = json!([
            {"bucket": "broken-damaged", "manifest": damaged},
            {"bucket": "broken-foreign", "manifest": file},
            {"bucket": "broken-absent", "manifest": absent},
            {"bucket": "broken-closed", "manifest": closed},
            {"bucket": "broken-file", "manifest": file},
            {"bucket": "broken-not", "manifest": good},
            {"bucket": "broken-excluded", "manifest": damaged},
            {"bucket": "broken-nowhere", "manifest": elsewhere},
        ]);
        let ended = platform.harvest(&input).await?;
        check_outcome(&ended, Outcome::Partial);

        let mail = platform.mail_of("broken").await?;
        for (name, code, permission) in [
            ("broken-damaged", "ManifestChecksumMismatch", None),
            ("broken-foreign", "ForeignReport", None),
            ("broken-absent", "ManifestMissing", None),
            ("broken-closed", "AccessDenied", Some("s3:GetObject")),
            ("broken-file", "FileMismatch", None),
        ] {
            let bucket = ended.bucket(name);
            assert_eq!(bucket.status, InventoryStatus::VerificationFailed, "{name}");
            let reason = bucket.reason.as_ref().expect("it says why");
            assert_eq!(reason.code, code, "{name}: {reason:?}");
            assert_eq!(reason.missing_permission.as_deref(), permission, "{name}");
            assert_eq!(rows_in_table(platform, &ended, name).await?, 0, "{name}");
            for part in [&mail.text, &mail.html] {
                assert!(part.contains(name) && part.contains(code), "{part}");
            }
        }
        let parameter = "ExistingInventoryBucketArns";
        assert!(mail.text.contains(parameter), "{}", mail.text);
        for said in ["broken-nowhere: BucketNotFound: ", elsewhere] {
            assert!(mail.text.contains(said), "{}", mail.text);
        }
        assert_eq!(ended.status("broken-nowhere"), None);
        assert_eq!(ended.status("broken-excluded"), Some("left_out"));
        assert_eq!(ended.status("broken-not"), Some("done"));
        assert_eq!(check_done_buckets(platform, &ended).await?, 1);
        // S3 was asked for nothing, so there was no place to deliver to.
        assert_eq!(ended.parts.destinations, []);
        let left = leftovers(platform, "broken", &[account]).await?;
        assert_eq!(left, [""; 0]);
        Ok(())
    });
}

/// A bucket that S3 may deliver reports into and the host account may read.
async fn make_reports_bucket(platform: &Platform, bucket: &str) -> Result<()> {
    let s3 = platform.s3(REPORTS_ACCOUNT, REGION);
    let place = CreateBucketConfiguration::builder()
        .location_constraint(BucketLocationConstraint::EuWest1)
        .build();
    s3.create_bucket()
        .bucket(bucket)
        .create_bucket_configuration(place)
        .send()
        .await?;
    let arn = format!("arn:aws:s3:::{bucket}");
    let host = format!("arn:aws:iam::{}:root", platform.aws.host_account_id);
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Sid": "Deliver", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"},
         "Action": "s3:PutObject", "Resource": format!("{arn}/*")},
        {"Sid": "Read", "Effect": "Allow", "Principal": {"AWS": host},
         "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": [arn, format!("{arn}/*")]},
    ]});
    s3.put_bucket_policy()
        .bucket(bucket)
        .policy(policy.to_string())
        .send()
        .await?;
    Ok(())
}

/// Has S3 report on a bucket as its owner does, once, and gives the place of the manifest.
async fn report_of(
    platform: &Platform,
    account: &str,
    bucket: &str,
    reports: &str,
) -> Result<String> {
    let s3 = platform.s3(account, REGION);
    let destination = InventoryS3BucketDestination::builder()
        .bucket(format!("arn:aws:s3:::{reports}"))
        .account_id(REPORTS_ACCOUNT)
        .format(InventoryFormat::Parquet)
        .prefix("team/storage")
        .build()?;
    let configuration = InventoryConfiguration::builder()
        .id("daily")
        .is_enabled(true)
        .included_object_versions(InventoryIncludedObjectVersions::All)
        .optional_fields(InventoryOptionalField::Size)
        .optional_fields(InventoryOptionalField::LastModifiedDate)
        .schedule(
            InventorySchedule::builder()
                .frequency(InventoryFrequency::Weekly)
                .build()?,
        )
        .destination(
            InventoryDestination::builder()
                .s3_bucket_destination(destination)
                .build(),
        )
        .build()?;
    s3.put_bucket_inventory_configuration()
        .bucket(bucket)
        .id("daily")
        .inventory_configuration(configuration)
        .send()
        .await?;
    let mut keys = Vec::new();
    platform
        .eventually(&format!("the owner's report of {bucket}"), async || {
            let deliveries = platform.aws.deliveries(bucket).await?;
            let Some(delivery) = deliveries.into_iter().next() else {
                return Ok(false);
            };
            ensure!(delivery.reason.is_none(), "{delivery:?}");
            keys = delivery.keys;
            Ok(true)
        })
        .await?;
    s3.delete_bucket_inventory_configuration()
        .bucket(bucket)
        .id("daily")
        .send()
        .await?;
    let manifest = keys
        .iter()
        .find(|key| key.ends_with("/manifest.json"))
        .with_context(|| format!("a report has a manifest: {keys:?}"))?;
    Ok(format!("s3://{reports}/{manifest}"))
}

/// Adds a byte to a manifest.
async fn damage(platform: &Platform, reports: &str, uri: &str) -> Result<()> {
    let s3 = platform.s3(REPORTS_ACCOUNT, REGION);
    let key = uri
        .strip_prefix(&format!("s3://{reports}/"))
        .context("it is in the bucket")?;
    let object = s3.get_object().bucket(reports).key(key).send().await?;
    let mut body = object.body.collect().await?.to_vec();
    body.push(b' ');
    s3.put_object()
        .bucket(reports)
        .key(key)
        .body(body.into())
        .send()
        .await?;
    Ok(())
}
