use aws_sdk_s3::types::InventoryFormat::Parquet;
use serde_json::json;
use shared::run::Outcome;
use shared::status::InventoryStatus;
use tests::{
    EXISTING_REPORTS, ReportsBucket, check_done_buckets, check_outcome, leftovers, rows_in_table,
    snapshot_of, test,
};

const REGION: &str = "eu-west-1";

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
        let [reports, ..] = EXISTING_REPORTS;
        let estate = platform.build(ESTATE).await?;
        let reports = ReportsBucket::make(platform, reports).await?;
        let photos = reports
            .report_of(account, "existing-photos", Parquet)
            .await?;
        let emptied = reports
            .report_of(account, "existing-emptied", Parquet)
            .await?;
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
        let [_, name, ..] = EXISTING_REPORTS;
        let estate = platform.build(BROKEN_ESTATE).await?;
        let reports = ReportsBucket::make(platform, name).await?;
        // Not named by the parameter of the stack, although its own policy would let the platform.
        let private = ReportsBucket::make(platform, "broken-private").await?;
        let damaged = reports
            .report_of(account, "broken-damaged", Parquet)
            .await?;
        let file = reports.report_of(account, "broken-file", Parquet).await?;
        let good = reports.report_of(account, "broken-not", Parquet).await?;
        let closed = private.report_of(account, "broken-closed", Parquet).await?;
        reports.damage(&damaged).await?;

        let mut input = estate.run_input(&platform.aws.host_account_id);
        let absent = format!("s3://{name}/broken-absent/daily/2026-01-01T01-00Z/manifest.json");
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
