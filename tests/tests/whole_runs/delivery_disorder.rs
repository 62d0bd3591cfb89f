use anyhow::{Context, Result};
use local_aws::inventory::Faults;
use serde_json::json;
use shared::run::Outcome;
use shared::status::InventoryStatus;
use tests::{
    DEPLOYMENT, FileQueue, NotificationQueue, Platform, check_done_buckets, check_outcome,
    leftovers, objects_under, test,
};

const ACCOUNT: &str = "470000000001";
const RUN_ID: &str = "disorder";

const ESTATE: &str = r#"
accounts:
  - id: "470000000001"
    buckets:
      - name: disorder-early
        region: eu-west-1
        objects: [{pattern: "a/{n:02}", count: 36}]
        faults: {twice: true, checksum_first: true, rows_per_file: 3}
      - name: disorder-late
        region: eu-west-1
        versioning: true
        objects: [{pattern: "b/{n:02}", count: 14, noncurrent: 1, delete_marker: true}]
        faults: {hold: true}
      - name: disorder-throttled
        objects: [{pattern: "c/{n:02}", count: 11}]
        faults: {throttle: {rate: 0.2, seed: 5}}
input:
  other: {run_id: disorder, status_refresh_minutes: 1}
"#;

#[test]
fn what_comes_twice_out_of_order_or_from_strangers_is_counted_once_or_not_at_all() {
    test(async |platform| {
        let estate = platform.build(ESTATE).await?;
        let input = estate.run_input(&platform.aws.host_account_id);
        let execution = platform.start_harvester(&input).await?;
        let early = platform
            .bucket_is(RUN_ID, "disorder-early", |bucket| {
                bucket.status == InventoryStatus::Done
            })
            .await?;
        let manifest = early.report.context("it took a report")?;
        let late = platform
            .bucket_is(RUN_ID, "disorder-late", |bucket| bucket.configured)
            .await?;
        assert_eq!(late.status, InventoryStatus::InProgress);

        let queue = NotificationQueue::new(platform);
        let forged = forged_file_messages(platform).await?;
        let files = FileQueue::new(platform);
        queue.send(&disturbances(platform, &manifest)).await?;
        files.send(&forged).await?;
        repeat_report(platform, &manifest).await?;
        queue.is_worked_off().await?;
        // Told of before it is there: it is looked for again, later.
        queue
            .send(&[created(
                &destination(platform),
                &late_key("2030-01-01T01-00Z"),
            )])
            .await?;
        let faults = Faults {
            twice: true,
            checksum_first: true,
            rows_per_file: std::num::NonZeroUsize::new(4),
            ..Faults::default()
        };
        platform.aws.set_faults("disorder-late", &faults).await?;
        let ended = platform.finish(&execution).await?;
        platform.aws.clear_faults("disorder-throttled").await?;

        check_outcome(&ended, Outcome::Complete);
        for (name, rows, files) in [
            ("disorder-early", 36, 12),
            ("disorder-late", 42, 11),
            ("disorder-throttled", 11, 1),
        ] {
            let bucket = ended.bucket(name);
            assert_eq!(bucket.status, InventoryStatus::Done, "{name}");
            assert_eq!((bucket.rows, bucket.files), (rows, Some(files)), "{name}");
            let partition = format!(
                "inventory/{RUN_ID}/account={ACCOUNT}/region={}/bucketname={name}/",
                bucket.region
            );
            let consolidated = objects_under(platform, &partition).await?;
            assert_eq!(consolidated.len() as u64, files, "{consolidated:?}");
        }
        let taken = ended.bucket("disorder-early").report.as_deref();
        assert_eq!(taken, Some(manifest.as_str()));
        assert_eq!(check_done_buckets(platform, &ended).await?, 3);
        let left = leftovers(platform, RUN_ID, &[ACCOUNT]).await?;
        assert_eq!(left, [""; 0]);

        // The same once more, into the run that is over.
        let before = kept(platform).await?;
        queue.send(&disturbances(platform, &manifest)).await?;
        files.send(&forged).await?;
        queue.is_worked_off().await?;
        files.is_worked_off().await?;
        let again = platform.finish(&execution).await?;
        assert_eq!(again.run, ended.run);
        assert_eq!(format!("{:#?}", again.parts), format!("{:#?}", ended.parts));
        assert_eq!(kept(platform).await?, before);
        Ok(())
    });
}

/// What the consolidated bucket has of the run.
async fn kept(platform: &Platform) -> Result<Vec<String>> {
    let mut kept = Vec::new();
    for folder in ["inventory", "totals", "reports"] {
        kept.extend(objects_under(platform, &format!("{folder}/{RUN_ID}/")).await?);
    }
    Ok(kept)
}

/// Messages about files that no function of ours ever sent.
async fn forged_file_messages(platform: &Platform) -> Result<Vec<String>> {
    let partition =
        format!("inventory/{RUN_ID}/account={ACCOUNT}/region=eu-west-1/bucketname=disorder-early/");
    let rows = objects_under(platform, &partition).await?;
    let name = rows.first().and_then(|key| key.strip_prefix(&partition));
    let file = name.and_then(|name| name.strip_suffix(".parquet"));
    let genuine = json!({"run_id": RUN_ID, "account_id": ACCOUNT, "bucket": "disorder-early",
                         "file": file.context("the bucket is done")?});
    let with = |field: &str, value: &str| {
        let mut message = genuine.clone();
        message[field] = json!(value);
        message.to_string()
    };
    Ok(vec![
        // A file that is counted.
        genuine.to_string(),
        // No such run, account, bucket or file.
        with("run_id", "unheardof"),
        with("account_id", "479999999999"),
        with("bucket", "disorder-unheard-of"),
        with("file", "unheard-of"),
        // A file of one bucket for another that waits for its own.
        with("bucket", "disorder-late"),
        // Names that lead elsewhere, if they were paths.
        with("file", "../disorder-late/a"),
        with("file", ""),
        with("file", &"x".repeat(2_000)),
    ])
}

/// The run's destination in the Region of the buckets that are disturbed.
fn destination(platform: &Platform) -> String {
    let host = &platform.aws.host_account_id;
    format!("{DEPLOYMENT}-{RUN_ID}-{host}-eu-west-1")
}

fn late_key(stamp: &str) -> String {
    format!("{ACCOUNT}/disorder-late/s3insights-{DEPLOYMENT}-{RUN_ID}/{stamp}/manifest.checksum")
}

/// The notification of S3 that an object was created.
fn created(bucket: &str, key: &str) -> String {
    json!({"Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-west-1",
        "eventTime": "2026-11-20T00:00:00.000Z", "eventName": "ObjectCreated:Put",
        "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": bucket},
               "object": {"key": key, "size": 32}},
    }]})
    .to_string()
}

/// Repetitions of what was delivered, and messages that no S3 of ours ever sent.
fn disturbances(platform: &Platform, manifest: &str) -> Vec<String> {
    let destination = destination(platform);
    let checksum = manifest.replace("manifest.json", "manifest.checksum");
    let stamp = "2026-01-01T01-00Z";
    let late = late_key(stamp);
    let other = |from: &str, to: &str| created(&destination, &late.replace(from, to));
    let repeated = created(&destination, &checksum);
    vec![
        repeated.clone(),
        repeated.clone(),
        json!({"Type": "Notification", "Message": repeated}).to_string(),
        // A report of a bucket that is waited for, in somebody else's bucket.
        created("somebody-elses-bucket", &late),
        created(&destination.replace("eu-west-1", "us-east-1"), &late),
        // No such run, account, bucket.
        other("-disorder/", "-unheardof/"),
        other("-disorder/", "-../../disorder/"),
        other(ACCOUNT, "479999999999"),
        other("disorder-late", "disorder-unheard-of"),
        // Keys that lead elsewhere, if they were paths.
        other(stamp, "../2026-01-01T01-00Z"),
        other(stamp, "%2e%2e/%2e%2e"),
        other(ACCOUNT, &format!("../{ACCOUNT}")),
        // Not about a created object, or about nothing.
        repeated.replace("ObjectCreated:Put", "ObjectRemoved:Delete"),
        repeated.replace("\"2.1\"", "\"9.0\""),
        json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": destination}).to_string(),
        json!({"Records": [null, 7, {"s3": {}}]}).to_string(),
        "{}".to_owned(),
        "{\"Records\": [".to_owned(),
        "hello".to_owned(),
    ]
}

/// Delivers the report once more under a later stamp, as S3 does every day until its configuration
/// is removed.
async fn repeat_report(platform: &Platform, manifest: &str) -> Result<()> {
    let s3 = platform.s3(&platform.aws.host_account_id, "eu-west-1");
    let (folder, _) = manifest.rsplit_once('/').context("a key has folders")?;
    let (home, _) = folder.rsplit_once('/').context("a key has folders")?;
    for name in ["manifest.json", "manifest.checksum"] {
        let body = s3
            .get_object()
            .bucket(destination(platform))
            .key(format!("{folder}/{name}"))
            .send()
            .await?
            .body
            .collect()
            .await?
            .into_bytes();
        s3.put_object()
            .bucket(destination(platform))
            .key(format!("{home}/2030-01-01T01-00Z/{name}"))
            .body(body.into())
            .send()
            .await?;
    }
    Ok(())
}
