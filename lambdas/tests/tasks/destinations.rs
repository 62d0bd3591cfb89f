use std::time::Instant;

use lambdas::{create_destination, delete_destination, empty_destination};
use serde_json::{Value, json};
use shared::aws::Emptied;
use shared::error::TaskError;
use shared::run::DestinationState;

use crate::support::{
    Aws, DESTINATION, Line, deleted, destination, done, error, error_with, frozen_run, in_progress,
    input, item, items, items_and_more, named, no_item, no_stack, region, run, smoke_run, stack_of,
    stacks, the_run, versions, xml,
};

const STACK: &str = "DescribeStacks@eu-west-1 insights-nightly-eu-west-1";
const CREATE: &str = "CreateStack@eu-west-1 insights-nightly-eu-west-1";
const DELETE: &str = "DeleteStack@eu-west-1 insights-nightly-eu-west-1";
const VERSIONS: &str = "GET@eu-west-1 insights-nightly-999999999999-eu-west-1?versions";
const FIRST_VERSION: &str =
    "GET@eu-west-1 insights-nightly-999999999999-eu-west-1?versions&max-keys=1";
const DELETE_OBJECTS: &str = "POST@eu-west-1 insights-nightly-999999999999-eu-west-1?delete";
const UPLOADS: &str = "GET@eu-west-1 insights-nightly-999999999999-eu-west-1?uploads";

pub(crate) fn payload() -> Value {
    json!({ "run_id": "nightly", "region": "eu-west-1" })
}

fn the_stack(status: &str) -> crate::support::Reply {
    stacks(&[stack_of("nightly", status)], None)
}

// --- create-destination ------------------------------------------------------------------------

pub(crate) fn create_script() -> Vec<Line> {
    let mut elsewhere = in_progress("elsewhere");
    elsewhere.region = region("us-east-1");
    elsewhere.account = "222222222222".try_into().unwrap();
    let mut third = in_progress("third");
    third.account = "333333333333".try_into().unwrap();
    vec![
        ("GetItem run", item(&the_run())),
        ("GetItem destination#eu-west-1", no_item()),
        ("PutItem destination#eu-west-1", done()),
        (STACK, no_stack()),
        (
            "Query bucket#",
            items_and_more(&[in_progress("photos"), elsewhere]),
        ),
        ("Query bucket#", items(&[third])),
        (
            CREATE,
            xml(
                "<CreateStackResponse><CreateStackResult><StackId>1</StackId>\
                 </CreateStackResult></CreateStackResponse>",
            ),
        ),
        ("GetItem run", item(&the_run())),
        ("PutItem destination#eu-west-1", done()),
    ]
}

pub(crate) fn failed_script() -> Vec<Line> {
    let events = |events: &[(&str, &str, &str)], next: &str| {
        let events = events
            .iter()
            .map(|(resource, status, reason)| {
                format!(
                    "<member><StackId>1</StackId><EventId>1</EventId><StackName>n</StackName>\
                     <Timestamp>2026-03-01T00:00:00Z</Timestamp>\
                     <LogicalResourceId>{resource}</LogicalResourceId>\
                     <ResourceStatus>{status}</ResourceStatus>\
                     <ResourceStatusReason>{reason}</ResourceStatusReason></member>"
                )
            })
            .collect::<Vec<_>>()
            .concat();
        xml(format!(
            "<DescribeStackEventsResponse><DescribeStackEventsResult><StackEvents>{events}\
             </StackEvents>{next}</DescribeStackEventsResult></DescribeStackEventsResponse>"
        ))
    };
    vec![
        ("GetItem run", item(&the_run())),
        ("GetItem destination#eu-west-1", item(&destination())),
        (STACK, the_stack("ROLLBACK_COMPLETE")),
        (
            "DescribeStackEvents@eu-west-1 insights-nightly-eu-west-1",
            events(
                &[
                    ("Stack", "ROLLBACK_COMPLETE", "done"),
                    ("Topic", "CREATE_FAILED", "Resource creation cancelled"),
                ],
                "<NextToken>more</NextToken>",
            ),
        ),
        (
            "DescribeStackEvents@eu-west-1 insights-nightly-eu-west-1",
            events(&[("Bucket", "CREATE_FAILED", "too many buckets")], ""),
        ),
        ("PutItem destination#eu-west-1", done()),
    ]
}

async fn create(script: Vec<Line>) -> (Aws, Result<create_destination::Output, TaskError>) {
    run(script, |platform| {
        create_destination::handle(platform, input(payload()))
    })
    .await
}

#[tokio::test]
async fn a_destination_is_recorded_before_its_stack_is_started() {
    let (aws, answer) = create(create_script()).await;
    assert_eq!(answer.unwrap().state, DestinationState::InProgress);
    aws.assert_order("PutItem destination#eu-west-1", CREATE);

    let request = aws.call(CREATE);
    assert_eq!(request.host, "cloudformation.eu-west-1.amazonaws.com");
    let sent = request.text();
    let pair = |kind: &str, name: &str, value: &str| {
        (1..9).any(|number| {
            let field = |part: &str| request.field(&format!("{kind}.member.{number}.{part}"));
            let (key_part, value_part) = if kind == "Tags" {
                ("Key", "Value")
            } else {
                ("ParameterKey", "ParameterValue")
            };
            field(key_part).as_deref() == Some(name) && field(value_part).as_deref() == Some(value)
        })
    };
    for (kind, name, value) in [
        ("Parameters", "DeploymentName", "insights"),
        ("Parameters", "RunId", "nightly"),
        // Accounts with buckets in this Region, of every page of the query.
        ("Parameters", "SourceAccounts", "111111111111,333333333333"),
        (
            "Parameters",
            "NotificationQueueArn",
            "arn:aws:sqs:us-east-1:999999999999:notifications",
        ),
        ("Tags", "s3insights:deployment", "insights"),
        ("Tags", "s3insights:run-id", "nightly"),
    ] {
        assert!(pair(kind, name, value), "{kind} {name}={value} in {sent}");
    }
    let template = request.field("TemplateBody").unwrap();
    assert_eq!(
        template,
        include_str!("../../../cfn/inventory-destination.yaml")
    );
    assert!(template.len() < 51_200, "CloudFormation takes no more");
}

#[tokio::test]
async fn a_complete_stack_gives_the_bucket_its_name() {
    let mut unfinished = destination();
    unfinished.state = DestinationState::InProgress;
    unfinished.bucket = None;
    unfinished.bucket_arn = None;
    let script = || {
        vec![
            ("GetItem run", item(&the_run())),
            ("GetItem destination#eu-west-1", item(&unfinished)),
            (STACK, the_stack("CREATE_COMPLETE")),
            ("PutItem destination#eu-west-1", done()),
        ]
    };
    let (aws, answer) = create(script()).await;
    assert_eq!(answer.unwrap().state, DestinationState::Complete);
    let stored = aws.call("PutItem destination#eu-west-1").item();
    assert_eq!(stored["bucket"], DESTINATION);
    assert_eq!(stored["bucket_arn"], format!("arn:aws:s3:::{DESTINATION}"));

    let (_, again) = create(script()).await;
    assert_eq!(again.unwrap().state, DestinationState::Complete);
}

#[tokio::test]
async fn a_stack_that_another_attempt_has_just_started_is_left_as_it_is() {
    let mut script = create_script();
    script[6].1 = error(400, "AlreadyExistsException");
    let (_, answer) = create(script).await;
    assert_eq!(answer.unwrap().state, DestinationState::InProgress);
}

#[tokio::test]
async fn a_failed_stack_is_an_outcome_with_the_first_failure_among_its_events() {
    let (aws, answer) = create(failed_script()).await;
    assert_eq!(answer.unwrap().state, DestinationState::Failed);
    let stored = aws.call("PutItem destination#eu-west-1").item();
    assert_eq!(stored["state"], "failed");
    assert_eq!(stored["reason"]["message"], "Bucket: too many buckets");
}

#[tokio::test]
async fn a_region_that_refuses_the_stack_is_an_outcome() {
    let mut script = create_script();
    script[6].1 = error(403, "AccessDenied");
    script.remove(7);
    let (aws, answer) = create(script).await;
    assert_eq!(answer.unwrap().state, DestinationState::Failed);
    let stored = &aws.calls("PutItem destination#eu-west-1")[1].item();
    assert_eq!(stored["reason"]["code"], "AccessDenied");
}

#[tokio::test]
async fn the_destination_of_a_smoke_run_takes_reports_of_the_host_account() {
    let mut script = create_script();
    script[0].1 = item(&smoke_run());
    script.retain(|(name, _)| *name != "Query bucket#");
    let (aws, answer) = create(script).await;
    answer.unwrap();
    assert!(
        aws.call(CREATE)
            .text()
            .contains("ParameterValue=999999999999")
    );
}

#[tokio::test]
async fn a_stack_of_a_run_that_ended_while_it_was_started_goes_again() {
    let mut script = create_script();
    script[7].1 = item(&frozen_run());
    script[8] = (DELETE, xml("<DeleteStackResponse/>"));
    let (aws, answer) = create(script).await;
    assert_eq!(answer.unwrap_err().name(), "InvalidInput");
    aws.assert_order(CREATE, DELETE);
}

#[tokio::test]
async fn nothing_is_made_for_a_run_that_is_over() {
    let (_, answer) = create(vec![("GetItem run", item(&frozen_run()))]).await;
    assert_eq!(answer.unwrap_err().name(), "InvalidInput");
}

// --- empty-destination -------------------------------------------------------------------------

const ABORT: &str = "DELETE@eu-west-1 insights-nightly-999999999999-eu-west-1/half?uploadId=u-1";

pub(crate) fn empty_script() -> Vec<Line> {
    vec![
        (STACK, the_stack("CREATE_COMPLETE")),
        (
            VERSIONS,
            xml(
                "<ListVersionsResult><Version><Key>a</Key><VersionId>v1</VersionId></Version>\
                 <DeleteMarker><Key>b</Key><VersionId>m1</VersionId></DeleteMarker>\
                 </ListVersionsResult>",
            ),
        ),
        (DELETE_OBJECTS, deleted()),
        (VERSIONS, versions(&["c"])),
        (DELETE_OBJECTS, deleted()),
        (VERSIONS, versions(&[])),
        (
            UPLOADS,
            xml(
                "<ListMultipartUploadsResult><Upload><Key>half</Key><UploadId>u-1</UploadId>\
                 </Upload></ListMultipartUploadsResult>",
            ),
        ),
        (ABORT, done()),
        (UPLOADS, xml("<ListMultipartUploadsResult/>")),
    ]
}

async fn empty(script: Vec<Line>) -> (Aws, Result<empty_destination::Output, TaskError>) {
    run(script, |platform| {
        empty_destination::handle(platform, input(payload()))
    })
    .await
}

#[tokio::test]
async fn objects_versions_markers_and_uploads_are_deleted() {
    let (aws, answer) = empty(empty_script()).await;
    assert!(answer.unwrap().finished);
    let requests = aws.calls(DELETE_OBJECTS);
    let first = requests[0].text();
    assert!(
        first.contains("<Key>a</Key><VersionId>v1</VersionId>"),
        "{first}"
    );
    assert!(
        first.contains("<Key>b</Key><VersionId>m1</VersionId>"),
        "{first}"
    );
    assert!(requests[1].text().contains("<Key>c</Key>"));
}

#[tokio::test]
async fn an_empty_destination_stays_so_and_one_that_is_gone_counts_as_empty() {
    let cases: [Vec<Line>; 3] = [
        vec![
            (STACK, the_stack("CREATE_COMPLETE")),
            (VERSIONS, versions(&[])),
            (UPLOADS, xml("<ListMultipartUploadsResult/>")),
        ],
        vec![
            (STACK, the_stack("DELETE_IN_PROGRESS")),
            (VERSIONS, error(404, "NoSuchBucket")),
        ],
        vec![(STACK, no_stack())],
    ];
    for script in cases {
        let (_, answer) = empty(script).await;
        assert!(answer.unwrap().finished);
    }
}

#[tokio::test]
async fn an_object_that_was_not_deleted_is_not_overlooked() {
    let script = vec![
        (STACK, the_stack("CREATE_COMPLETE")),
        (VERSIONS, versions(&["a", "b"])),
        (
            DELETE_OBJECTS,
            xml(
                "<DeleteResult><Error><Key>b</Key><Code>InternalError</Code>\
                 <Message>try again</Message></Error></DeleteResult>",
            ),
        ),
    ];
    let (_, answer) = empty(script).await;
    let error = answer.unwrap_err();
    assert_eq!(error.name(), "Unavailable");
    assert!(error.to_string().contains("key b"), "{error}");
}

#[tokio::test]
async fn the_emptying_stops_in_good_order_when_its_time_is_up() {
    let aws = Aws::scripted(vec![
        (VERSIONS, versions(&["a"])),
        (DELETE_OBJECTS, deleted()),
    ]);
    let objects = aws.clients().objects(&region("eu-west-1"));
    let emptied = objects
        .empty_bucket(&named(DESTINATION), Instant::now())
        .await;
    assert_eq!(emptied.unwrap(), Emptied::Partly);
    aws.assert_used_up();
}

#[tokio::test]
async fn an_upload_that_ended_meanwhile_does_not_matter() {
    let mut script = empty_script();
    script[7].1 = error(404, "NoSuchUpload");
    let (_, answer) = empty(script).await;
    assert!(answer.unwrap().finished);
}

// --- delete-destination ------------------------------------------------------------------------

pub(crate) fn delete_script() -> Vec<Line> {
    vec![
        (STACK, the_stack("CREATE_COMPLETE")),
        (STACK, the_stack("CREATE_COMPLETE")),
        (FIRST_VERSION, versions(&[])),
        ("GetItem destination#eu-west-1", item(&destination())),
        ("PutItem destination#eu-west-1", done()),
        (DELETE, xml("<DeleteStackResponse/>")),
    ]
}

pub(crate) fn delete_gone_script() -> Vec<Line> {
    vec![
        (STACK, no_stack()),
        ("GetItem destination#eu-west-1", item(&destination())),
        ("PutItem destination#eu-west-1", done()),
    ]
}

async fn delete(script: Vec<Line>) -> (Aws, Value) {
    let (aws, answer) = run(script, |platform| {
        delete_destination::handle(platform, input(payload()))
    })
    .await;
    (aws, serde_json::to_value(answer.unwrap()).unwrap())
}

#[tokio::test]
async fn a_destination_is_seen_to_be_empty_before_it_is_deleted() {
    let (aws, answer) = delete(delete_script()).await;
    assert_eq!(answer, json!({ "state": "in_progress" }));
    aws.assert_order(FIRST_VERSION, "PutItem destination#eu-west-1");
    aws.assert_order("PutItem destination#eu-west-1", DELETE);
    assert!(aws.call("PutItem destination#eu-west-1").item()["seen_empty_at"].is_string());
}

#[tokio::test]
async fn a_destination_with_something_in_it_is_not_deleted() {
    let script = vec![
        (STACK, the_stack("CREATE_COMPLETE")),
        (STACK, the_stack("CREATE_COMPLETE")),
        (
            FIRST_VERSION,
            xml(
                "<ListVersionsResult><DeleteMarker><Key>b</Key><VersionId>m</VersionId>\
                 </DeleteMarker></ListVersionsResult>",
            ),
        ),
    ];
    let (_, answer) = delete(script).await;
    assert_eq!(answer, json!({ "state": "not_empty" }));
}

#[tokio::test]
async fn a_deletion_under_way_is_waited_for_and_one_that_failed_is_started_anew() {
    let (_, answer) = delete(vec![(STACK, the_stack("DELETE_IN_PROGRESS"))]).await;
    assert_eq!(answer, json!({ "state": "in_progress" }));

    let mut script = delete_script();
    script[0].1 = the_stack("DELETE_FAILED");
    let (_, answer) = delete(script).await;
    assert_eq!(answer, json!({ "state": "failed" }));
}

#[tokio::test]
async fn a_destination_that_is_gone_is_recorded_as_deleted_every_time() {
    for _ in 0..2 {
        let (aws, answer) = delete(delete_gone_script()).await;
        assert_eq!(answer, json!({ "state": "deleted" }));
        let stored = aws.call("PutItem destination#eu-west-1").item();
        assert_eq!(stored["state"], "deleted");
    }
    // Also when CloudFormation still remembers it, and when no record is left.
    let script = vec![
        (STACK, the_stack("DELETE_COMPLETE")),
        ("GetItem destination#eu-west-1", no_item()),
    ];
    let (_, answer) = delete(script).await;
    assert_eq!(answer, json!({ "state": "deleted" }));
}

#[tokio::test]
async fn a_template_error_is_not_taken_for_a_missing_stack() {
    let script = vec![(
        STACK,
        error_with(400, "ValidationError", "1 validation error detected"),
    )];
    let (_, answer) = run(script, |platform| {
        delete_destination::handle(platform, input(payload()))
    })
    .await;
    assert_eq!(answer.unwrap_err().name(), "Internal");
}
