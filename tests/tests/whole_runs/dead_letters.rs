use std::collections::BTreeSet;

use anyhow::{Context, Result};
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::ids::{Region, RunId};
use shared::run::Outcome;
use shared::status::InventoryStatus;
use tests::{
    FileQueue, Platform, check_done_buckets, check_outcome, leftovers, rows_in_table, test,
};

const ESTATE: &str = r#"
accounts:
  - id: "650000000001"
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
        let region = Region::try_from(platform.aws.region.as_str())?;
        let bucket = platform.output("ConsolidatedBucketName");
        let policy = BucketPolicy::of(platform, &region, bucket).await?;
        let rows = "inventory/deadletters/*dead-letters-refused/*";
        policy.refuse("s3:PutObject", rows).await?;

        let input = estate.run_input(&platform.aws.host_account_id);
        let execution = platform.start_harvester(&input).await?;
        let run_id = RunId::try_from("deadletters")?;
        let letters = async || letters_of(platform, &run_id).await;
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

        // One that comes back too early dies again, and says what it repeats.
        let first = kept[0]["message_id"].as_str().context("an id")?;
        let of_first = format!("id={first}");
        let early = ["deadletters", "replay", "--filter", &of_first];
        let replayed = platform.s3insights(&early).await?;
        assert_eq!(ids(&replayed["replayed"]), BTreeSet::from([first]));
        platform
            .eventually("the dead letter of the replay", async || {
                Ok(letters().await?.len() == 3)
            })
            .await?;
        let all = letters().await?;
        let is_waiting = |letter: &Value| letter["state"] == "waiting";
        let waiting: Vec<Value> = all
            .iter()
            .filter(|letter| is_waiting(letter))
            .cloned()
            .collect();
        assert_eq!(waiting.len(), 2, "{all:#?}");
        let again = waiting.iter().find(|letter| letter["replay_of"] == first);
        let again = again.context("the replay died")?;
        assert_eq!(again["body"], kept[0]["body"]);

        policy.restore().await?;
        let replayed = platform.s3insights(&replay).await?;
        assert_eq!(ids(&replayed["replayed"]), message_ids(&waiting));
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
            Some(3),
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
        assert_eq!(ids(&insisted["replayed"]), message_ids(&letters().await?));
        FileQueue::new(platform).is_worked_off().await?;
        let parts = platform.parts(&ended.run.run_id).await?;
        assert_eq!(parts.buckets, ended.parts.buckets);
        assert_eq!(check_done_buckets(platform, &ended).await?, 2);
        let left = leftovers(platform, "deadletters", &["650000000001"]).await?;
        assert_eq!(left, [""; 0]);
        platform.aws.set_redelivery_scale("deadletters", 1.0).await
    });
}

const OVERDUE: &str = r#"
accounts:
  - id: "650000000002"
    buckets:
      - {name: overdue-letters-open, region: eu-west-1, objects: [{pattern: "a/{n}", count: 15}]}
      - name: overdue-letters-refused
        region: us-west-2
        objects: [{pattern: "b/{n:02}", count: 20}]
        faults: {hold: true}
input:
  other: {run_id: overdueletters, status_refresh_minutes: 1}
"#;

/// A policy of the destination refuses the manifest, so it is the notification that dies.
#[test]
fn a_summary_tells_what_was_given_up_and_a_replay_leaves_it_out() {
    test(async |platform| {
        let run_id = "overdueletters";
        platform.aws.set_redelivery_scale(run_id, SCALE).await?;
        let estate = platform.build(OVERDUE).await?;
        let input = estate.run_input(&platform.aws.host_account_id);
        let execution = platform.start_harvester(&input).await?;
        platform
            .bucket_is(run_id, "overdue-letters-refused", |bucket| {
                bucket.configured
            })
            .await?;
        let runs = platform.clients.run_table(platform.output("RunTableName"));
        let (run_id, region) = (RunId::try_from(run_id)?, Region::try_from("us-west-2")?);
        let destination = runs.destination(&run_id, &region).await?;
        let destination = destination.and_then(|destination| destination.bucket);
        let destination = destination.context("a destination")?;
        let policy = BucketPolicy::of(platform, &region, destination.as_str()).await?;
        policy.refuse("s3:GetObject", "*/manifest.json").await?;
        platform.aws.clear_faults("overdue-letters-refused").await?;

        let letters = async || letters_of(platform, &run_id).await;
        platform
            .eventually("the dead letter of the notification", async || {
                Ok(letters().await?.len() == 1)
            })
            .await?;
        let letter = letters().await?.remove(0);
        assert_eq!(letter["queue"], "notifications");
        assert_eq!(letter["task"], "inventory-object-processor");
        assert_eq!(letter["bucket"], "overdue-letters-refused");
        assert_eq!(letter["account_id"], "650000000002");
        assert_eq!(letter["state"], "waiting");
        bring_the_deadline_forward(platform, &run_id).await?;

        let ended = platform.finish(&execution).await?;
        check_outcome(&ended, Outcome::Partial);
        assert_eq!(ended.status("overdue-letters-open"), Some("done"));
        let bucket = ended.bucket("overdue-letters-refused");
        let reason = bucket.reason.as_ref().context("it says why")?;
        assert_eq!(reason.code, "DeadlinePassed");
        assert_eq!(reason.missing_permission.as_deref(), Some("s3:GetObject"));
        let mail = platform.mail_of(run_id.as_str()).await?;
        for said in [
            "a message about it was given up: AccessDenied",
            "s3:GetObject",
        ] {
            assert!(mail.text.contains(said), "{said} is not in {}", mail.text);
        }

        let filter = format!("run={run_id}");
        let replay = ["deadletters", "replay", "--filter", &filter];
        let replayed = platform.s3insights(&replay).await?;
        assert_eq!(replayed["replayed"], json!([]));
        assert_eq!(replayed["left_out"][0]["state"], "run_is_over");
        let shown = [
            "deadletters",
            "show",
            letter["message_id"].as_str().context("an id")?,
        ];
        let shown = platform.s3insights(&shown).await?;
        assert_eq!(shown["body"], letter["body"]);
        assert_eq!(shown["state"], "run_is_over");
        let left = leftovers(platform, run_id.as_str(), &["650000000002"]).await?;
        assert_eq!(left, [""; 0]);
        platform
            .aws
            .set_redelivery_scale(run_id.as_str(), 1.0)
            .await
    });
}

/// The least that a deadline can be away is a minute, and nobody knows what will have died by then.
async fn bring_the_deadline_forward(platform: &Platform, run_id: &RunId) -> Result<()> {
    let aws = &platform.aws;
    let config = aws.sdk_config(&aws.host_account_id, &aws.region);
    aws_sdk_dynamodb::Client::new(&config)
        .update_item()
        .table_name(platform.output("RunTableName"))
        .key("pk", AttributeValue::S(format!("run#{run_id}")))
        .key("sk", AttributeValue::S("run".to_owned()))
        .update_expression("SET deadline = started_at")
        .send()
        .await?;
    Ok(())
}

async fn letters_of(platform: &Platform, run_id: &RunId) -> Result<Vec<Value>> {
    let filter = format!("run={run_id}");
    let list = ["deadletters", "list", "--filter", &filter];
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

/// The policy of one of the platform's buckets as it was, and its owner.
struct BucketPolicy<'a> {
    s3: aws_sdk_s3::Client,
    bucket: &'a str,
    original: String,
}

impl<'a> BucketPolicy<'a> {
    async fn of(platform: &Platform, region: &Region, bucket: &'a str) -> Result<Self> {
        let s3 = platform.s3(&platform.aws.host_account_id, region.as_str());
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

    /// Lets nobody do this with objects whose key fits the pattern.
    async fn refuse(&self, action: &str, keys: &str) -> Result<()> {
        let mut policy: Value = serde_json::from_str(&self.original)?;
        let statements = policy["Statement"].as_array_mut().context("statements")?;
        statements.push(json!({
            "Effect": "Deny", "Principal": "*", "Action": action,
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
