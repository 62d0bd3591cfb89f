//! Faults of the plan, as the SDK that functions use understands them.

use std::time::Duration;

use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};
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
        "dynamodb" => {
            let asked = aws_sdk_dynamodb::Client::new(&config).list_tables().send();
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
        ("dynamodb", "ThrottlingException", "InternalServerError"),
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

    // The test itself is no function: nobody is killed or stands still.
    for kind in [
        FaultKind::KillBefore,
        FaultKind::KillAfter,
        FaultKind::HangAfter,
    ] {
        first(aws, "sts", kind, 1).await;
        assert_eq!(ask(aws, "sts", 1).await, None);
        assert!(aws.faults_injected().await.unwrap().is_empty());
    }

    a_silent_connection_is_given_up_and_tried_again(aws).await;
    a_read_that_allows_it_is_stale(aws).await;
    aws.clear_fault_plan().await.unwrap();
}

async fn a_silent_connection_is_given_up_and_tried_again(aws: &LocalAws) {
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_millis(500))
        .build();
    let config = through_the_gate(aws, 2).to_builder();
    let config = config.timeout_config(timeouts).build();
    first(aws, "dynamodb", FaultKind::Silence, 1).await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&config);
    dynamodb.list_tables().send().await.unwrap();
    assert_eq!(aws.faults_injected().await.unwrap()["silence"], 1);
}

async fn a_read_that_allows_it_is_stale(aws: &LocalAws) {
    const TABLE: &str = "stale";
    aws.clear_fault_plan().await.unwrap();
    let dynamodb = aws_sdk_dynamodb::Client::new(&through_the_gate(aws, 1));
    let key = AttributeDefinition::builder()
        .attribute_name("pk")
        .attribute_type(ScalarAttributeType::S);
    let schema = KeySchemaElement::builder()
        .attribute_name("pk")
        .key_type(KeyType::Hash);
    dynamodb
        .create_table()
        .table_name(TABLE)
        .attribute_definitions(key.build().unwrap())
        .key_schema(schema.build().unwrap())
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .unwrap();
    let put = async |value: &str| {
        let put = dynamodb.put_item().table_name(TABLE);
        let put = put.item("pk", AttributeValue::S("one".to_owned()));
        let put = put.item("value", AttributeValue::S(value.to_owned()));
        put.send().await.unwrap();
    };
    let get = async |consistent: bool| {
        let get = dynamodb.get_item().table_name(TABLE);
        let get = get.key("pk", AttributeValue::S("one".to_owned()));
        let found = get.consistent_read(consistent).send().await.unwrap();
        found.item.unwrap()["value"].as_s().unwrap().clone()
    };

    // Nothing to be stale with: the read goes through, and another one is stale.
    first(aws, "dynamodb", FaultKind::StaleRead, 2).await;
    put("first").await;
    assert_eq!(get(false).await, "first");
    put("second").await;
    assert_eq!(get(true).await, "second");
    assert_eq!(get(false).await, "first");
    assert_eq!(aws.faults_injected().await.unwrap()["stale_read"], 1);
}
