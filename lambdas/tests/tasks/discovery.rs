use lambdas::{discover_buckets, initialize, seed_smoke_test};
use serde_json::{Value, json};
use shared::error::TaskError;
use shared::run::DestinationState;
use shared::status::Reason;

use crate::support::{
    Aws, DESTINATION, EXECUTION, HOST, Line, MEMBER, Reply, cancelled, condition_failed,
    destination, done, error, error_with, frozen_run, input, item, no_item, run, smoke_run,
    the_run, versions, xml,
};

// --- initialize --------------------------------------------------------------------------------

pub(crate) fn initialize_payload() -> Value {
    json!({ "input": run_input(), "execution_arn": EXECUTION, "started_at": "2026-03-01T00:00:00Z" })
}

fn run_input() -> Value {
    json!({
        "run_id": "nightly",
        "accounts": [{ "id": MEMBER }],
        "athena_table_name": "inventory_nightly",
        "sender_email_address": "platform@example.com",
        "recipient_email_addresses": ["a@example.com"],
    })
}

fn regions(codes: &[&str], next: Option<&str>) -> Reply {
    let regions: Vec<Value> = codes
        .iter()
        .map(|code| json!({ "RegionName": code, "RegionOptStatus": "ENABLED" }))
        .collect();
    Reply::Json(json!({ "Regions": regions, "NextToken": next }))
}

fn no_table() -> Reply {
    error(400, "EntityNotFoundException")
}

fn verified(yes: bool) -> Reply {
    Reply::Json(json!({ "VerifiedForSendingStatus": yes }))
}

fn production(yes: bool) -> Reply {
    Reply::Json(json!({ "ProductionAccessEnabled": yes }))
}

pub(crate) fn initialize_script() -> Vec<Line> {
    vec![
        ("POST /listRegions", regions(&["us-east-1"], Some("more"))),
        ("POST /listRegions", regions(&["eu-west-1"], None)),
        ("GetItem run", no_item()),
        ("GetTable s3insights.inventory_nightly", no_table()),
        ("GET /v2/email/account", production(true)),
        (
            "GET /v2/email/identities/platform@example.com",
            verified(true),
        ),
        ("PutItem run", done()),
    ]
}

async fn initialize(script: Vec<Line>) -> (Aws, Result<initialize::Output, TaskError>) {
    run(script, |platform| {
        initialize::handle(platform, input(initialize_payload()))
    })
    .await
}

#[tokio::test]
async fn a_run_is_opened_by_a_conditional_write() {
    let (aws, answer) = initialize(initialize_script()).await;
    let answer = answer.unwrap();
    assert_eq!(answer.run_id.as_str(), "nightly");
    assert_eq!(answer.accounts[0].as_str(), MEMBER);
    assert_eq!(answer.status_refresh_seconds, 1_800);
    assert!(!answer.is_smoke_test);

    let put = aws.call("PutItem run");
    assert_eq!(put.condition(), "attribute_not_exists(pk)");
    let stored = put.item();
    assert_eq!(stored["pk"], "run#nightly");
    assert_eq!(stored["collection"], "runs");
    assert_eq!(stored["started_at"], "2026-03-01T00:00:00Z");
    assert_eq!(stored["deadline"], "2026-03-03T02:00:00Z");
    // 400 days later.
    assert_eq!(stored["expires_at"], 1_772_323_200 + 400 * 86_400);
    let kept: Value = serde_json::from_str(stored["input"].as_str().unwrap()).unwrap();
    assert_eq!(kept.get("supported_regions"), None, "every Region");
}

#[tokio::test]
async fn a_run_over_as_many_accounts_as_can_be_started_fits_into_its_record() {
    let mut payload = initialize_payload();
    let accounts: Vec<Value> = (0..11_000)
        .map(|number| json!({ "id": format!("{number:012}") }))
        .collect();
    payload["input"]["accounts"] = json!(accounts);
    // No more than Step Functions takes.
    assert!(payload.to_string().len() <= 262_144);
    let (aws, answer) = run(initialize_script(), |platform| {
        initialize::handle(platform, input(payload))
    })
    .await;
    let output = serde_json::to_string(&answer.unwrap()).unwrap();
    assert!(output.len() < 262_144, "a state's output ends there");
    // 400 KB are the end of an item, of which what becomes of the run needs a part.
    let item = aws.call("PutItem run").item().to_string();
    assert!(item.len() < 300_000, "{}", item.len());
}

#[tokio::test]
async fn what_does_not_fit_into_a_record_is_refused_before_anything_is_made() {
    let mut payload = initialize_payload();
    let accounts: Vec<Value> = (0..20_000)
        .map(|number| json!({ "id": format!("{number:012}") }))
        .collect();
    payload["input"]["accounts"] = json!(accounts);
    let mut script = initialize_script();
    script.truncate(4);
    let (_, answer) = run(script, |platform| {
        initialize::handle(platform, input(payload))
    })
    .await;
    let error = answer.unwrap_err();
    assert_eq!(error.name(), "InvalidInput");
    let said = error.to_string();
    assert!(
        said.contains("\n- input: has 4") && said.contains("some 12,000 accounts"),
        "{said}"
    );
}

#[tokio::test]
async fn regions_are_known_from_every_page() {
    let mut payload = initialize_payload();
    payload["input"]["supported_regions"] = json!(["us-east-1", "eu-west-1"]);
    let (_, answer) = run(initialize_script(), |platform| {
        initialize::handle(platform, input(payload))
    })
    .await;
    answer.unwrap();
}

#[tokio::test]
async fn the_same_execution_opens_the_same_run_again() {
    let (_, first) = initialize(initialize_script()).await;
    let mut script = initialize_script();
    script.truncate(2);
    script.extend([
        ("GetItem run", item(&the_run())),
        ("GET /v2/email/account", production(true)),
        (
            "GET /v2/email/identities/platform@example.com",
            verified(true),
        ),
        ("PutItem run", condition_failed()),
        ("GetItem run", item(&the_run())),
    ]);
    let (_, again) = initialize(script).await;
    assert_eq!(again.unwrap(), first.unwrap());
}

#[tokio::test]
async fn names_in_use_are_told_together_and_nothing_is_written() {
    let mut other = the_run();
    other.execution_arn = "arn:aws:states:us-east-1:999999999999:execution:harvester:other".into();
    let mut script = initialize_script();
    script.truncate(2);
    script.extend([
        ("GetItem run", item(&other)),
        (
            "GetTable s3insights.inventory_nightly",
            Reply::Json(json!({ "Table": { "Name": "inventory_nightly" } })),
        ),
    ]);
    let (_, answer) = initialize(script).await;
    let error = answer.unwrap_err();
    assert_eq!(error.name(), "InvalidInput");
    let message = error.to_string();
    assert!(
        message.contains("- run_id: nightly was used by"),
        "{message}"
    );
    assert!(
        message.contains("- athena_table_name: table inventory_nightly"),
        "{message}"
    );
}

#[tokio::test]
async fn a_run_id_that_is_taken_meanwhile_is_refused() {
    let mut other = the_run();
    other.execution_arn = "somebody else".into();
    let mut script = initialize_script();
    script.truncate(6);
    script.extend([
        ("PutItem run", condition_failed()),
        ("GetItem run", item(&other)),
    ]);
    let (_, answer) = initialize(script).await;
    let error = answer.unwrap_err();
    assert_eq!(error.name(), "InvalidInput");
    assert!(error.to_string().contains("run_id: "), "{error}");
}

#[tokio::test]
async fn in_the_sandbox_every_address_is_asked_to_verify_itself() {
    let missing = || error(404, "NotFoundException");
    let mut script = initialize_script();
    script.truncate(4);
    script.extend([
        ("GET /v2/email/account", production(false)),
        (
            "GET /v2/email/identities/platform@example.com",
            verified(true),
        ),
        ("GET /v2/email/identities/a@example.com", verified(false)),
        ("GET /v2/email/identities/example.com", missing()),
        ("POST /v2/email/identities", done()),
        ("PutItem run", done()),
    ]);
    let (aws, answer) = initialize(script).await;
    answer.unwrap();
    let request = aws.call("POST /v2/email/identities");
    assert_eq!(request.json()["EmailIdentity"], "a@example.com");
    let warnings = aws.call("PutItem run").item()["warnings"].clone();
    assert!(
        warnings
            .as_str()
            .unwrap()
            .contains("recipient_email_addresses[0]"),
        "{warnings}"
    );
}

#[tokio::test]
async fn a_verified_domain_speaks_for_its_addresses() {
    let mut script = initialize_script();
    script.truncate(5);
    script.extend([
        (
            "GET /v2/email/identities/platform@example.com",
            error(404, "NotFoundException"),
        ),
        ("GET /v2/email/identities/example.com", verified(true)),
        ("PutItem run", done()),
    ]);
    let (_, answer) = initialize(script).await;
    answer.unwrap();
}

#[tokio::test]
async fn a_bad_run_input_names_every_field_and_writes_nothing() {
    let script = vec![("POST /listRegions", regions(&["eu-west-1"], None))];
    let payload = json!({
        "input": { "run_id": "NO", "accounts": [], "typo": 1 },
        "execution_arn": EXECUTION,
        "started_at": "2026-03-01T00:00:00Z",
    });
    let (_, answer) = run(script, |platform| {
        initialize::handle(platform, input(payload))
    })
    .await;
    let error = answer.unwrap_err();
    assert_eq!(error.name(), "InvalidInput");
    for field in [
        "typo",
        "run_id",
        "accounts",
        "sender_email_address",
        "recipient_email_addresses",
    ] {
        assert!(error.to_string().contains(&format!("- {field}")), "{error}");
    }
}

// --- discover-buckets --------------------------------------------------------------------------

pub(crate) fn discover_payload() -> Value {
    json!({ "run_id": "nightly", "account_id": MEMBER, "failure": null })
}

pub(crate) fn bucket_page(buckets: &[(&str, Option<&str>)], next: Option<&str>) -> Reply {
    let buckets = buckets
        .iter()
        .map(|(name, region)| {
            let region = region.map_or_else(String::new, |region| {
                format!("<BucketRegion>{region}</BucketRegion>")
            });
            format!("<Bucket><Name>{name}</Name>{region}</Bucket>")
        })
        .collect::<Vec<_>>()
        .concat();
    let next = next.map_or_else(String::new, |token| {
        format!("<ContinuationToken>{token}</ContinuationToken>")
    });
    xml(format!(
        "<ListAllMyBucketsResult><Buckets>{buckets}</Buckets>{next}</ListAllMyBucketsResult>"
    ))
}

const LIST: &str = "GET@us-east-1 ?max-buckets=1000 as 111111111111";

pub(crate) fn discover_script() -> Vec<Line> {
    let eu = Some("eu-west-1");
    vec![
        ("GetItem run", item(&the_run())),
        (
            LIST,
            bucket_page(&[("photos", eu), ("tmp-1", eu), ("hollow", eu)], Some("p2")),
        ),
        (
            "GET@us-east-1 ?max-buckets=1000&continuation-token=p2 as 111111111111",
            bucket_page(
                &[
                    ("far", Some("ap-south-1")),
                    ("closed", Some("us-east-1")),
                    ("gone", eu),
                    ("olden", None),
                ],
                None,
            ),
        ),
        (
            "GET@us-east-1 olden?location as 111111111111",
            xml("<LocationConstraint>EU</LocationConstraint>"),
        ),
        (
            "GET@eu-west-1 photos?versions&max-keys=1 as 111111111111",
            versions(&["a"]),
        ),
        (
            "GET@eu-west-1 hollow?versions&max-keys=1 as 111111111111",
            versions(&[]),
        ),
        (
            "GET@us-east-1 closed?versions&max-keys=1 as 111111111111",
            error(403, "AccessDenied"),
        ),
        (
            "GET@eu-west-1 gone?versions&max-keys=1 as 111111111111",
            error(404, "NoSuchBucket"),
        ),
        (
            "GET@eu-west-1 olden?versions&max-keys=1 as 111111111111",
            versions(&["a"]),
        ),
        ("PutItem bucket#111111111111#photos", done()),
        ("PutItem bucket#111111111111#hollow", done()),
        ("PutItem bucket#111111111111#closed", done()),
        ("PutItem bucket#111111111111#gone", done()),
        ("PutItem bucket#111111111111#olden", done()),
        (
            "BatchWriteItem left_out#111111111111#tmp-1 left_out#111111111111#far",
            done(),
        ),
        ("UpdateItem run", done()),
        ("UpdateItem run", done()),
        ("PutItem account#111111111111", done()),
    ]
}

async fn discover(script: Vec<Line>) -> (Aws, Result<discover_buckets::Output, TaskError>) {
    run(script, |platform| {
        discover_buckets::handle(platform, input(discover_payload()))
    })
    .await
}

#[tokio::test]
async fn every_bucket_of_every_page_is_recorded_as_it_is() {
    let (aws, answer) = discover(discover_script()).await;
    assert_eq!(answer.unwrap().source_buckets, 5);

    let record = |name: &str| {
        let put = aws.call(&format!("PutItem bucket#111111111111#{name}"));
        assert_eq!(put.condition(), "attribute_not_exists(pk)");
        put.item()
    };
    for (name, status) in [
        ("photos", "inventory_configuration_not_created"),
        ("hollow", "bucket_is_empty"),
        ("closed", "inventory_configuration_not_created"),
        ("gone", "bucket_not_available"),
        ("olden", "inventory_configuration_not_created"),
    ] {
        assert_eq!(record(name)["status"], status, "{name}");
    }
    assert_eq!(record("gone")["reason"]["code"], "NoSuchBucket");
    assert_eq!(record("closed")["unlistable"], true);
    assert_eq!(record("photos")["unlistable"], false);
    // What belongs to a run goes like the run itself, some 400 days on.
    assert!(record("photos")["expires_at"].as_i64().unwrap() > 400 * 86_400);
    assert_eq!(record("olden")["region"], "eu-west-1");

    // Regions of buckets that wait for an inventory, each added to what other accounts added.
    let added: Vec<Value> = aws
        .calls("UpdateItem run")
        .iter()
        .map(|call| {
            assert_eq!(call.json()["UpdateExpression"], "ADD regions :regions");
            call.json()["ExpressionAttributeValues"][":regions"]["SS"].clone()
        })
        .collect();
    assert_eq!(added, [json!(["eu-west-1"]), json!(["us-east-1"])]);
    assert_eq!(
        aws.call("PutItem account#111111111111").item()["reason"],
        Value::Null
    );
}

#[tokio::test]
async fn a_bucket_whose_report_exists_is_recorded_with_it_and_not_looked_at() {
    let mut named = the_run();
    let uri = |bucket: &str| format!("s3://reports/{bucket}/daily/1/manifest.json");
    let existing = ["hollow", "closed", "tmp-1", "nowhere"]
        .map(|bucket| json!({ "bucket": bucket, "manifest": uri(bucket) }));
    named.input.existing_inventories = serde_json::from_value(json!(existing)).unwrap();
    let mut script = discover_script();
    script[0].1 = item(&named);
    let looks = [
        "GET@eu-west-1 hollow?versions&max-keys=1 as 111111111111",
        "GET@us-east-1 closed?versions&max-keys=1 as 111111111111",
    ];
    script.retain(|(name, _)| !looks.contains(name));
    // Nothing is delivered to us-east-1: the only bucket there has its report.
    let region = script
        .iter()
        .position(|(name, _)| *name == "UpdateItem run");
    script.remove(region.unwrap());
    let (aws, answer) = discover(script).await;
    assert_eq!(answer.unwrap().source_buckets, 5);
    for bucket in ["hollow", "closed"] {
        let record = aws
            .call(&format!("PutItem bucket#111111111111#{bucket}"))
            .item();
        assert_eq!(record["existing_report"], uri(bucket));
        assert_eq!(record["status"], "inventory_configuration_not_created");
    }
    let photos = aws.call("PutItem bucket#111111111111#photos").item();
    assert_eq!(photos["existing_report"], Value::Null);
    let regions = aws.call("UpdateItem run").json();
    let regions = &regions["ExpressionAttributeValues"][":regions"]["SS"];
    assert_eq!(*regions, json!(["eu-west-1"]));
    // What the input leaves out stays out, and says that its report is not taken.
    let left_out = aws
        .call("BatchWriteItem left_out#111111111111#tmp-1 left_out#111111111111#far")
        .text();
    assert!(
        left_out.contains("names tmp-*; its report in existing_inventories is not taken"),
        "{left_out}"
    );
}

#[tokio::test]
async fn the_member_role_is_assumed_with_the_external_id() {
    let (aws, _) = discover(discover_script()).await;
    let assume = aws.call("AssumeRole arn:aws:iam::111111111111:role/insights-s3insights-member");
    assert_eq!(assume.field("ExternalId").unwrap(), "shared secret");
    assert_eq!(
        assume.field("RoleSessionName").unwrap(),
        "s3insights-insights"
    );
    let listed = aws.call("GET@eu-west-1 photos?versions&max-keys=1 as 111111111111");
    assert_eq!(listed.headers["x-amz-expected-bucket-owner"], MEMBER);
}

#[tokio::test]
async fn a_second_discovery_keeps_the_first_records() {
    let mut script = discover_script();
    for (name, reply) in &mut script {
        if name.starts_with("PutItem bucket#") {
            *reply = condition_failed();
        }
    }
    let (_, answer) = discover(script).await;
    assert_eq!(answer.unwrap().source_buckets, 5);
}

#[tokio::test]
async fn items_that_were_not_written_are_written_again() {
    const ALL: &str = "BatchWriteItem left_out#111111111111#tmp-1 left_out#111111111111#far";
    let mut script = discover_script();
    let left = json!({ "PutRequest": { "Item": {
        "pk": { "S": "run#nightly" }, "sk": { "S": "left_out#111111111111#far" },
    } } });
    for (name, reply) in &mut script {
        if *name == ALL {
            *reply = Reply::Json(json!({ "UnprocessedItems": { "insights-runs": [left] } }));
        }
    }
    script.push(("BatchWriteItem left_out#111111111111#far", done()));
    let (_, answer) = discover(script).await;
    answer.unwrap();
}

#[tokio::test]
async fn an_account_that_is_closed_to_us_is_an_outcome_with_the_missing_permission() {
    let cases: [(Vec<Line>, &str); 2] = [
        (
            vec![(
                "AssumeRole arn:aws:iam::111111111111:role/insights-s3insights-member",
                error_with(
                    403,
                    "AccessDenied",
                    "not authorized to perform: sts:AssumeRole",
                ),
            )],
            "sts:AssumeRole",
        ),
        (
            vec![(LIST, error(403, "AccessDenied"))],
            "s3:ListAllMyBuckets",
        ),
    ];
    for (refusal, permission) in cases {
        let mut script = vec![("GetItem run", item(&the_run()))];
        script.extend(refusal);
        script.push(("PutItem account#111111111111", done()));
        let (aws, answer) = discover(script).await;
        assert_eq!(answer.unwrap().source_buckets, 0);
        let reason = aws.call("PutItem account#111111111111").item()["reason"].clone();
        assert_eq!(reason["code"], "AccessDenied");
        assert_eq!(reason["missing_permission"], permission);
    }
}

#[tokio::test]
async fn a_role_that_cannot_be_assumed_right_now_is_no_outcome() {
    for reply in [
        error(400, "Throttling"),
        Reply::BadGateway,
        Reply::Unreachable,
    ] {
        let script = vec![
            ("GetItem run", item(&the_run())),
            (
                "AssumeRole arn:aws:iam::111111111111:role/insights-s3insights-member",
                reply,
            ),
        ];
        let (_, answer) = discover(script).await;
        let name = answer.unwrap_err().name();
        assert!(["Throttled", "Unavailable"].contains(&name), "{name}");
    }
}

#[tokio::test]
async fn a_bucket_that_cannot_be_looked_at_right_now_stays_open_and_keeps_nobody_waiting() {
    for reply in [
        error(503, "SlowDown"),
        Reply::BadGateway,
        Reply::Unreachable,
    ] {
        let mut script = discover_script();
        let look = "GET@eu-west-1 hollow?versions&max-keys=1 as 111111111111";
        let line = script.iter_mut().find(|(name, _)| *name == look).unwrap();
        line.1 = reply;
        let (aws, answer) = discover(script).await;
        assert_eq!(answer.unwrap().source_buckets, 5);
        let record = aws.call("PutItem bucket#111111111111#hollow").item();
        assert_eq!(record["status"], "inventory_configuration_not_created");
        assert_eq!(record["reason"], Value::Null);
        assert_eq!(record["unlistable"], false);
    }
}

#[tokio::test]
async fn an_account_that_is_given_up_has_that_on_record() {
    let script = vec![
        ("GetItem run", item(&the_run())),
        ("PutItem account#111111111111", done()),
    ];
    let mut payload = discover_payload();
    payload["failure"] = json!({
        "error": "Throttled",
        "cause": r#"{"errorType":"Throttled","errorMessage":"ListBuckets: SlowDown"}"#,
    });
    let (aws, answer) = run(script, |platform| {
        discover_buckets::handle(platform, input(payload))
    })
    .await;
    assert_eq!(answer.unwrap().source_buckets, 0);
    let reason = aws.call("PutItem account#111111111111").item()["reason"].clone();
    assert_eq!(reason["code"], "Throttled");
    assert_eq!(reason["message"], "ListBuckets: SlowDown");
}

#[tokio::test]
async fn the_platforms_own_buckets_are_no_source_buckets() {
    let mut the_run = the_run();
    the_run.input.accounts[0].id = HOST.try_into().unwrap();
    let script = vec![
        ("GetItem run", item(&the_run)),
        (
            "GET@us-east-1 ?max-buckets=1000 as 999999999999",
            bucket_page(
                &[
                    (DESTINATION, Some("eu-west-1")),
                    (
                        "insights-999999999999-us-east-1-consolidated",
                        Some("us-east-1"),
                    ),
                ],
                None,
            ),
        ),
        ("PutItem account#999999999999", done()),
    ];
    let payload = json!({ "run_id": "nightly", "account_id": HOST, "failure": null });
    let (_, answer) = run(script, |platform| {
        discover_buckets::handle(platform, input(payload))
    })
    .await;
    assert_eq!(answer.unwrap().source_buckets, 0);
}

#[tokio::test]
async fn a_smoke_run_only_notes_the_regions() {
    let script = vec![
        ("GetItem run", item(&smoke_run())),
        (LIST, bucket_page(&[("photos", Some("eu-west-1"))], None)),
        ("UpdateItem run", done()),
        ("PutItem account#111111111111", done()),
    ];
    let (_, answer) = discover(script).await;
    assert_eq!(answer.unwrap().source_buckets, 0);
}

#[tokio::test]
async fn what_aws_says_at_length_is_kept_in_short() {
    let said = "ü".repeat(1 << 19);
    let script = vec![
        ("GetItem run", item(&the_run())),
        (LIST, error_with(403, "AccessDenied", &said)),
        ("PutItem account#111111111111", done()),
    ];
    let (aws, answer) = discover(script).await;
    assert_eq!(answer.unwrap().source_buckets, 0);
    let put = aws.call("PutItem account#111111111111");
    assert!(put.body.len() < 5_000, "{}", put.body.len());
    let message = put.item()["reason"]["message"].as_str().unwrap().to_owned();
    assert_eq!(message, format!("{}…", "ü".repeat(1_000)));
}

#[tokio::test]
async fn an_account_or_a_run_that_is_not_on_record_is_named() {
    let payload = json!({ "run_id": "nightly", "account_id": "333333333333", "failure": null });
    let (_, answer) = run(vec![("GetItem run", item(&the_run()))], |platform| {
        discover_buckets::handle(platform, input(payload))
    })
    .await;
    let error = answer.unwrap_err();
    assert_eq!(error.name(), "InvalidInput");
    assert!(error.to_string().starts_with("account_id: "), "{error}");

    let (_, answer) = discover(vec![("GetItem run", no_item())]).await;
    let error = answer.unwrap_err();
    assert_eq!(error.name(), "InvalidInput");
    assert!(error.to_string().starts_with("run_id: "), "{error}");
}

// --- seed-smoke-test ---------------------------------------------------------------------------

const SMOKE_BUCKET: &str = "bucket#999999999999#smoke-test-nightly-eu-west-1";
const BEGIN: &str = "TransactWriteItems run bucket#999999999999#smoke-test-nightly-eu-west-1";
const CHECKSUM: &str = "PUT@eu-west-1 insights-nightly-999999999999-eu-west-1/999999999999/\
    smoke-test-nightly-eu-west-1/s3insights-insights-nightly/2026-03-01T00-00Z/manifest.checksum";
const MANIFEST: &str = "PUT@eu-west-1 insights-nightly-999999999999-eu-west-1/999999999999/\
    smoke-test-nightly-eu-west-1/s3insights-insights-nightly/2026-03-01T00-00Z/manifest.json";
const DATA: &str = "PUT@eu-west-1 insights-nightly-999999999999-eu-west-1/999999999999/\
    smoke-test-nightly-eu-west-1/s3insights-insights-nightly/data/smoke-test.parquet";

pub(crate) fn seed_script() -> Vec<Line> {
    vec![
        ("GetItem run", item(&smoke_run())),
        (
            "PutItem bucket#999999999999#smoke-test-nightly-eu-west-1",
            done(),
        ),
        ("GetItem destination#eu-west-1", item(&destination())),
        (BEGIN, done()),
        (DATA, done()),
        (MANIFEST, done()),
        (CHECKSUM, done()),
    ]
}

async fn seed(script: Vec<Line>) -> (Aws, Result<seed_smoke_test::Output, TaskError>) {
    run(script, |platform| {
        seed_smoke_test::handle(platform, input(json!({ "run_id": "nightly" })))
    })
    .await
}

#[tokio::test]
async fn a_smoke_report_is_awaited_before_it_is_there_and_its_checksum_comes_last() {
    let (aws, answer) = seed(seed_script()).await;
    assert_eq!(answer.unwrap().reports, 1);
    aws.assert_order(BEGIN, DATA);
    aws.assert_order(DATA, MANIFEST);
    aws.assert_order(MANIFEST, CHECKSUM);
    let manifest = aws.call(MANIFEST).json();
    assert_eq!(
        manifest["destinationBucket"],
        format!("arn:aws:s3:::{DESTINATION}")
    );
    assert_eq!(manifest["files"][0]["size"], aws.call(DATA).body.len());
}

#[tokio::test]
async fn a_second_seed_puts_the_same_bytes() {
    let (first, _) = seed(seed_script()).await;
    let mut script = seed_script();
    script[1].1 = condition_failed();
    script[3].1 = cancelled(&["None", "ConditionalCheckFailed"]);
    // The bucket is tried alone, in case another one of its batch was in the way.
    script.insert(4, (BEGIN, cancelled(&["None", "ConditionalCheckFailed"])));
    let (again, answer) = seed(script).await;
    assert_eq!(answer.unwrap().reports, 1);
    for key in [DATA, MANIFEST, CHECKSUM] {
        assert_eq!(first.call(key).body, again.call(key).body, "{key}");
    }
}

#[tokio::test]
async fn a_region_without_a_destination_is_an_outcome() {
    let mut failed = destination();
    failed.state = DestinationState::Failed;
    failed.reason = Some(Reason::new("StackFailed", "no bucket"));
    let script = vec![
        ("GetItem run", item(&smoke_run())),
        (
            "PutItem bucket#999999999999#smoke-test-nightly-eu-west-1",
            done(),
        ),
        ("GetItem destination#eu-west-1", item(&failed)),
        (
            "TransactWriteItems bucket#999999999999#smoke-test-nightly-eu-west-1",
            done(),
        ),
    ];
    let (aws, answer) = seed(script).await;
    assert_eq!(answer.unwrap().reports, 0);
    let update = &aws
        .call(&format!("TransactWriteItems {SMOKE_BUCKET}"))
        .parts()[0];
    assert_eq!(update.value(":reason")["code"], "DestinationNotCreated");
}

#[tokio::test]
async fn a_run_that_is_over_is_not_seeded() {
    let (_, answer) = seed(vec![("GetItem run", item(&frozen_run()))]).await;
    assert_eq!(answer.unwrap_err().name(), "InvalidInput");
}

#[tokio::test]
async fn a_bucket_costs_one_look_and_one_write_however_many_there_are() {
    let names: Vec<String> = (0..150)
        .map(|number| format!("bucket-{number:05}"))
        .collect();
    let page: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), Some("eu-west-1")))
        .collect();
    let mut script = vec![
        ("GetItem run", item(&the_run())),
        (LIST, bucket_page(&page, None)),
    ];
    for name in &names {
        let look = format!("GET@eu-west-1 {name}?versions&max-keys=1 as {MEMBER}");
        script.push((look.leak(), versions(&["a"])));
        let write = format!("PutItem bucket#{MEMBER}#{name}");
        script.push((write.leak(), done()));
    }
    script.push(("UpdateItem run", done()));
    script.push(("PutItem account#111111111111", done()));
    let (_, answer) = discover(script).await;
    assert_eq!(answer.unwrap().source_buckets, names.len());
}
