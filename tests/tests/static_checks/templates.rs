//! Names, sizes, queues and what is kept.

use serde_json::{Value, json};
use shared::dead_letter;

use crate::documents::{resources, template, templates, text, walk};

/// The longest values that names are made of.
const LONGEST: [(&str, &str); 5] = [
    ("${DeploymentName}", "abcdefghijklmno"),
    ("${RunId}", "abcdefghijklmnop"),
    ("${AWS::AccountId}", "111122223333"),
    ("${HostAccountId}", "111122223333"),
    ("${AWS::Region}", "ap-northeast-1"),
];

fn longest(pattern: &str) -> String {
    LONGEST
        .iter()
        .fold(pattern.to_owned(), |name, (part, value)| {
            name.replace(part, value)
        })
}

#[test]
fn every_name_fits_at_its_longest() {
    let limits = [
        ("AWS::S3::Bucket", "BucketName", 63),
        ("AWS::IAM::Role", "RoleName", 64),
        ("AWS::Serverless::Function", "FunctionName", 64),
        ("AWS::Serverless::StateMachine", "Name", 80),
        ("AWS::SQS::Queue", "QueueName", 80),
        ("AWS::SNS::Topic", "TopicName", 256),
        ("AWS::DynamoDB::Table", "TableName", 255),
        ("AWS::Logs::LogGroup", "LogGroupName", 512),
        ("AWS::Events::Rule", "Name", 64),
        ("AWS::Scheduler::Schedule", "Name", 64),
    ];
    let mut checked = 0;
    for (template_name, template) in templates() {
        for (kind, field, limit) in limits {
            for (resource, body) in resources(&template, kind) {
                let pattern = body["Properties"][field]["Fn::Sub"]
                    .as_str()
                    .unwrap_or_else(|| panic!("{template_name}: {resource} has no {field}"));
                let name = longest(pattern);
                assert!(!name.contains('$'), "{template_name}: {resource}: {name}");
                assert!(
                    name.len() <= limit,
                    "{template_name}: {resource}: {name} is too long"
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 50, "only {checked} names were found");
}

#[test]
fn a_run_can_carry_the_destination_template_with_it() {
    // The limit of a template that is sent with the call and not read from a bucket.
    assert!(text("cfn/inventory-destination.yaml").len() < 51_200);
}

#[test]
fn a_destination_takes_reports_of_a_thousand_accounts() {
    let destination = template("inventory-destination");
    let lists: Vec<&String> = destination["Parameters"]
        .as_object()
        .unwrap()
        .keys()
        .filter(|name| name.starts_with("SourceAccounts"))
        .collect();
    let per_list = 275;
    assert!(lists.len() * per_list >= 1_000);
    // A parameter ends at 4,096 bytes.
    assert!(per_list * "111122223333,".len() <= 4_096);
    let accounts: Vec<&str> = vec!["111122223333"; per_list];
    let policy =
        &destination["Resources"]["DestinationBucketPolicy"]["Properties"]["PolicyDocument"];
    let size = resolved(policy, &json!(accounts)).to_string().len();
    assert!(
        size > lists.len() * per_list * 15,
        "the lists are not in the policy"
    );
    // A bucket policy ends at 20 KiB.
    assert!(size <= 20_480, "{size} bytes");
}

/// A policy with every list of accounts put in and every condition met.
fn resolved(value: &Value, accounts: &Value) -> Value {
    if let Some(branches) = value.get("Fn::If") {
        return resolved(&branches[1], accounts);
    }
    if let Some(pattern) = value.get("Fn::Sub").and_then(Value::as_str) {
        let bucket = "arn:aws:s3:::${DeploymentName}-${RunId}-${AWS::AccountId}-${AWS::Region}";
        let pattern = pattern.replace("${DestinationBucket.Arn}", bucket);
        return json!(longest(&pattern).replace("${AWS::Partition}", "aws"));
    }
    if value.get("Ref").is_some() || value.get("Fn::Split").is_some() {
        return accounts.clone();
    }
    match value {
        Value::Array(items) => items.iter().map(|item| resolved(item, accounts)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| (name.clone(), resolved(field, accounts)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

#[test]
fn the_trust_policy_of_a_member_role_fits() {
    let member = template("member-account");
    let trust = &member["Resources"]["MemberRole"]["Properties"]["AssumeRolePolicyDocument"];
    let mut size = 0;
    walk(trust, &mut |value| {
        if let Some(pattern) = value.as_str() {
            size += longest(pattern).len() + 4;
        }
    });
    // IAM takes 2,048 characters; the longest external id is on top of that for those who ask for
    // more, but what people use is short.
    assert!(size + 300 <= 2_048, "about {size} characters");
}

#[test]
fn what_others_read_is_described() {
    let saved_queries = ("saved-queries", template("saved-queries"));
    for (name, template) in templates().into_iter().chain([saved_queries]) {
        assert!(template["Description"].is_string(), "{name}");
        for (parameter, body) in template["Parameters"].as_object().unwrap() {
            assert!(body["Description"].is_string(), "{name}: {parameter}");
            if body["Type"] == "String" && body.get("AllowedValues").is_none() {
                assert!(body["AllowedPattern"].is_string(), "{name}: {parameter}");
                assert!(
                    body["ConstraintDescription"].is_string(),
                    "{name}: {parameter}"
                );
            }
        }
        let outputs = template.get("Outputs").and_then(Value::as_object);
        for (output, body) in outputs.into_iter().flatten() {
            assert!(body["Description"].is_string(), "{name}: {output}");
        }
        for (function, body) in resources(&template, "AWS::Serverless::Function") {
            assert!(
                body["Properties"]["Description"].is_string(),
                "{name}: {function}"
            );
        }
    }
}

#[test]
fn what_holds_something_says_what_becomes_of_it() {
    for (name, template) in templates() {
        for kind in [
            "AWS::S3::Bucket",
            "AWS::DynamoDB::Table",
            "AWS::SQS::Queue",
            "AWS::Logs::LogGroup",
        ] {
            for (resource, body) in resources(&template, kind) {
                for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
                    assert!(
                        body[policy].is_string(),
                        "{name}: {resource} has no {policy}"
                    );
                }
            }
        }
    }
    let host = template("host");
    for kept in ["ConsolidatedBucket", "RunTable"] {
        assert_eq!(
            host["Resources"][kept]["DeletionPolicy"], "Retain",
            "{kept}"
        );
    }
}

#[test]
fn buckets_are_private_and_encrypted() {
    for (name, template) in templates() {
        for (resource, body) in resources(&template, "AWS::S3::Bucket") {
            let properties = &body["Properties"];
            for block in [
                "BlockPublicAcls",
                "BlockPublicPolicy",
                "IgnorePublicAcls",
                "RestrictPublicBuckets",
            ] {
                let blocks = &properties["PublicAccessBlockConfiguration"][block];
                assert_eq!(blocks, true, "{name}: {resource}: {block}");
            }
            let owner = &properties["OwnershipControls"]["Rules"][0]["ObjectOwnership"];
            assert_eq!(owner, "BucketOwnerEnforced", "{name}: {resource}");
            let rule = &properties["BucketEncryption"]["ServerSideEncryptionConfiguration"][0];
            let algorithm = &rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"];
            assert_eq!(algorithm, "AES256", "{name}: {resource}");
            let lifecycle = properties["LifecycleConfiguration"].to_string();
            assert!(
                lifecycle.contains("AbortIncompleteMultipartUpload"),
                "{name}: {resource}"
            );
        }
    }
}

#[test]
fn no_message_is_lost_or_worked_on_twice_at_once() {
    let host = template("host");
    let queue = |name: &str| &host["Resources"][name]["Properties"];
    let mappings = resources(&host, "AWS::Lambda::EventSourceMapping");
    assert_eq!(mappings.len(), 4);
    for (name, mapping) in mappings {
        let properties = &mapping["Properties"];
        assert_eq!(
            properties["FunctionResponseTypes"],
            json!(["ReportBatchItemFailures"]),
            "{name}"
        );
        // A number: the embedded AWS takes what a parameter gives for a text.
        assert!(
            properties["ScalingConfig"]["MaximumConcurrency"].is_u64(),
            "{name}"
        );
        let source = properties["EventSourceArn"]["Fn::GetAtt"].as_str().unwrap();
        let source = source.strip_suffix(".Arn").unwrap();
        let is_dead_letter_queue = source.ends_with("DeadLetterQueue");
        let source = queue(source);
        let function = properties["FunctionName"]["Ref"].as_str().unwrap();
        let timeout = host["Resources"][function]["Properties"]["Timeout"]
            .as_u64()
            .unwrap();
        let visibility = source["VisibilityTimeout"].as_u64().unwrap();
        assert!(
            visibility >= 6 * timeout,
            "{name}: a message is seen again too early"
        );
        if is_dead_letter_queue {
            // What cannot be kept stays.
            assert!(source.get("RedrivePolicy").is_none(), "{name}");
            assert_eq!(function, "DeadLetterKeeperFunction", "{name}");
            continue;
        }
        let receives = &source["RedrivePolicy"]["maxReceiveCount"];
        assert_eq!(receives, dead_letter::RECEIVES_BEFORE_DEATH, "{name}");
        let dead = source["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"]
            .as_str()
            .unwrap();
        let dead = queue(dead.strip_suffix(".Arn").unwrap());
        for properties in [source, dead] {
            assert_eq!(properties["MessageRetentionPeriod"], 1_209_600, "{name}");
            assert_eq!(properties["SqsManagedSseEnabled"], true, "{name}");
        }
    }
}

#[test]
fn the_topic_is_ready_before_the_bucket_needs_it() {
    let destination = template("inventory-destination");
    let before = &destination["Resources"]["DestinationBucket"]["DependsOn"];
    for first in ["DestinationTopicPolicy", "DestinationSubscription"] {
        assert!(
            before.as_array().unwrap().contains(&json!(first)),
            "{first}"
        );
    }
    let subscription = &destination["Resources"]["DestinationSubscription"]["Properties"];
    assert_eq!(subscription["RawMessageDelivery"], true);
}
