use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use aws_sdk_eventbridge::types::Target;
use aws_sdk_sqs::types::QueueAttributeName;
use futures::try_join;
use serde_json::{Value, json};
use shared::run::Outcome;
use shared::run_ended::{DETAIL_TYPE, SOURCE};
use tests::{Platform, check_outcome, test};

const ESTATE: &str = r#"
accounts:
  - id: "670000000001"
    buckets:
      - {name: ended-well, objects: [{pattern: "a/{n}", count: 7}], faults: {rows_per_file: 4}}
      - {name: ended-empty}
  - id: "670000000002"
    buckets:
      - {name: ended-damaged, objects: [{pattern: "a/{n}", count: 5}], faults: {wrong_file_md5: true}}
  - id: "670000000003"
    buckets:
      - {name: ended-held, objects: [{pattern: "a/{n}", count: 5}], faults: {hold: true}}
"#;

/// What the platform says without being told which run it is about: S3's own test, and strangers'
/// reports.
const OF_NO_RUN: [&str; 3] = [
    "notifications of a destination are set up",
    "message of no known kind is acknowledged",
    "report ignored",
];

#[test]
fn other_systems_logs_and_metrics_tell_how_each_run_ended() {
    test(async |platform| {
        platform.build(ESTATE).await?;
        let events = Events::of(platform, &["endedwell", "endedpart", "endedstop"]).await?;
        let input = |run_id: &str, account: &str| {
            let mut input = platform.input(&[account]);
            input["run_id"] = json!(run_id);
            input
        };
        let (complete, partial, stopped) = (
            input("endedwell", "670000000001"),
            input("endedpart", "670000000002"),
            input("endedstop", "670000000003"),
        );
        let stop = async {
            let execution = platform.start_harvester(&stopped).await?;
            platform
                .bucket_is("endedstop", "ended-held", |bucket| bucket.configured)
                .await?;
            platform.stop(&execution).await?;
            platform.clean_up(&json!({ "run_id": "endedstop" })).await?;
            platform.finish(&execution).await
        };
        let (complete, partial, stopped) = try_join!(
            platform.harvest(&complete),
            platform.harvest(&partial),
            stop
        )?;
        check_outcome(&complete, Outcome::Complete);
        check_outcome(&partial, Outcome::Partial);
        assert_eq!(stopped.run.outcome, Some(Outcome::Failed));

        let told = events.until_all_came(platform).await?;
        for ended in [&complete, &partial, &stopped] {
            let event = &told[ended.run.run_id.as_str()];
            assert_eq!(event["source"], SOURCE);
            assert_eq!(event["detail-type"], DETAIL_TYPE);
            assert_eq!(event["resources"], json!([ended.run.execution_arn]));
            let detail = &event["detail"];
            assert_eq!(detail["outcome"], json!(ended.run.outcome));
            assert_eq!(detail["failure"], json!(ended.run.failure));
            assert_eq!(detail["table"], ended.run.input.athena_table_name.as_str());
            assert_eq!(
                detail["contents"]["rows"],
                json!(
                    ended
                        .parts
                        .buckets
                        .iter()
                        .map(|bucket| bucket.rows)
                        .sum::<u64>()
                )
            );
            for location in ["summary", "report"] {
                let location = detail[location].as_str().context("it has a location")?;
                ensure!(
                    is_there(platform, location).await?,
                    "{location} is not there"
                );
            }
        }
        let [complete, partial, stopped] = [&complete, &partial, &stopped]
            .map(|ended| &told[ended.run.run_id.as_str()]["detail"]["buckets"]);
        assert_eq!(
            (&complete["done"], &complete["bucket_is_empty"]),
            (&json!(1), &json!(1))
        );
        assert_eq!(partial["verification_failed"], 1);
        assert_eq!(stopped["in_progress"], 1);

        check_logs_and_metrics(platform).await
    });
}

/// Every line of work on a message names its run, and what was consolidated is measured.
async fn check_logs_and_metrics(platform: &Platform) -> Result<()> {
    let measured = |lines: &[Value], run_id: &str, metric: &str| -> u64 {
        let of_run = lines.iter().filter(|line| line["run_id"] == run_id);
        of_run.filter_map(|line| line[metric].as_u64()).sum()
    };
    let read = |function: &str| -> Result<Vec<Value>> {
        let path = platform.aws.log_folder().join("functions");
        let path = path.join(format!("{}-{function}.log", tests::DEPLOYMENT));
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        // The last line may still be being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().map(|line| {
            serde_json::from_str(line).with_context(|| format!("{function} logs {line:?}"))
        });
        lines.collect()
    };
    for function in ["inventory-object-processor", "inventory-file-consolidator"] {
        for line in read(function)? {
            let is_ours = line["level"].is_string() && line["span"]["name"] == "message";
            let message = line["fields"]["message"].as_str().unwrap_or_default();
            if is_ours && !OF_NO_RUN.contains(&message) {
                let run_id = line["span"]["run_id"].as_str().unwrap_or_default();
                assert!(
                    !run_id.is_empty(),
                    "{function} does not say the run: {line}"
                );
            }
        }
    }
    // Printed after the last transaction of the run, which is what the run waits for.
    let mut consolidated = Vec::new();
    platform
        .eventually("the metrics of the last file", async || {
            consolidated = read("inventory-file-consolidator")?;
            Ok(measured(&consolidated, "endedwell", "Files") == 2)
        })
        .await?;
    assert_eq!(measured(&consolidated, "endedwell", "Rows"), 7);
    let lag = consolidated
        .iter()
        .find(|line| line["run_id"] == "endedwell" && line["Files"] == 1)
        .map(|line| line["ConsolidationLag"].as_f64());
    assert!(lag.flatten().is_some_and(|lag| lag >= 0.0), "{lag:?}");
    assert_eq!(
        measured(&consolidated, "endedpart", "VerificationFailures"),
        1
    );

    let summaries = read("send-summary")?;
    for (run_id, outcome) in [
        ("endedwell", "complete"),
        ("endedpart", "partial"),
        ("endedstop", "failed"),
    ] {
        let runs: BTreeMap<&str, u64> = summaries
            .iter()
            .filter(|line| line["run_id"] == run_id)
            .filter_map(|line| Some((line["Outcome"].as_str()?, line["Runs"].as_u64()?)))
            .collect();
        assert_eq!(runs.len(), 3, "{run_id}");
        assert_eq!(runs.values().sum::<u64>(), 1, "{run_id}");
        assert_eq!(runs[outcome], 1, "{run_id}");
    }
    Ok(())
}

async fn is_there(platform: &Platform, location: &str) -> Result<bool> {
    let place = location.strip_prefix("s3://");
    let (bucket, key) = place
        .and_then(|place| place.split_once('/'))
        .context("a location")?;
    let s3 = platform.s3(&platform.aws.host_account_id, &platform.aws.region);
    Ok(s3
        .head_object()
        .bucket(bucket)
        .key(key)
        .send()
        .await
        .is_ok())
}

/// A queue that hears of the end of some runs, as another system would.
struct Events {
    sqs: aws_sdk_sqs::Client,
    queue_url: String,
    runs: Vec<String>,
}

impl Events {
    async fn of(platform: &Platform, runs: &[&str]) -> Result<Self> {
        let config = platform
            .aws
            .sdk_config(&platform.aws.host_account_id, &platform.aws.region);
        let sqs = aws_sdk_sqs::Client::new(&config);
        let queue = sqs.create_queue().queue_name("run-ended").send().await?;
        let queue_url = queue
            .queue_url()
            .context("the queue has an address")?
            .to_owned();
        let attributes = sqs
            .get_queue_attributes()
            .queue_url(&queue_url)
            .attribute_names(QueueAttributeName::QueueArn)
            .send()
            .await?;
        let arn = attributes
            .attributes()
            .and_then(|attributes| attributes.get(&QueueAttributeName::QueueArn))
            .context("the queue has an ARN")?;
        let policy = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": "events.amazonaws.com" },
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }] });
        sqs.set_queue_attributes()
            .queue_url(&queue_url)
            .attributes(QueueAttributeName::Policy, policy.to_string())
            .send()
            .await?;
        let bus = aws_sdk_eventbridge::Client::new(&config);
        let pattern = json!({
            "source": [SOURCE],
            "detail-type": [DETAIL_TYPE],
            "detail": { "run_id": runs },
        });
        bus.put_rule()
            .name("run-ended")
            .event_pattern(pattern.to_string())
            .send()
            .await?;
        let target = Target::builder().id("queue").arn(arn).build()?;
        bus.put_targets()
            .rule("run-ended")
            .targets(target)
            .send()
            .await?;
        Ok(Self {
            sqs,
            queue_url,
            runs: runs.iter().map(|run| (*run).to_owned()).collect(),
        })
    }

    /// The events by run, once every run has one.
    async fn until_all_came(&self, platform: &Platform) -> Result<BTreeMap<String, Value>> {
        let mut told = BTreeMap::new();
        platform
            .eventually("events of the end of runs", async || {
                let received = self
                    .sqs
                    .receive_message()
                    .queue_url(&self.queue_url)
                    .max_number_of_messages(10)
                    .send()
                    .await?;
                for message in received.messages() {
                    let event: Value = serde_json::from_str(message.body().unwrap_or_default())?;
                    let run_id = event["detail"]["run_id"].as_str().context("it has a run")?;
                    told.insert(run_id.to_owned(), event.clone());
                }
                Ok(told.len() == self.runs.len())
            })
            .await?;
        Ok(told)
    }
}
