use anyhow::Result;
use serde_json::json;
use shared::run::Outcome;
use shared::status::InventoryStatus;
use tests::{
    Platform, check_done_buckets, configurations, leftovers, objects_under, rows_in_table, test,
};

const ESTATE: &str = r#"
accounts:
  - id: "480000000001"
    buckets:
      - {name: fates-plain, region: eu-west-1, objects: [{pattern: "a/{n}", count: 10}]}
      - name: fates-vanishing
        region: eu-west-1
        objects: [{pattern: "a/{n}", count: 10}]
        faults: {vanish: after_configure}
      - name: fates-emptied
        region: eu-west-1
        objects: [{pattern: "a/{n}", count: 10}]
        faults: {hold: true}
      - name: fates-closed
        objects: [{pattern: "a/{n}", count: 10}]
        faults: {hold: true}
      - name: fates-busy
        region: eu-west-1
        objects: [{pattern: "a/{n}", count: 10}]
        faults: {busy: true}
  - id: "480000000002"
    member: false
    buckets:
      - {name: fates-out-of-reach, objects: [{pattern: "a/{n}", count: 10}]}
input:
  other: {run_id: fates, status_refresh_minutes: 1}
"#;
const ACCOUNT: &str = "480000000001";

#[test]
fn buckets_that_vanish_empty_or_close_under_way_end_in_the_status_that_fits() {
    test(async |platform| {
        let estate = platform.build(ESTATE).await?;
        let input = estate.run_input(&platform.aws.host_account_id);
        let execution = platform.start_harvester(&input).await?;
        for name in ["fates-emptied", "fates-closed"] {
            platform
                .bucket_is("fates", name, |bucket| bucket.configured)
                .await?;
        }
        empty(platform).await?;
        let s3 = platform.s3(ACCOUNT, "us-east-1");
        s3.put_bucket_policy()
            .bucket("fates-closed")
            .policy(
                json!({"Version": "2012-10-17", "Statement": [{
                    "Sid": "Closed", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
                    "Resource": ["arn:aws:s3:::fates-closed", "arn:aws:s3:::fates-closed/*"],
                }]})
                .to_string(),
            )
            .send()
            .await?;
        let ended = platform.finish(&execution).await?;

        assert_eq!(ended.execution.status, "SUCCEEDED", "{ended:#?}");
        assert_eq!(ended.run.outcome, Some(Outcome::Partial));
        assert_eq!(ended.status("fates-plain"), Some("done"));
        assert_eq!(check_done_buckets(platform, &ended).await?, 1);
        let emptied = ended.bucket("fates-emptied");
        assert_eq!(emptied.status, InventoryStatus::BucketIsEmpty);
        let vanished = ended.bucket("fates-vanishing");
        assert_eq!(vanished.status, InventoryStatus::BucketNotAvailable);
        let reason = vanished.reason.as_ref().expect("it says why");
        assert_eq!(reason.code, "NoSuchBucket");
        let closed = ended.bucket("fates-closed");
        assert_eq!(closed.status, InventoryStatus::BucketAccessLost);
        let reason = closed.reason.as_ref().expect("it says why");
        assert_eq!(reason.code, "AccessDenied");
        assert_eq!(
            reason.missing_permission.as_deref(),
            Some("s3:GetInventoryConfiguration")
        );

        // A trouble that may pass and does not is the bucket's own, and holds nobody up.
        let busy = ended.bucket("fates-busy");
        assert_eq!(
            busy.status,
            InventoryStatus::InventoryConfigurationNotCreated
        );
        let reason = busy.reason.as_ref().expect("it says why");
        assert_eq!(reason.code, "Conflict");
        assert!(reason.message.contains("OperationAborted"), "{reason:?}");

        let unread: Vec<_> = ended
            .parts
            .accounts
            .iter()
            .filter_map(|account| Some((account.account.as_str(), account.reason.as_ref()?)))
            .collect();
        let [("480000000002", reason)] = unread[..] else {
            panic!("{unread:#?}");
        };
        assert_eq!(reason.missing_permission.as_deref(), Some("sts:AssumeRole"));
        let mail = platform.mail_of("fates").await?;
        for part in [&mail.text, &mail.html] {
            for said in [
                "fates-vanishing",
                "bucket_not_available",
                "fates-closed",
                "bucket_access_lost",
                "s3:GetInventoryConfiguration",
                "fates-busy",
                "480000000002",
                "sts:AssumeRole",
            ] {
                assert!(part.contains(said), "{said} is not in {part}");
            }
        }
        for name in [
            "fates-emptied",
            "fates-vanishing",
            "fates-closed",
            "fates-busy",
        ] {
            assert_eq!(rows_in_table(platform, &ended, name).await?, 0, "{name}");
        }
        assert_eq!(objects_under(platform, "inventory/fates/").await?.len(), 1);

        // What we are refused to remove stays, and so does the knowledge of it.
        let configuration = "s3insights-insights-fates";
        let left = leftovers(platform, "fates", &[ACCOUNT]).await?;
        assert_eq!(
            left,
            [format!("configuration {configuration} on fates-closed")]
        );
        assert_eq!(ended.run.cleaned_up_at, None);
        s3.delete_bucket_policy()
            .bucket("fates-closed")
            .send()
            .await?;
        platform.clean_up(&json!({"manual_cleanup": true})).await?;
        let left = configurations(platform, ACCOUNT, "us-east-1", "fates-closed").await?;
        assert_eq!(left, [""; 0]);
        let again = platform.finish(&execution).await?;
        assert!(again.run.cleaned_up_at.is_some());
        assert_eq!(again.run.outcome, Some(Outcome::Partial));
        Ok(())
    });
}

/// Deletes all objects of the bucket that is to be found empty.
async fn empty(platform: &Platform) -> Result<()> {
    let s3 = platform.s3(ACCOUNT, "eu-west-1");
    for number in 0..10 {
        s3.delete_object()
            .bucket("fates-emptied")
            .key(format!("a/{number}"))
            .send()
            .await?;
    }
    Ok(())
}
