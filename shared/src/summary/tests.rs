use serde_json::json;

use super::*;
use crate::catalogue::Severity;
use crate::run::Destination;
use crate::sample::Sample;
use crate::status::InventoryStatus;
use crate::totals::Tally;

fn account(id: &str) -> AccountId {
    AccountId::try_from(id).unwrap()
}

fn region(code: &str) -> Region {
    Region::try_from(code).unwrap()
}

fn name(bucket: &str) -> BucketName {
    BucketName::try_from(bucket).unwrap()
}

fn run(is_smoke_test: bool) -> Run {
    let queries = if is_smoke_test {
        json!([])
    } else {
        json!([{ "catalog": "secrets" }, { "name": "All rows", "query": "SELECT count(*) FROM {ATHENA_TABLE}" }])
    };
    let input = json!({
        "run_id": "nightly",
        "accounts": [{ "id": "111111111111", "exclude": ["cdn-*"] }, { "id": "222222222222" }],
        "athena_database_name": "s3insights",
        "athena_table_name": "inventory_nightly",
        "is_smoke_test": is_smoke_test,
        "athena_queries": queries,
        "sender_email_address": "s3@example.com",
        "recipient_email_addresses": ["team@example.com"],
        "supported_regions": ["eu-west-1", "us-east-1"],
        "inventory_timeout_minutes": 3000,
        "status_refresh_minutes": 30
    });
    serde_json::from_value(json!({
        "run_id": "nightly",
        "execution_arn": "arn:aws:states:us-east-1:111111111111:execution:insights-harvester:e1",
        "started_at": "2026-01-05T04:00:00.123Z",
        "deadline": "2026-01-07T06:00:00.123Z",
        "input": input.to_string(),
        "warnings": "[]",
        "regions": ["eu-west-1", "us-east-1"],
    }))
    .unwrap()
}

fn bucket(owner: &str, code: &str, bucket: &str, status: InventoryStatus) -> SourceBucket {
    let mut bucket = SourceBucket::discovered(account(owner), name(bucket), region(code));
    bucket.status = status;
    if status == InventoryStatus::Done {
        (bucket.rows, bucket.objects, bucket.bytes) = (1_200, 1_000, 5 << 30);
    }
    bucket
}

fn query(number: u32, state: QueryState) -> Query {
    Query {
        number,
        name: format!("Query {number}"),
        tells: (number == 0).then(|| "Keys that look like secrets.".to_owned()),
        severity: (number == 0).then_some(Severity::High),
        sql: String::new(),
        state,
        execution_id: Some(format!("0b1c-{number}")),
        rows: (state == QueryState::Succeeded).then_some(12_345),
        sample: (state == QueryState::Succeeded && number == 0).then(|| {
            Sample::of(
                ["bucketname", "key"].map(str::to_owned),
                [
                    vec![Some("photos".to_owned()), Some("home/id_rsa".to_owned())],
                    vec![Some("backup".to_owned()), None],
                ],
            )
        }),
        result_location: Some(format!("s3://consolidated/query-results/0b1c-{number}.csv")),
        scanned_bytes: Some(10),
        reason: None,
    }
}

fn complete_parts() -> RunParts {
    RunParts {
        accounts: ["111111111111", "222222222222"]
            .map(|id| Account {
                account: account(id),
                reason: None,
            })
            .to_vec(),
        destinations: Vec::new(),
        buckets: vec![
            bucket("111111111111", "eu-west-1", "photos", InventoryStatus::Done),
            bucket("222222222222", "us-east-1", "backup", InventoryStatus::Done),
            bucket(
                "222222222222",
                "us-east-1",
                "unused",
                InventoryStatus::BucketIsEmpty,
            ),
        ],
        left_out: vec![LeftOut {
            account: account("111111111111"),
            bucket: name("cdn-assets"),
            region: None,
            because: "accounts[0].exclude: cdn-*".into(),
        }],
        queries: vec![
            query(0, QueryState::Succeeded),
            query(1, QueryState::Succeeded),
        ],
    }
}

fn partial_parts() -> RunParts {
    let mut parts = complete_parts();
    parts.accounts[1].reason = Some(
        Reason::new("AccessDenied", "not authorized to perform: sts:AssumeRole")
            .needing("sts:AssumeRole"),
    );
    let mut refused = bucket(
        "222222222222",
        "eu-west-1",
        "ledger",
        InventoryStatus::InventoryConfigurationNotCreated,
    );
    refused.reason =
        Some(Reason::new("AccessDenied", "Access Denied").needing("s3:PutInventoryConfiguration"));
    parts.buckets.push(refused);
    for late in ["logs-a", "logs-b"] {
        let late = bucket(
            "111111111111",
            "us-east-1",
            late,
            InventoryStatus::InProgress,
        );
        parts.buckets.push(late);
    }
    parts.queries[1].state = QueryState::Failed;
    parts.queries[1].rows = None;
    parts.queries[1].reason = Some(Reason::new("QueryFailed", "line 1:8: no such column"));
    parts.destinations.push(Destination {
        region: region("ap-south-1"),
        stack: "insights-nightly-ap-south-1".into(),
        state: DestinationState::Deleted,
        bucket: None,
        bucket_arn: None,
        reason: Some(Reason::new("StackFailed", "Bucket: limit exceeded")),
        seen_empty_at: None,
    });
    parts
}

fn setting() -> Setting {
    Setting {
        host_region: region("us-east-1"),
        consolidated_bucket: name("consolidated"),
        work_group: "insights".into(),
    }
}

fn totals() -> Totals {
    let mut totals = Totals {
        delete_markers: 100,
        ..Totals::default()
    };
    let tally = |versions: u64| Tally {
        objects: versions,
        object_bytes: versions << 20,
        versions,
        version_bytes: versions << 20,
    };
    totals.all = tally(2_300);
    for (class, versions) in [("STANDARD", 2_000), ("GLACIER", 299), ("", 1)] {
        totals.by_storage_class.add(class, tally(versions));
    }
    for number in 1..=11 {
        totals
            .by_category
            .add(&format!("category-{number}"), tally(number));
    }
    totals
}

fn records<'a>(run: &'a Run, parts: &'a RunParts, totals: Option<&'a Totals>) -> Records<'a> {
    Records {
        run,
        parts,
        totals,
        earlier: None,
    }
}

fn build(run: &Run, parts: &RunParts) -> Summary {
    let totals = totals();
    Summary::build(records(run, parts, Some(&totals)), &setting())
}

/// What holds for every summary: it survives being stored, its size, and an HTML part without
/// anything active.
fn check(summary: &Summary) {
    let stored = serde_json::to_string(summary).unwrap();
    assert_eq!(&serde_json::from_str::<Summary>(&stored).unwrap(), summary);
    let (subject, text, html) = (summary.subject(), summary.text(), summary.html());
    assert!(
        subject.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
        "{subject:?}"
    );
    assert!(
        text.len() <= MAX_BYTES && html.len() <= MAX_BYTES,
        "{} {}",
        text.len(),
        html.len()
    );
    for active in ["<script", "<svg", "<img", "javascript:"] {
        assert!(!html.contains(active), "{active}");
    }
    let shortfalls = summary.shortfalls();
    match summary.outcome {
        Outcome::Complete => assert_eq!(shortfalls, Vec::<String>::new()),
        Outcome::Partial => assert_ne!(shortfalls, Vec::<String>::new()),
        Outcome::Failed => {}
    }
    if summary.outcome != Outcome::Complete {
        for part in [subject, text, html] {
            assert!(
                !part.contains("complete") && !part.contains("are covered"),
                "{part}"
            );
        }
    }
}

#[test]
fn a_complete_run() {
    let summary = build(&run(false), &complete_parts());
    check(&summary);
    assert_eq!(summary.outcome, Outcome::Complete);
    insta::assert_snapshot!("complete.txt", summary.text());
    insta::assert_snapshot!("complete.html", summary.html());
    insta::assert_json_snapshot!("complete.json", summary);
}

#[test]
fn a_partial_run_says_what_is_missing_and_why() {
    let mut run = run(false);
    run.frozen_at = Some(run.deadline);
    run.warnings = vec![StoredProblem {
        path: "athena_queries[1].query".into(),
        message: "does not hold {ATHENA_TABLE}".into(),
    }];
    // The run before covered more, and knew one more bucket.
    let mut earlier = run.clone();
    earlier.run_id = "sunday".parse().unwrap();
    earlier.started_at = "2026-01-04T04:00:00Z".parse().unwrap();
    let mut then = complete_parts();
    let more = ["logs-a", "retired"]
        .map(|name| bucket("111111111111", "us-east-1", name, InventoryStatus::Done));
    then.buckets.extend(more);
    let (totals, parts) = (totals(), partial_parts());
    let records = Records {
        earlier: Some((&earlier, &then)),
        ..records(&run, &parts, Some(&totals))
    };
    let summary = Summary::build(records, &setting());
    check(&summary);
    assert_eq!(
        summary.subject(),
        "S3Insights run nightly: partial, 3 of 6 buckets not covered, 1 of 2 accounts not read, \
         1 of 2 queries without a result"
    );
    insta::assert_snapshot!("partial.txt", summary.text());
    insta::assert_snapshot!("partial.html", summary.html());
}

#[test]
fn a_failed_run() {
    let mut run = run(false);
    run.failure = Some(Failure {
        error: "Internal".into(),
        cause: r#"{"errorType":"Internal","errorMessage":"the stack is gone"}"#.into(),
    });
    let mut parts = RunParts {
        accounts: complete_parts().accounts,
        buckets: complete_parts().buckets,
        destinations: partial_parts().destinations,
        ..RunParts::default()
    };
    for bucket in &mut parts.buckets[..2] {
        bucket.configured = true;
    }
    parts.buckets[0].configuration_removed = true;
    let summary = Summary::build(records(&run, &parts, None), &setting());
    check(&summary);
    assert!(summary.text().contains(
        "Not cleaned up to the end: 1 of 2 inventory configurations and 1 of 1 inventory destination are \
         removed; `s3insights run cleanup nightly` removes what is left."
    ));

    parts.buckets[1].configuration_removed = true;
    run.cleaned_up_at = Some(run.deadline);
    let summary = Summary::build(records(&run, &parts, None), &setting());
    check(&summary);
    insta::assert_snapshot!("failed.txt", summary.text());
    insta::assert_snapshot!("failed.html", summary.html());
}

#[test]
fn a_run_over_accounts_without_buckets() {
    let mut run = run(false);
    run.input.athena_queries.clear();
    let parts = RunParts {
        accounts: complete_parts().accounts,
        ..RunParts::default()
    };
    let totals = Totals::default();
    let summary = Summary::build(records(&run, &parts, Some(&totals)), &setting());
    check(&summary);
    assert_eq!(summary.outcome, Outcome::Complete);
    insta::assert_snapshot!("empty.txt", summary.text());
    insta::assert_snapshot!("empty.html", summary.html());
}

#[test]
fn a_smoke_run() {
    let run = run(true);
    let buckets = run
        .input
        .supported_regions
        .iter()
        .flatten()
        .map(|region| {
            let mut bucket = SourceBucket::discovered(
                account("111111111111"),
                naming::smoke_test_bucket(&run.run_id, region),
                region.clone(),
            );
            bucket.status = InventoryStatus::Done;
            bucket
        })
        .collect();
    let mut parts = RunParts {
        buckets,
        ..RunParts::default()
    };
    let passed = build(&run, &parts);
    check(&passed);
    assert_eq!(
        passed.subject(),
        "S3Insights run nightly: smoke test passed"
    );
    insta::assert_snapshot!("smoke.txt", passed.text());
    insta::assert_snapshot!("smoke.html", passed.html());

    parts.buckets[0].status = InventoryStatus::InProgress;
    let unproven = build(&run, &parts);
    check(&unproven);
    assert_eq!(
        unproven.subject(),
        "S3Insights run nightly: smoke test partial, 1 of 2 buckets not covered"
    );
}

#[test]
fn what_comes_from_outside_stays_text() {
    let hostile =
        "<script>alert(1)</script>\r\nSubject: \u{1b}[2J & \"quoted\" 'it' \u{202e}{{ 7*7 }}";
    let mut run = run(false);
    run.failure = Some(Failure {
        error: hostile.into(),
        cause: hostile.into(),
    });
    run.mail_failure = Some(Reason::new(hostile, hostile));
    run.execution_arn = hostile.into();
    run.warnings = vec![StoredProblem {
        path: hostile.into(),
        message: hostile.into(),
    }];
    run.input.athena_queries = vec![QueryInput::Sql {
        name: hostile.into(),
        query: hostile.into(),
    }];
    run.input.recipient_email_addresses = vec![hostile.into()];
    let mut parts = partial_parts();
    let reason = Reason {
        code: hostile.into(),
        message: hostile.into(),
        missing_permission: Some(hostile.into()),
    };
    parts.accounts[0].reason = Some(reason.clone());
    parts.buckets[3].reason = Some(reason.clone());
    parts.destinations[0].reason = Some(reason.clone());
    parts.left_out[0].because = hostile.into();
    parts.queries.truncate(1);
    parts.queries[0].name = hostile.into();
    parts.queries[0].tells = Some(hostile.into());
    parts.queries[0].reason = Some(reason);
    parts.queries[0].execution_id = Some("\"><script>".into());
    parts.queries[0].result_location = Some(hostile.into());
    let summary = build(&run, &parts);
    check(&summary);
    for part in [summary.text(), summary.html()] {
        assert!(!part.contains(['\u{1b}', '\r', '\u{202e}']));
        assert!(
            !part
                .lines()
                .any(|line| line.trim_start().starts_with("Subject:"))
        );
        assert!(part.contains("{{ 7*7 }}"));
    }
    insta::assert_snapshot!("hostile.txt", summary.text());
    insta::assert_snapshot!("hostile.html", summary.html());
}

#[test]
fn any_number_of_anything_fits_into_a_mail() {
    let long = "&\"<\n".repeat(1_000);
    let reason = Reason::new(long.clone(), long.clone());
    let mut run = run(false);
    run.input.athena_queries = Vec::new();
    run.warnings = vec![
        StoredProblem {
            path: long.clone(),
            message: long.clone()
        };
        400
    ];
    let owner = account("111111111111");
    let mut parts = RunParts {
        accounts: (0..1_000)
            .map(|number| Account {
                account: account(&format!("{number:012}")),
                reason: Some(reason.clone()),
            })
            .collect(),
        left_out: vec![
            LeftOut {
                account: owner,
                bucket: name("x-bucket"),
                region: None,
                because: long.clone()
            };
            5_000
        ],
        queries: (0..200)
            .map(|number| query(number, QueryState::Succeeded))
            .collect(),
        ..RunParts::default()
    };
    for query in &mut parts.queries {
        query.name = "&".repeat(200);
        query.tells = Some(long.clone());
    }
    parts.queries[150].state = QueryState::Failed;
    for number in 0..10_000 {
        let status = if number == 7_777 {
            InventoryStatus::VerificationFailed
        } else {
            InventoryStatus::InProgress
        };
        let mut bucket = bucket(
            "111111111111",
            "eu-west-1",
            &format!("{number:0>255}"),
            status,
        );
        bucket.reason = Some(reason.clone());
        parts.buckets.push(bucket);
    }
    let summary = build(&run, &parts);
    check(&summary);
    assert_eq!(summary.not_covered.len(), 10_000);
    for part in [summary.text(), summary.html()] {
        assert!(part.contains("10,000 of") || part.contains("10000 of 10000 buckets not covered"));
        assert!(
            part.contains("verification_failed: ") || part.contains("<b>verification_failed</b>")
        );
        assert!(part.contains("failed"));
        assert!(part.contains("more, all in s3:"));
    }
}

#[test]
fn an_ordinary_large_run_shows_long_lists() {
    let mut parts = complete_parts();
    for number in 0..10_000 {
        let status = match number % 50 {
            0 => InventoryStatus::BucketAccessLost,
            _ => InventoryStatus::Done,
        };
        let mut bucket = bucket(
            "111111111111",
            "eu-west-1",
            &format!("bucket-{number}"),
            status,
        );
        bucket.reason = Some(Reason::new("AccessDenied", "Access Denied"));
        parts.buckets.push(bucket);
    }
    parts.queries = (0..200)
        .map(|number| query(number, QueryState::Succeeded))
        .collect();
    let summary = build(&run(false), &parts);
    check(&summary);
    assert!(summary.html().matches("query-editor").count() >= 50);
    assert!(summary.html().contains("10003"));
}

#[test]
fn what_is_not_on_record_counts_as_missing() {
    let parts = complete_parts();
    let mut forgotten = parts.clone();
    forgotten.accounts.pop();
    let summary = build(&run(false), &forgotten);
    assert_eq!(summary.outcome, Outcome::Partial);
    assert_eq!(summary.unread_accounts[0].reason.code, "NotDiscovered");

    let mut forgotten = parts.clone();
    forgotten.queries.remove(0);
    let summary = build(&run(false), &forgotten);
    assert_eq!(summary.outcome, Outcome::Partial);
    assert_eq!(summary.queries[0].state, QueryState::Waiting);

    let mut stopped = run(false);
    stopped.outcome = Some(Outcome::Failed);
    let summary = build(&stopped, &parts);
    check(&summary);
    assert_eq!(summary.subject(), "S3Insights run nightly: failed");
}

#[test]
fn a_named_bucket_that_no_account_has_is_not_covered() {
    let mut run = run(false);
    let manifest = |bucket: &str| {
        let uri = format!("s3://reports/<b>/{bucket}/daily/2026-01-01T00-00Z/manifest.json");
        ManifestUri::try_from(uri).unwrap()
    };
    run.input.existing_inventories = ["photos", "cdn-assets", "nowhere"]
        .map(|bucket| ExistingInventory {
            bucket: name(bucket),
            manifest: manifest(bucket),
        })
        .to_vec();
    let mut parts = complete_parts();
    parts.buckets[0].existing_report = Some(manifest("photos"));
    let summary = build(&run, &parts);
    check(&summary);
    assert_eq!(
        summary.subject(),
        "S3Insights run nightly: partial, 1 bucket of existing_inventories not found"
    );
    // The one that is left out is known, and said to be left out.
    let [not_found] = &summary.not_found[..] else {
        panic!("{:?}", summary.not_found);
    };
    assert_eq!(not_found.bucket, name("nowhere"));
    assert_eq!(not_found.reason.code, "BucketNotFound");
    assert_eq!(
        not_found.reason.message,
        "existing_inventories names it, but no account of the run has it"
    );
    insta::assert_snapshot!("existing.txt", summary.text());
    insta::assert_snapshot!("existing.html", summary.html());

    parts.accounts[0].reason = Some(Reason::new("AccessDenied", "no"));
    let message = build(&run, &parts).not_found[0].reason.message.clone();
    assert!(message.ends_with("no account of the run that was read has it"));

    run.input.existing_inventories.truncate(2);
    let summary = build(&run, &complete_parts());
    check(&summary);
    assert_eq!(summary.outcome, Outcome::Complete);
}
