//! Faults of the plan, as the SDK that functions use understands them.

use std::time::Duration;

use aws_config::{SdkConfig, retry::RetryConfig};
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_sqs::types::QueueAttributeName;
use local_aws::{FaultKind, FaultPlan, FaultRule, LocalAws};

use crate::support::*;

fn through_the_gate(aws: &LocalAws, attempts: u32) -> SdkConfig {
    let retries = RetryConfig::standard()
        .with_max_attempts(attempts)
        .with_initial_backoff(Duration::from_millis(1));
    aws.sdk_config(MEMBER, REGION)
        .to_builder()
        .endpoint_url(aws.gate_url.clone())
        .retry_config(retries)
        .build()
}

fn s3_through_the_gate(aws: &LocalAws, attempts: u32) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(&through_the_gate(aws, attempts))
        .endpoint_url(aws.gate_url.clone())
        .force_path_style(true)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

/// The first requests of one operation meet a fault.
async fn first(aws: &LocalAws, service: &str, kind: FaultKind, requests: u64) {
    let rule = FaultRule {
        service: Some(service.to_owned()),
        operation: None,
        rate: 1.0,
        at_most: Some(requests),
        kind,
    };
    let plan = FaultPlan {
        rules: vec![rule],
        ..FaultPlan::default()
    };
    aws.set_fault_plan(&plan).await.unwrap();
}

/// One request of each protocol. Gives the codes of those that failed, none for no answer.
async fn ask(aws: &LocalAws, service: &str, attempts: u32) -> Option<Option<String>> {
    let config = through_the_gate(aws, attempts);
    let code = |code: Option<&str>| Some(code.map(str::to_owned));
    match service {
        "s3" => {
            let asked = s3_through_the_gate(aws, attempts).list_buckets().send();
            asked.await.err().and_then(|error| code(error.code()))
        }
        "sqs" => {
            let asked = aws_sdk_sqs::Client::new(&config).list_queues().send();
            asked.await.err().and_then(|error| code(error.code()))
        }
        "sts" => {
            let asked = aws_sdk_sts::Client::new(&config)
                .get_caller_identity()
                .send();
            asked.await.err().and_then(|error| code(error.code()))
        }
        "ses" => {
            let asked = aws_sdk_sesv2::Client::new(&config)
                .list_email_identities()
                .send();
            asked.await.err().and_then(|error| code(error.code()))
        }
        _ => unreachable!("{service}"),
    }
}

#[tokio::test]
async fn the_sdk_knows_every_fault_and_tries_again() {
    let aws = shared().await;
    for (service, throttled, broken) in [
        ("s3", "SlowDown", "InternalError"),
        ("sqs", "RequestThrottled", "InternalServerError"),
        ("sts", "Throttling", "InternalFailure"),
        ("ses", "TooManyRequestsException", "InternalServerError"),
    ] {
        assert_eq!(ask(aws, service, 1).await, None, "{service}");
        for (kind, code) in [
            (FaultKind::Throttle, Some(throttled)),
            (FaultKind::Error500, Some(broken)),
            (FaultKind::Error503, Some("ServiceUnavailable")),
            (FaultKind::DropBefore, None),
            (FaultKind::DropAfter, None),
        ] {
            first(aws, service, kind, 1).await;
            let found = ask(aws, service, 1).await;
            assert_eq!(
                found,
                Some(code.map(str::to_owned)),
                "{service}, {}",
                kind.name()
            );
            first(aws, service, kind, 2).await;
            assert_eq!(
                ask(aws, service, 3).await,
                None,
                "{service}, {}",
                kind.name()
            );
            assert_eq!(aws.faults_injected().await.unwrap()[kind.name()], 2);
        }
    }

    // What was dropped after it took effect took effect, and what was dropped before did not.
    let sqs = aws_sdk_sqs::Client::new(&through_the_gate(aws, 3));
    for (kind, messages) in [(FaultKind::DropBefore, "1"), (FaultKind::DropAfter, "2")] {
        let queue = sqs
            .create_queue()
            .queue_name(format!("gate-{}", kind.name()));
        let queue = queue.send().await.unwrap();
        let url = queue.queue_url().unwrap();
        first(aws, "sqs", kind, 1).await;
        let sent = sqs.send_message().queue_url(url).message_body("once");
        sent.send().await.unwrap();
        let number = QueueAttributeName::ApproximateNumberOfMessages;
        let asked = sqs.get_queue_attributes().queue_url(url);
        let found = asked.attribute_names(number.clone()).send().await.unwrap();
        assert_eq!(found.attributes().unwrap()[&number], messages);
    }

    // The test itself is no function: nobody is killed.
    first(aws, "sts", FaultKind::KillBefore, 1).await;
    assert_eq!(ask(aws, "sts", 1).await, None);
    assert!(aws.faults_injected().await.unwrap().is_empty());
    aws.clear_fault_plan().await.unwrap();
}
