use lambdas::{await_inventories, configure_inventories, refresh_statuses, remove_inventories};
use serde_json::{Value, json};
use shared::error::TaskError;
use shared::run::{DestinationState, SourceBucket};
use shared::status::{InventoryStatus, Reason};

use crate::support::{
    Aws, CONFIGURATION, DESTINATION, HOST, Line, MEMBER, Reply, cancelled, destination, discovered,
    done, error, existing, finished, frozen_run, in_progress, input, item, items, items_and_more,
    no_item, region, run, the_run, versions, xml,
};

pub(crate) fn account_payload() -> Value {
    json!({ "run_id": "nightly", "account_id": MEMBER })
}

pub(crate) fn configure_payload() -> Value {
    json!({ "run_id": "nightly", "account_id": MEMBER, "failure": null })
}

// --- configure-inventories ---------------------------------------------------------------------

const PUT_PHOTOS: &str =
    "PUT@eu-west-1 photos?inventory&id=s3insights-insights-nightly as 111111111111";
const PUT_SECOND: &str =
    "PUT@eu-west-1 second?inventory&id=s3insights-insights-nightly as 111111111111";
const BEGIN_BOTH: &str =
    "TransactWriteItems run bucket#111111111111#photos bucket#111111111111#second";

pub(crate) fn configure_script() -> Vec<Line> {
    let mut orphan = discovered("orphan");
    orphan.region = region("us-east-1");
    let mut hollow = discovered("hollow");
    hollow.status = InventoryStatus::BucketIsEmpty;
    vec![
        ("GetItem run", item(&the_run())),
        ("Query destination#", items(&[destination()])),
        (
            "Query bucket#111111111111#",
            items_and_more(&[discovered("photos"), orphan]),
        ),
        (
            "Query bucket#111111111111#",
            items(&[discovered("second"), hollow, in_progress("configured")]),
        ),
        ("TransactWriteItems bucket#111111111111#orphan", done()),
        (BEGIN_BOTH, done()),
        (PUT_PHOTOS, done()),
        (PUT_SECOND, done()),
        ("UpdateItem bucket#111111111111#photos", done()),
        ("UpdateItem bucket#111111111111#second", done()),
        // Has it ended meanwhile?
        ("GetItem run", item(&the_run())),
    ]
}

async fn configure(script: Vec<Line>) -> (Aws, Result<configure_inventories::Output, TaskError>) {
    run(script, |platform| {
        configure_inventories::handle(platform, input(configure_payload()))
    })
    .await
}

#[tokio::test]
async fn buckets_are_in_progress_before_their_configuration_is_put() {
    let (aws, answer) = configure(configure_script()).await;
    assert!(answer.unwrap().finished);
    aws.assert_order(BEGIN_BOTH, PUT_PHOTOS);
    aws.assert_order(BEGIN_BOTH, PUT_SECOND);

    let parts = aws.call(BEGIN_BOTH).parts();
    assert_eq!(parts[0].value(":by"), 2);
    for bucket in &parts[1..] {
        assert_eq!(
            bucket.condition(),
            "#status = :discovered AND attribute_not_exists(reason)"
        );
        assert_eq!(bucket.value(":in_progress"), "in_progress");
    }

    let put = aws.call(PUT_PHOTOS);
    assert_eq!(put.headers["x-amz-expected-bucket-owner"], MEMBER);
    let body = put.text();
    for part in [
        format!("<AccountId>{HOST}</AccountId>"),
        format!("<Bucket>arn:aws:s3:::{DESTINATION}</Bucket>"),
        "<Format>Parquet</Format>".to_owned(),
        format!("<Prefix>{MEMBER}</Prefix>"),
        "<IsEnabled>true</IsEnabled>".to_owned(),
        "<IncludedObjectVersions>All</IncludedObjectVersions>".to_owned(),
        "<Frequency>Daily</Frequency>".to_owned(),
    ] {
        assert!(body.contains(&part), "{part} in {body}");
    }
    // Without a destination no report would come.
    let orphan = &aws
        .call("TransactWriteItems bucket#111111111111#orphan")
        .parts()[0];
    assert_eq!(orphan.value(":reason")["code"], "DestinationNotCreated");
    assert_eq!(orphan.value(":next"), "inventory_configuration_not_created");
}

#[tokio::test]
async fn configuring_again_touches_nothing_that_is_done() {
    let script = vec![
        ("GetItem run", item(&the_run())),
        ("Query destination#", items(&[destination()])),
        (
            "Query bucket#111111111111#",
            items(&[in_progress("photos"), finished("second")]),
        ),
    ];
    let (_, answer) = configure(script).await;
    assert!(answer.unwrap().finished);
}

#[tokio::test]
async fn an_attempt_that_broke_off_is_taken_up() {
    let mut begun = in_progress("photos");
    begun.configured = false;
    let script = vec![
        ("GetItem run", item(&the_run())),
        ("Query destination#", items(&[destination()])),
        (
            "Query bucket#111111111111#",
            items(&[begun, discovered("second")]),
        ),
        ("TransactWriteItems run bucket#111111111111#second", done()),
        (PUT_PHOTOS, done()),
        (PUT_SECOND, done()),
        ("UpdateItem bucket#111111111111#photos", done()),
        ("UpdateItem bucket#111111111111#second", done()),
        ("GetItem run", item(&the_run())),
    ];
    let (_, answer) = configure(script).await;
    assert!(answer.unwrap().finished);
}

#[tokio::test]
async fn a_transaction_that_meets_another_is_tried_again() {
    let mut script = configure_script();
    script.insert(
        5,
        (
            BEGIN_BOTH,
            cancelled(&["TransactionConflict", "None", "None"]),
        ),
    );
    script.insert(
        5,
        (
            BEGIN_BOTH,
            cancelled(&["None", "TransactionConflict", "None"]),
        ),
    );
    let (aws, answer) = configure(script).await;
    assert!(answer.unwrap().finished);
    assert_eq!(aws.calls(BEGIN_BOTH).len(), 3);
}

#[tokio::test]
async fn what_one_bucket_answers_is_its_own_outcome() {
    let cases = [
        (
            error(403, "AccessDenied"),
            "inventory_configuration_not_created",
            json!("s3:PutInventoryConfiguration"),
        ),
        (
            error(400, "TooManyConfigurations"),
            "inventory_configuration_not_created",
            Value::Null,
        ),
        (
            error(404, "NoSuchBucket"),
            "bucket_not_available",
            Value::Null,
        ),
    ];
    for (reply, status, permission) in cases {
        let mut script = configure_script();
        script[6].1 = reply;
        script[8].0 = "TransactWriteItems run bucket#111111111111#photos";
        let (aws, answer) = configure(script).await;
        assert!(answer.unwrap().finished);
        let parts = aws
            .call("TransactWriteItems run bucket#111111111111#photos")
            .parts();
        assert_eq!(parts[0].value(":by"), -1);
        assert_eq!(parts[1].value(":from"), "in_progress");
        assert_eq!(parts[1].value(":next"), status);
        assert_eq!(parts[1].value(":reason")["missing_permission"], permission);
    }
}

#[tokio::test]
async fn a_bucket_that_may_do_better_later_has_another_turn_after_the_others() {
    for reply in [
        error(503, "SlowDown"),
        error(500, "InternalError"),
        error(409, "OperationAborted"),
    ] {
        let mut script = configure_script();
        script[6].1 = reply;
        script.extend([(PUT_PHOTOS, done()), ("GetItem run", item(&the_run()))]);
        let (aws, answer) = configure(script).await;
        assert!(answer.unwrap().finished);
        assert_eq!(aws.calls(PUT_PHOTOS).len(), 2);
    }
}

#[tokio::test]
async fn when_all_that_are_left_may_do_better_later_the_machine_is_told() {
    for (reply, name) in [
        (error(503, "SlowDown"), "Throttled"),
        (error(500, "InternalError"), "Unavailable"),
        (error(409, "OperationAborted"), "Conflict"),
    ] {
        let mut script = configure_script();
        script[6].1 = reply.clone();
        script[7].1 = reply.clone();
        script.retain(|(name, _)| !name.starts_with("UpdateItem"));
        // The third bucket came to its end, so the two have another turn.
        script.extend([
            (PUT_PHOTOS, reply.clone()),
            (PUT_SECOND, reply),
            ("GetItem run", item(&the_run())),
        ]);
        let (_, answer) = configure(script).await;
        assert_eq!(answer.unwrap_err().name(), name);
    }
}

#[tokio::test]
async fn buckets_that_are_given_up_say_why_and_the_others_are_left_alone() {
    let mut begun = in_progress("begun");
    begun.configured = false;
    let script = vec![
        ("GetItem run", item(&the_run())),
        (
            "Query bucket#111111111111#",
            items(&[
                begun,
                discovered("photos"),
                in_progress("configured"),
                finished("second"),
            ]),
        ),
        ("TransactWriteItems run bucket#111111111111#begun", done()),
        ("TransactWriteItems bucket#111111111111#photos", done()),
    ];
    let mut payload = configure_payload();
    payload["failure"] = json!({ "error": "Throttled", "cause": "SlowDown" });
    let (aws, answer) = run(script, |platform| {
        configure_inventories::handle(platform, input(payload))
    })
    .await;
    assert!(answer.unwrap().finished);
    let begun = aws
        .call("TransactWriteItems run bucket#111111111111#begun")
        .parts();
    assert_eq!(begun[0].value(":by"), -1);
    let photos = aws
        .call("TransactWriteItems bucket#111111111111#photos")
        .parts();
    for update in [&begun[1], &photos[0]] {
        assert_eq!(update.value(":next"), "inventory_configuration_not_created");
        assert_eq!(update.value(":reason")["code"], "Throttled");
        assert_eq!(update.value(":reason")["message"], "SlowDown");
    }
}

#[tokio::test]
async fn a_failed_destination_is_the_reason_of_its_buckets() {
    let mut failed = destination();
    failed.state = DestinationState::Failed;
    failed.bucket_arn = None;
    failed.reason = Some(Reason::new("StackFailed", "Bucket: too many"));
    let script = vec![
        ("GetItem run", item(&the_run())),
        ("Query destination#", items(&[failed])),
        ("Query bucket#111111111111#", items(&[discovered("photos")])),
        ("TransactWriteItems bucket#111111111111#photos", done()),
        ("GetItem run", item(&the_run())),
    ];
    let (aws, answer) = configure(script).await;
    assert!(answer.unwrap().finished);
    let update = &aws
        .call("TransactWriteItems bucket#111111111111#photos")
        .parts()[0];
    let reason = update.value(":reason");
    assert!(
        reason["message"].as_str().unwrap().contains("too many"),
        "{reason}"
    );
}

#[tokio::test]
async fn configurations_of_a_run_that_ended_meanwhile_are_taken_back() {
    for over in [item(&frozen_run()), no_item()] {
        let mut script = configure_script();
        script[10].1 = over;
        script.extend([
            (REMOVE_PHOTOS, done()),
            (REMOVE_SECOND, error(403, "AccessDenied")),
            (
                "DELETE@us-east-1 orphan?inventory&id=s3insights-insights-nightly as 111111111111",
                error(404, "NoSuchConfiguration"),
            ),
        ]);
        let (aws, answer) = configure(script).await;
        assert_eq!(answer.unwrap_err().name(), "InvalidInput");
        aws.assert_order(PUT_PHOTOS, REMOVE_PHOTOS);
    }
}

#[tokio::test]
async fn a_run_that_is_over_gets_no_configuration() {
    let (_, answer) = configure(vec![("GetItem run", item(&frozen_run()))]).await;
    assert_eq!(answer.unwrap_err().name(), "InvalidInput");
}

const BEGIN_NAMED: &str = "TransactWriteItems run bucket#111111111111#named";

/// Two buckets of whose reports one exists.
pub(crate) fn configure_existing_script() -> Vec<Line> {
    let named = SourceBucket {
        status: InventoryStatus::InventoryConfigurationNotCreated,
        ..existing("named")
    };
    vec![
        ("GetItem run", item(&the_run())),
        ("Query destination#", items(&[destination()])),
        (
            "Query bucket#111111111111#",
            items(&[named, discovered("photos")]),
        ),
        (BEGIN_NAMED, done()),
        (
            "SendMessageBatch notifications",
            Reply::Json(json!({ "Successful": [], "Failed": [] })),
        ),
        ("TransactWriteItems run bucket#111111111111#photos", done()),
        (PUT_PHOTOS, done()),
        ("UpdateItem bucket#111111111111#photos", done()),
        ("GetItem run", item(&the_run())),
    ]
}

#[tokio::test]
async fn a_bucket_whose_report_exists_gets_a_message_and_no_configuration() {
    let (aws, answer) = configure(configure_existing_script()).await;
    assert!(answer.unwrap().finished);
    // Nothing is taken for a bucket that is not in progress.
    aws.assert_order(BEGIN_NAMED, "SendMessageBatch notifications");
    assert_eq!(aws.call(BEGIN_NAMED).parts()[0].value(":by"), 1);
    let entries = aws.call("SendMessageBatch notifications").json()["Entries"].clone();
    let entries = entries.as_array().unwrap();
    assert_eq!(entries.len(), 1);
    // The place of the report is on record, so that no message can name another.
    let body: Value = serde_json::from_str(entries[0]["MessageBody"].as_str().unwrap()).unwrap();
    let expected = json!({ "run_id": "nightly", "account_id": MEMBER, "bucket": "named" });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_report_that_exists_needs_no_destination_and_is_sent_until_it_is_taken() {
    let mut taken = existing("taken");
    taken.report = Some("manifest".into());
    let mut refused = existing("refused");
    refused.status = InventoryStatus::VerificationFailed;
    let script = vec![
        ("GetItem run", item(&the_run())),
        ("Query destination#", items::<Value>(&[])),
        (
            "Query bucket#111111111111#",
            items(&[existing("named"), taken, refused]),
        ),
        // The attempt before broke off between the two.
        (BEGIN_NAMED, cancelled(&["None", "ConditionalCheckFailed"])),
        (BEGIN_NAMED, cancelled(&["None", "ConditionalCheckFailed"])),
        (
            "SendMessageBatch notifications",
            Reply::Json(json!({ "Successful": [], "Failed": [] })),
        ),
    ];
    let (_, answer) = configure(script).await;
    assert!(answer.unwrap().finished);
}

// --- await-inventories -------------------------------------------------------------------------

pub(crate) fn await_payload() -> Value {
    json!({ "run_id": "nightly", "task_token": "token-2" })
}

pub(crate) fn await_script() -> Vec<Line> {
    let mut settled = the_run();
    settled.in_progress = 0;
    settled.task_token = Some("token-2".into());
    vec![
        ("UpdateItem run", done()),
        ("GetItem run", item(&settled)),
        ("SendTaskSuccess token-2", done()),
    ]
}

async fn wait(script: Vec<Line>) -> (Aws, Result<await_inventories::Output, TaskError>) {
    run(script, |platform| {
        await_inventories::handle(platform, input(await_payload()))
    })
    .await
}

#[tokio::test]
async fn a_run_that_settled_before_the_token_came_is_answered_at_once() {
    let (aws, answer) = wait(await_script()).await;
    answer.unwrap();
    // The token first: a bucket that settles in between finds it.
    aws.assert_order("UpdateItem run", "GetItem run");
    let store = aws.call("UpdateItem run");
    assert_eq!(store.value(":token"), "token-2");
    assert_eq!(store.condition(), "attribute_exists(pk)");
    let output = aws.call("SendTaskSuccess token-2").json()["output"].clone();
    assert_eq!(output, r#"{"settled":true}"#);
}

#[tokio::test]
async fn an_open_run_is_waited_for() {
    let script = vec![
        ("UpdateItem run", done()),
        ("GetItem run", item(&the_run())),
    ];
    let (_, answer) = wait(script).await;
    answer.unwrap();
}

#[tokio::test]
async fn a_token_that_nobody_waits_with_any_more_is_no_fault() {
    for code in ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"] {
        let mut script = await_script();
        script[2].1 = error(400, code);
        let (_, answer) = wait(script).await;
        answer.unwrap();
    }
}

// --- refresh-statuses --------------------------------------------------------------------------

pub(crate) fn refresh_payload() -> Value {
    json!({ "run_id": "nightly", "cursor": null })
}

const GET_PHOTOS: &str =
    "GET@eu-west-1 photos?inventory&id=s3insights-insights-nightly as 111111111111";
const PHOTOS: &str = "GetItem bucket#111111111111#photos";
const LOOK_AT_PHOTOS: &str = "GET@eu-west-1 photos?versions&max-keys=1 as 111111111111";
const END_PHOTOS: &str = "TransactWriteItems run bucket#111111111111#photos";

fn configuration() -> Reply {
    xml(
        "<InventoryConfiguration><Id>s3insights-insights-nightly</Id><IsEnabled>true</IsEnabled>\
         <IncludedObjectVersions>All</IncludedObjectVersions></InventoryConfiguration>",
    )
}

pub(crate) fn refresh_script() -> Vec<Line> {
    let mut waiting = the_run();
    waiting.task_token = Some("token-1".into());
    let mut settled = waiting.clone();
    settled.in_progress = 0;
    vec![
        ("GetItem run", item(&waiting)),
        ("Query destination#", items(&[destination()])),
        (
            "Query bucket#",
            items(&[in_progress("photos"), finished("second")]),
        ),
        (GET_PHOTOS, configuration()),
        (LOOK_AT_PHOTOS, versions(&[])),
        (END_PHOTOS, done()),
        ("GetItem run", item(&settled)),
        ("SendTaskSuccess token-1", done()),
    ]
}

/// A look at one bucket that leaves the run waiting; `answers` are to the looks at the bucket.
fn look(bucket: &shared::run::SourceBucket, answers: Vec<Line>) -> Vec<Line> {
    let mut script = vec![
        ("GetItem run", item(&the_run())),
        ("Query destination#", items(&[destination()])),
        ("Query bucket#", items(std::slice::from_ref(bucket))),
    ];
    script.extend(answers);
    script.push(("GetItem run", item(&the_run())));
    script
}

async fn refresh(script: Vec<Line>) -> (Aws, Result<refresh_statuses::Output, TaskError>) {
    run(script, |platform| {
        refresh_statuses::handle(platform, input(refresh_payload()))
    })
    .await
}

const WAIT_ON: refresh_statuses::Output = refresh_statuses::Output {
    settled: false,
    deadline_passed: false,
    cursor: None,
};

#[tokio::test]
async fn a_bucket_that_became_empty_ends_and_the_last_one_ends_the_wait() {
    let (aws, answer) = refresh(refresh_script()).await;
    let answer = answer.unwrap();
    assert!(answer.settled && answer.cursor.is_none());
    let parts = aws.call(END_PHOTOS).parts();
    assert_eq!(parts[0].value(":by"), -1);
    assert_eq!(parts[1].condition(), "#status = :from");
    assert_eq!(parts[1].value(":from"), "in_progress");
    assert_eq!(parts[1].value(":next"), "bucket_is_empty");
}

#[tokio::test]
async fn a_bucket_that_ended_meanwhile_keeps_its_end() {
    let mut script = refresh_script();
    script[5].1 = cancelled(&["None", "ConditionalCheckFailed"]);
    let (_, answer) = refresh(script).await;
    assert!(answer.unwrap().settled);
}

#[tokio::test]
async fn a_bucket_that_is_gone_or_closed_says_why() {
    let cases: [(Vec<Line>, &str, &str, Value); 4] = [
        (
            vec![(GET_PHOTOS, error(404, "NoSuchBucket"))],
            "bucket_not_available",
            "NoSuchBucket",
            Value::Null,
        ),
        (
            vec![(GET_PHOTOS, error(403, "AccessDenied"))],
            "bucket_access_lost",
            "AccessDenied",
            json!("s3:GetInventoryConfiguration"),
        ),
        (
            vec![
                (GET_PHOTOS, configuration()),
                (LOOK_AT_PHOTOS, error(404, "NoSuchBucket")),
            ],
            "bucket_not_available",
            "NoSuchBucket",
            Value::Null,
        ),
        (
            vec![
                (GET_PHOTOS, configuration()),
                (LOOK_AT_PHOTOS, error(403, "AccessDenied")),
            ],
            "bucket_access_lost",
            "AccessDenied",
            json!("s3:ListBucketVersions"),
        ),
    ];
    for (mut answers, status, code, permission) in cases {
        answers.push((END_PHOTOS, done()));
        let (aws, answer) = refresh(look(&in_progress("photos"), answers)).await;
        assert_eq!(answer.unwrap(), WAIT_ON);
        let update = &aws.call(END_PHOTOS).parts()[1];
        assert_eq!(update.value(":next"), status);
        assert_eq!(update.value(":reason")["code"], code);
        assert_eq!(update.value(":reason")["missing_permission"], permission);
    }
}

#[tokio::test]
async fn a_bucket_that_never_could_be_listed_is_not_lost() {
    let mut unlistable = in_progress("photos");
    unlistable.unlistable = true;
    let answers = vec![
        (GET_PHOTOS, configuration()),
        (LOOK_AT_PHOTOS, error(403, "AccessDenied")),
    ];
    let (_, answer) = refresh(look(&unlistable, answers)).await;
    assert_eq!(answer.unwrap(), WAIT_ON);
}

#[tokio::test]
async fn a_configuration_that_somebody_removed_is_put_again() {
    let open = in_progress("photos");
    let answers = vec![
        (GET_PHOTOS, error(404, "NoSuchConfiguration")),
        (PHOTOS, item(&open)),
        ("GetItem run", item(&the_run())),
        (PUT_PHOTOS, done()),
        (PHOTOS, item(&open)),
        ("GetItem run", item(&the_run())),
        (LOOK_AT_PHOTOS, versions(&["a"])),
    ];
    let (aws, answer) = refresh(look(&open, answers)).await;
    assert_eq!(answer.unwrap(), WAIT_ON);
    assert!(aws.call(PUT_PHOTOS).text().contains(DESTINATION));
}

#[tokio::test]
async fn a_configuration_that_we_removed_ourselves_is_not_put_again() {
    let mut reported = in_progress("photos");
    reported.report = Some("manifest".into());
    let cases = [
        vec![(PHOTOS, item(&finished("photos")))],
        vec![(PHOTOS, item(&reported))],
        vec![
            (PHOTOS, item(&in_progress("photos"))),
            ("GetItem run", item(&frozen_run())),
        ],
    ];
    for now in cases {
        let mut answers = vec![(GET_PHOTOS, error(404, "NoSuchConfiguration"))];
        answers.extend(now);
        let (_, answer) = refresh(look(&in_progress("photos"), answers)).await;
        assert_eq!(answer.unwrap(), WAIT_ON);
    }
}

#[tokio::test]
async fn a_configuration_put_for_a_bucket_that_ended_meanwhile_is_removed() {
    let open = in_progress("photos");
    let answers = vec![
        (GET_PHOTOS, error(404, "NoSuchConfiguration")),
        (PHOTOS, item(&open)),
        ("GetItem run", item(&the_run())),
        (PUT_PHOTOS, done()),
        (PHOTOS, item(&finished("photos"))),
        (REMOVE_PHOTOS, done()),
    ];
    let (aws, answer) = refresh(look(&open, answers)).await;
    assert_eq!(answer.unwrap(), WAIT_ON);
    aws.assert_order(PUT_PHOTOS, REMOVE_PHOTOS);
}

#[tokio::test]
async fn a_bucket_that_cannot_be_looked_at_right_now_does_not_keep_the_run_from_the_others() {
    for reply in [
        error(503, "SlowDown"),
        error(409, "OperationAborted"),
        Reply::Unreachable,
    ] {
        let answers = vec![(GET_PHOTOS, reply)];
        let (_, answer) = refresh(look(&in_progress("photos"), answers)).await;
        assert_eq!(answer.unwrap(), WAIT_ON);
    }
}

#[tokio::test]
async fn a_configuration_is_taken_back_if_nobody_can_tell_whether_its_bucket_waits_for_it() {
    for put in [done(), Reply::Unreachable] {
        let open = in_progress("photos");
        let answers = vec![
            (GET_PHOTOS, error(404, "NoSuchConfiguration")),
            (PHOTOS, item(&open)),
            ("GetItem run", item(&the_run())),
            (PUT_PHOTOS, put),
            (PHOTOS, error(500, "InternalServerError")),
            (REMOVE_PHOTOS, done()),
        ];
        let (aws, answer) = refresh(look(&open, answers)).await;
        assert_eq!(answer.unwrap(), WAIT_ON);
        aws.assert_order(PUT_PHOTOS, REMOVE_PHOTOS);
    }
}

#[tokio::test]
async fn a_bucket_whose_report_exists_is_left_alone() {
    let (_, answer) = refresh(look(&existing("photos"), vec![])).await;
    assert_eq!(answer.unwrap(), WAIT_ON);
}

#[tokio::test]
async fn after_the_deadline_or_publication_nobody_waits() {
    let mut late = the_run();
    late.deadline = "2026-03-01T00:00:01Z".parse().unwrap();
    for over in [late, frozen_run()] {
        let script = vec![
            ("GetItem run", item(&over)),
            ("Query destination#", items(&[destination()])),
            ("Query bucket#", items::<Value>(&[])),
            ("GetItem run", item(&over)),
        ];
        let (_, answer) = refresh(script).await;
        let answer = answer.unwrap();
        assert!(answer.deadline_passed && !answer.settled);
    }
}

#[tokio::test]
async fn a_look_goes_on_behind_the_cursor() {
    let script = vec![
        ("GetItem run", item(&the_run())),
        ("Query destination#", items(&[destination()])),
        (
            "Query bucket#",
            items_and_more(&[in_progress("album"), in_progress("photos")]),
        ),
        ("Query bucket#", items(&[in_progress("alone")])),
        (GET_PHOTOS, configuration()),
        (LOOK_AT_PHOTOS, versions(&["a"])),
        ("GetItem run", item(&the_run())),
    ];
    let payload = json!({ "run_id": "nightly", "cursor": "111111111111#alone" });
    let (_, answer) = run(script, |platform| {
        refresh_statuses::handle(platform, input(payload))
    })
    .await;
    assert_eq!(answer.unwrap(), WAIT_ON);
}

// --- remove-inventories ------------------------------------------------------------------------

const REMOVE_PHOTOS: &str =
    "DELETE@eu-west-1 photos?inventory&id=s3insights-insights-nightly as 111111111111";
const REMOVE_SECOND: &str =
    "DELETE@eu-west-1 second?inventory&id=s3insights-insights-nightly as 111111111111";

pub(crate) fn remove_script() -> Vec<Line> {
    // Refused once, yet it may be there: the answer to an earlier attempt may have been lost.
    let mut refused = discovered("second");
    refused.reason = Some(Reason::new("AccessDenied", "no"));
    let mut hollow = discovered("hollow");
    hollow.status = InventoryStatus::BucketIsEmpty;
    let mut removed = finished("removed");
    removed.configuration_removed = true;
    vec![
        ("GetItem run", item(&the_run())),
        (
            "Query bucket#111111111111#",
            items_and_more(&[finished("photos"), removed]),
        ),
        ("Query bucket#111111111111#", items(&[refused, hollow])),
        (REMOVE_PHOTOS, done()),
        (REMOVE_SECOND, error(404, "NoSuchConfiguration")),
        ("UpdateItem bucket#111111111111#photos", done()),
        ("UpdateItem bucket#111111111111#second", done()),
    ]
}

pub(crate) fn remove_everywhere_script() -> Vec<Line> {
    vec![
        ("GetItem run", no_item()),
        (
            "GET@us-east-1 ?max-buckets=1000 as 111111111111",
            xml(
                "<ListAllMyBucketsResult><Buckets><Bucket><Name>photos</Name>\
                 <BucketRegion>eu-west-1</BucketRegion></Bucket><Bucket><Name>second</Name>\
                 </Bucket></Buckets></ListAllMyBucketsResult>",
            ),
        ),
        (REMOVE_PHOTOS, done()),
        (
            "GET@us-east-1 second?location as 111111111111",
            xml("<LocationConstraint>eu-west-1</LocationConstraint>"),
        ),
        (REMOVE_SECOND, error(404, "NoSuchBucket")),
    ]
}

async fn remove(script: Vec<Line>) -> (Aws, Result<remove_inventories::Output, TaskError>) {
    run(script, |platform| {
        remove_inventories::handle(platform, input(account_payload()))
    })
    .await
}

#[tokio::test]
async fn every_configuration_that_may_be_there_is_removed() {
    let (aws, answer) = remove(remove_script()).await;
    assert!(answer.unwrap().finished);
    let flag = aws.call("UpdateItem bucket#111111111111#second").json();
    assert_eq!(
        flag["ExpressionAttributeNames"]["#flag"],
        "configuration_removed"
    );
    aws.assert_order(REMOVE_PHOTOS, "UpdateItem bucket#111111111111#photos");
}

#[tokio::test]
async fn removing_again_asks_for_nothing() {
    let mut removed = finished("photos");
    removed.configuration_removed = true;
    // It never had one.
    let mut refused = existing("named");
    refused.status = InventoryStatus::VerificationFailed;
    let script = vec![
        ("GetItem run", item(&the_run())),
        ("Query bucket#111111111111#", items(&[removed, refused])),
    ];
    let (_, answer) = remove(script).await;
    assert!(answer.unwrap().finished);
}

#[tokio::test]
async fn cleaning_a_clean_run_again_trusts_no_record_of_what_was_removed() {
    let mut clean = the_run();
    clean.cleaned_up_at = Some("2026-03-02T00:00:00Z".parse().unwrap());
    let mut removed = finished("photos");
    removed.configuration_removed = true;
    let script = vec![
        ("GetItem run", item(&clean)),
        ("Query bucket#111111111111#", items(&[removed])),
        (REMOVE_PHOTOS, done()),
        ("UpdateItem bucket#111111111111#photos", done()),
    ];
    let (_, answer) = remove(script).await;
    assert!(answer.unwrap().finished);
}

#[tokio::test]
async fn a_bucket_that_was_done_before_it_was_recorded_as_configured_keeps_no_configuration() {
    let mut early = finished("photos");
    early.configured = false;
    let script = vec![
        ("GetItem run", item(&the_run())),
        ("Query bucket#111111111111#", items(&[early])),
        (REMOVE_PHOTOS, done()),
        ("UpdateItem bucket#111111111111#photos", done()),
    ];
    let (_, answer) = remove(script).await;
    assert!(answer.unwrap().finished);
}

#[tokio::test]
async fn a_bucket_that_refuses_the_removal_stays_on_record() {
    let mut script = remove_script();
    script[3].1 = error(403, "AccessDenied");
    script.remove(5);
    let (_, answer) = remove(script).await;
    assert!(answer.unwrap().finished);
}

#[tokio::test]
async fn without_a_record_every_bucket_of_the_account_is_visited() {
    let damaged = Reply::Json(json!({ "Item": {
        "pk": { "S": "run#nightly" }, "sk": { "S": "run" }, "run_id": { "N": "1" },
    } }));
    for record in [no_item(), damaged] {
        let mut script = remove_everywhere_script();
        script[0].1 = record;
        let (_, answer) = remove(script).await;
        assert!(answer.unwrap().finished);
    }
}

#[tokio::test]
async fn an_account_that_is_closed_to_us_does_not_stop_the_cleaning() {
    let script = vec![
        ("GetItem run", no_item()),
        (
            "GET@us-east-1 ?max-buckets=1000 as 111111111111",
            error(403, "AccessDenied"),
        ),
    ];
    let (_, answer) = remove(script).await;
    assert!(answer.unwrap().finished);
}

#[tokio::test]
async fn a_throttled_removal_does_not_keep_the_others_from_their_turn() {
    let mut script = remove_script();
    script[3].1 = error(503, "SlowDown");
    script.remove(5);
    let (_, answer) = remove(script).await;
    assert_eq!(answer.unwrap_err().name(), "Throttled");
}

#[tokio::test]
async fn configuring_a_bucket_takes_one_put_and_one_write_however_many_there_are() {
    let names: Vec<String> = (0..250)
        .map(|number| format!("bucket-{number:05}"))
        .collect();
    let buckets: Vec<_> = names.iter().map(|name| discovered(name)).collect();
    let mut script = vec![
        ("GetItem run", item(&the_run())),
        ("Query destination#", items(&[destination()])),
        ("Query bucket#111111111111#", items(&buckets)),
    ];
    // Begun 50 at a time, in one transaction with the number of buckets in progress.
    for chunk in names.chunks(50) {
        let keys: Vec<String> = chunk
            .iter()
            .map(|name| format!("bucket#{MEMBER}#{name}"))
            .collect();
        let begin = format!("TransactWriteItems run {}", keys.join(" "));
        script.push((begin.leak(), done()));
    }
    for name in &names {
        let put = format!("PUT@eu-west-1 {name}?inventory&id={CONFIGURATION} as {MEMBER}");
        script.push((put.leak(), done()));
        let write = format!("UpdateItem bucket#{MEMBER}#{name}");
        script.push((write.leak(), done()));
    }
    // The run is looked at once for 200 buckets, not for each.
    for _ in names.chunks(200) {
        script.push(("GetItem run", item(&the_run())));
    }
    let (_, answer) = configure(script).await;
    assert!(answer.unwrap().finished);
}
