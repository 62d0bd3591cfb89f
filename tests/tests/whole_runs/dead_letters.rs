use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use shared::run::Outcome;
use shared::status::InventoryStatus;
use tests::{
    FileQueue, Platform, check_done_buckets, check_outcome, leftovers, rows_in_table, test,
};

const ESTATE: &str = r#"
accounts:
  - id: "520000000001"
    buckets:
      - {name: dead-letters-open, region: eu-west-1, objects: [{pattern: "a/{n}", count: 15}]}
      - name: dead-letters-refused
        region: us-west-2
        objects: [{pattern: "b/{n:02}", count: 20}]
        faults: {rows_per_file: 10}
input:
  other: {run_id: deadletters, status_refresh_minutes: 1}
"#;

/// Twenty receives with the pauses between them take 200 minutes; so they take some twelve seconds.
const SCALE: f64 = 0.001;

#[test]
fn what_failed_twenty_times_is_kept_with_its_reason_and_a_replay_completes_the_run() {
    test(async |platform| {
        platform
            .aws
            .set_redelivery_scale("deadletters", SCALE)
            .await?;
        let estate = platform.build(ESTATE).await?;
        let policy = BucketPolicy::of_the_consolidated_bucket(platform).await?;
        policy
            .refuse("inventory/deadletters/*dead-letters-refused/*")
            .await?;

        let input = estate.run_input(&platform.aws.host_account_id);
        let execution = platform.start_harvester(&input).await?;
        let letters = async || letters_of_the_run(platform).await;
        platform
            .eventually("the dead letters of both files", async || {
                Ok(letters().await?.len() == 2)
            })
            .await?;
        let kept = letters().await?;
        for letter in &kept {
            assert_eq!(letter["state"], "waiting", "{letter:#}");
            assert_eq!(letter["queue"], "files");
            assert_eq!(letter["task"], "inventory-file-consolidator");
            assert_eq!(letter["bucket"], "dead-letters-refused");
            assert_eq!(letter["reason"]["code"], "AccessDenied", "{letter:#}");
            assert_eq!(
                letter["reason"]["missing_permission"], "s3:PutObject",
                "{letter:#}"
            );
            assert!(
                letter["failed_at_receive"].as_u64() >= Some(20),
                "{letter:#}"
            );
            let body: Value = serde_json::from_str(letter["body"].as_str().context("a body")?)?;
            assert_eq!(body["run_id"], "deadletters");
            assert_eq!(body["file"], letter["file"]);
        }
        // Meanwhile the run waits, and knows why.
        let bucket = platform
            .bucket_is("deadletters", "dead-letters-refused", |_| true)
            .await?;
        assert_eq!(bucket.status, InventoryStatus::InProgress);
        assert_eq!(bucket.files_pending, Some(2));
        let reason = bucket
            .dead_letter
            .context("the bucket knows of the dead letter")?;
        assert_eq!(reason.missing_permission.as_deref(), Some("s3:PutObject"));
        assert!(platform.clients.execution(&execution).await?.is_running());

        let replay = ["deadletters", "replay", "--filter", "run=deadletters"];
        let dry = platform
            .s3insights(&[&replay[..], &["--dry-run"]].concat())
            .await?;
        assert_eq!(ids(&dry["replayed"]), message_ids(&kept));
        assert_eq!(letters().await?, kept, "a dry run changes nothing");

        policy.restore().await?;
        let replayed = platform.s3insights(&replay).await?;
        assert_eq!(ids(&replayed["replayed"]), message_ids(&kept));
        let ended = platform.finish(&execution).await?;
        check_outcome(&ended, Outcome::Complete);
        assert_eq!(check_done_buckets(platform, &ended).await?, 2);
        assert_eq!(
            rows_in_table(platform, &ended, "dead-letters-refused").await?,
            20
        );

        // A second replay has nothing to do.
        let again = platform.s3insights(&replay).await?;
        assert_eq!(again["replayed"], json!([]));
        assert_eq!(
            again["left_out"].as_array().map(Vec::len),
            Some(2),
            "{again:#}"
        );
        for letter in letters().await? {
            assert_eq!(letter["state"], "replayed");
            assert_eq!(letter["replayed_at"].as_array().map(Vec::len), Some(1));
        }

        // One that is insisted on changes nothing: the run is over.
        let insisted = platform
            .s3insights(&[&replay[..], &["--all"]].concat())
            .await?;
        assert_eq!(ids(&insisted["replayed"]), message_ids(&kept));
        FileQueue::new(platform).is_worked_off().await?;
        let parts = platform.parts(&ended.run.run_id).await?;
        assert_eq!(parts.buckets, ended.parts.buckets);
        assert_eq!(check_done_buckets(platform, &ended).await?, 2);
        let left = leftovers(platform, "deadletters", &["520000000001"]).await?;
        assert_eq!(left, [""; 0]);
        platform.aws.set_redelivery_scale("deadletters", 1.0).await
    });
}

async fn letters_of_the_run(platform: &Platform) -> Result<Vec<Value>> {
    let list = ["deadletters", "list", "--filter", "run=deadletters"];
    let letters = platform.s3insights(&list).await?;
    letters.as_array().cloned().context("a list")
}

fn message_ids(letters: &[Value]) -> BTreeSet<&str> {
    let ids = letters.iter().map(|letter| letter["message_id"].as_str());
    ids.map(|id| id.expect("a letter has an id")).collect()
}

fn ids(list: &Value) -> BTreeSet<&str> {
    let ids = list.as_array().expect("a list").iter().map(Value::as_str);
    ids.map(|id| id.expect("an id is a text")).collect()
}

/// The policy of the consolidated bucket as it was, and its owner.
struct BucketPolicy<'a> {
    s3: aws_sdk_s3::Client,
    bucket: &'a str,
    original: String,
}

impl<'a> BucketPolicy<'a> {
    async fn of_the_consolidated_bucket(platform: &'a Platform) -> Result<Self> {
        let aws = &platform.aws;
        let s3 = platform.s3(&aws.host_account_id, &aws.region);
        let bucket = platform.output("ConsolidatedBucketName");
        let policy = s3.get_bucket_policy().bucket(bucket).send().await?;
        let original = policy
            .policy()
            .context("the bucket has a policy")?
            .to_owned();
        Ok(Self {
            s3,
            bucket,
            original,
        })
    }

    /// Lets nobody write objects whose key fits the pattern.
    async fn refuse(&self, keys: &str) -> Result<()> {
        let mut policy: Value = serde_json::from_str(&self.original)?;
        let statements = policy["Statement"].as_array_mut().context("statements")?;
        statements.push(json!({
            "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
            "Resource": format!("arn:aws:s3:::{}/{keys}", self.bucket),
        }));
        self.put(&policy.to_string()).await
    }

    async fn restore(&self) -> Result<()> {
        self.put(&self.original).await
    }

    async fn put(&self, policy: &str) -> Result<()> {
        let put = self.s3.put_bucket_policy().bucket(self.bucket);
        put.policy(policy).send().await?;
        Ok(())
    }
}
