use serde_json::{Value, json};

use super::*;

fn regions() -> Vec<Region> {
    ["us-east-1", "eu-west-1"]
        .map(|code| Region::try_from(code).unwrap())
        .to_vec()
}

fn run(raw: &Value) -> Result<Checked, Vec<String>> {
    let enabled = regions();
    let surroundings = Surroundings {
        enabled_regions: &enabled,
        execution_arn: "arn:aws:states:us-east-1:123456789012:execution:h:1",
        started_at: "2026-03-01T04:05:06Z".parse().unwrap(),
    };
    check(raw, &surroundings).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn minimal() -> Value {
    json!({
        "accounts": [{"id": "123456789012"}],
        "sender_email_address": "storage@example.com",
        "recipient_email_addresses": ["team@example.com"],
    })
}

fn with(field: &str, value: Value) -> Value {
    let mut raw = minimal();
    raw[field] = value;
    raw
}

#[test]
fn three_fields_are_enough() {
    let Checked { input, warnings } = run(&minimal()).unwrap();
    assert!(warnings.is_empty());
    assert!(
        input.run_id.as_str().starts_with("260301040506"),
        "{}",
        input.run_id
    );
    assert_eq!(
        input.athena_table_name,
        format!("inventory_{}", input.run_id)
    );
    assert_eq!(input.athena_database_name, DEFAULT_DATABASE);
    assert_eq!(input.supported_regions, None);
    assert_eq!(input.inventory_timeout_minutes, 3_000);
    assert_eq!(input.status_refresh_minutes, 30);
    assert_eq!(
        input
            .deadline("2026-03-01T00:00:00Z".parse().unwrap())
            .to_string(),
        "2026-03-03T02:00:00Z"
    );
}

#[test]
fn the_same_execution_derives_the_same_run() {
    assert_eq!(run(&minimal()).unwrap(), run(&minimal()).unwrap());
}

#[test]
fn the_predecessors_input_is_accepted_whole() {
    let checked = run(&json!({
        "run_id": "weekly1",
        "accounts": [
            {"id": "123456789012", "exclude": ["scratch", "logs-*"]},
            {"id": "210987654321", "exclude": []}
        ],
        "athena_database_name": "s3insights_db",
        "athena_table_name": "weekly_1",
        "is_smoke_test": false,
        "athena_queries": [{"name": "all", "query": "SELECT count(*) FROM {ATHENA_TABLE}"}],
        "sender_email_address": "a@example.com",
        "recipient_email_addresses": ["b@example.com", "c@example.com"],
        "supported_regions": ["us-east-1"]
    }))
    .unwrap();
    assert!(checked.warnings.is_empty());
    assert_eq!(checked.input.run_id.as_str(), "weekly1");
    assert_eq!(
        checked.input.supported_regions,
        Some(vec![Region::try_from("us-east-1").unwrap()])
    );
}

#[test]
fn what_is_stored_reads_back() {
    let mut raw = with(
        "athena_queries",
        json!([{"catalog": "secrets"}, {"name": "n", "query": "{ATHENA_TABLE}"}]),
    );
    raw["is_smoke_test"] = json!(true);
    let input = run(&raw).unwrap().input;
    assert_eq!(
        input.inventory_timeout_minutes,
        DEFAULT_SMOKE_TEST_TIMEOUT_MINUTES
    );
    let text = serde_json::to_string(&input).unwrap();
    assert_eq!(serde_json::from_str::<RunInput>(&text).unwrap(), input);
}

#[test]
fn arguments_of_a_query_are_kept_as_they_are_given() {
    let input = run(&with(
        "athena_queries",
        json!([
            {"catalog": "stale-buckets", "parameters": {"days": 30}},
            {"catalog": "backup-comparison", "parameters": {"bucket": "photos", "backup": null}},
            {"catalog": "secrets", "parameters": null},
        ]),
    ))
    .unwrap()
    .input;
    let stored = serde_json::to_value(&input.athena_queries).unwrap();
    assert_eq!(
        stored,
        json!([
            {"catalog": "stale-buckets", "parameters": {"days": 30}},
            {"catalog": "backup-comparison", "parameters": {"bucket": "photos"}},
            // As it was before queries had parameters.
            {"catalog": "secrets"},
        ])
    );
    let read: Vec<QueryInput> = serde_json::from_value(stored).unwrap();
    assert_eq!(read, input.athena_queries);
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "a table with a line for each mistake"
)]
fn every_bad_field_is_answered_with_its_path() {
    let many: Vec<String> = (0..51).map(|n| format!("r{n}@example.com")).collect();
    let cases: Vec<(Value, &str, &str)> = vec![
        (json!([]), "input", "must be a JSON object, found a list"),
        (
            with("accounts", json!([])),
            "accounts",
            "at least one account",
        ),
        (
            with("accounts", json!("123456789012")),
            "accounts",
            "must be a list",
        ),
        (
            with("accounts", json!(["123456789012"])),
            "accounts[0]",
            "must be an object",
        ),
        (
            with("accounts", json!([{"id": "12345678901"}])),
            "accounts[0].id",
            "12 digits",
        ),
        (
            with("accounts", json!([{"id": 123_456_789_012_u64}])),
            "accounts[0].id",
            "quotes",
        ),
        (with("accounts", json!([{}])), "accounts[0].id", "12 digits"),
        (
            with(
                "accounts",
                json!([{"id": "123456789012"}, {"id": "123456789012"}]),
            ),
            "accounts[1].id",
            "already named by accounts[0].id",
        ),
        (
            with(
                "accounts",
                json!([{"id": "123456789012", "exclude": "logs-*"}]),
            ),
            "accounts[0].exclude",
            "must be a list",
        ),
        (
            with(
                "accounts",
                json!([{"id": "123456789012", "exclude": ["a/b"]}]),
            ),
            "accounts[0].exclude[0]",
            "is not a bucket name",
        ),
        (
            with("accounts", json!([{"id": "123456789012", "name": "x"}])),
            "accounts[0].name",
            "unknown field",
        ),
        (with("acounts", json!([])), "acounts", "unknown field"),
        (
            with("run_id", json!("night-ly")),
            "run_id",
            "1 to 16 of a-z and 0-9",
        ),
        (with("run_id", json!(7)), "run_id", "must be a text"),
        (
            with("athena_database_name", json!("a; drop table x")),
            "athena_database_name",
            "is not a name",
        ),
        (
            with("athena_table_name", json!("1st")),
            "athena_table_name",
            "is not a name",
        ),
        (
            with("is_smoke_test", json!("true")),
            "is_smoke_test",
            "true or false",
        ),
        (
            with("athena_queries", json!([{"catalog": "nope"}])),
            "athena_queries[0].catalog",
            "not in the catalogue, which has",
        ),
        (
            with(
                "athena_queries",
                json!([{"catalog": "stale-buckets", "parameters": {"days": "30"}}]),
            ),
            "athena_queries[0].parameters.days",
            "must be a whole number of days from 1 to 36500, found \"30\"",
        ),
        (
            with(
                "athena_queries",
                json!([{"catalog": "backup-comparison", "parameters": {"original": null}}]),
            ),
            "athena_queries[0].parameters.original",
            "unknown parameter; backup-comparison has bucket, backup",
        ),
        (
            with(
                "athena_queries",
                json!([{"catalog": "secrets", "parameters": {"days": 30}}]),
            ),
            "athena_queries[0].parameters.days",
            "the query secrets has no parameters",
        ),
        (
            with(
                "athena_queries",
                json!([{"catalog": "stale-buckets", "parameters": [30]}]),
            ),
            "athena_queries[0].parameters",
            "must be an object such as {\"days\": 30}, found a list",
        ),
        (
            with(
                "athena_queries",
                json!([{"name": "n", "query": "{ATHENA_TABLE}", "parameters": {}}]),
            ),
            "athena_queries[0].parameters",
            "is for a query of the catalogue",
        ),
        (
            with("athena_queries", json!([{"name": "n"}])),
            "athena_queries[0].query",
            "must be a text",
        ),
        (
            with(
                "athena_queries",
                json!([{"name": "n", "query": "q", "catalog": "secrets"}]),
            ),
            "athena_queries[0]",
            "both catalog and query",
        ),
        (
            with("sender_email_address", json!("nobody")),
            "sender_email_address",
            "not an email address",
        ),
        (
            with("recipient_email_addresses", json!([])),
            "recipient_email_addresses",
            "at least one recipient",
        ),
        (
            with("recipient_email_addresses", json!(many)),
            "recipient_email_addresses",
            "51 recipients; SES takes at most 50",
        ),
        (
            with("recipient_email_addresses", json!(["a@b.c\r\nBcc: x@y.z"])),
            "recipient_email_addresses[0]",
            "not an email address",
        ),
        (
            with("supported_regions", json!(["eu-west-9"])),
            "supported_regions[0]",
            "not a Region enabled in the host account, which has us-east-1, eu-west-1",
        ),
        (
            with("supported_regions", json!([])),
            "supported_regions",
            "at least one Region",
        ),
        (
            with("existing_inventories", json!("s3://r/manifest.json")),
            "existing_inventories",
            "must be a list",
        ),
        (
            with("existing_inventories", json!(["s3://r/manifest.json"])),
            "existing_inventories[0]",
            "must be an object such as",
        ),
        (
            with("existing_inventories", json!([{"bucket": "photos"}])),
            "existing_inventories[0].manifest",
            "must be the place of a manifest such as s3://",
        ),
        (
            with(
                "existing_inventories",
                json!([{"manifest": "s3://reports/manifest.json"}]),
            ),
            "existing_inventories[0].bucket",
            "must be a bucket name",
        ),
        (
            with(
                "existing_inventories",
                json!([{"bucket": "a/b", "manifest": "s3://reports/manifest.json"}]),
            ),
            "existing_inventories[0].bucket",
            "is not a bucket name",
        ),
        (
            with(
                "existing_inventories",
                json!([{"bucket": 7, "manifest": "s3://reports/manifest.json"}]),
            ),
            "existing_inventories[0].bucket",
            "must be a text",
        ),
        (
            with(
                "existing_inventories",
                json!([{"bucket": "photos", "manifest": "s3://reports/a/../manifest.json"}]),
            ),
            "existing_inventories[0].manifest",
            "is not the place of a manifest",
        ),
        (
            with(
                "existing_inventories",
                json!([{"bucket": "photos", "manifest": "s3://reports/manifest.checksum"}]),
            ),
            "existing_inventories[0].manifest",
            "is not the place of a manifest",
        ),
        (
            with(
                "existing_inventories",
                json!([{"bucket": "photos", "manifest": "s3://reports/manifest.json", "format": "CSV"}]),
            ),
            "existing_inventories[0].format",
            "unknown field; accepted are bucket, manifest",
        ),
        (
            with(
                "existing_inventories",
                json!([
                    {"bucket": "photos", "manifest": "s3://reports/a/manifest.json"},
                    {"bucket": "photos", "manifest": "s3://reports/b/manifest.json"},
                ]),
            ),
            "existing_inventories[1].bucket",
            "photos is already named by existing_inventories[0].bucket",
        ),
        (
            {
                let mut raw = with(
                    "existing_inventories",
                    json!([{"bucket": "photos", "manifest": "s3://reports/manifest.json"}]),
                );
                raw["is_smoke_test"] = json!(true);
                raw
            },
            "existing_inventories",
            "must be left out of a smoke test",
        ),
        (
            with("inventory_timeout_minutes", json!(0)),
            "inventory_timeout_minutes",
            "whole number from 1",
        ),
        (
            with("status_refresh_minutes", json!("5")),
            "status_refresh_minutes",
            "whole number",
        ),
    ];
    for (raw, path, message) in cases {
        let problems = run(&raw).expect_err(&raw.to_string());
        assert!(
            problems.iter().any(|problem| {
                problem.starts_with(&format!("{path}: ")) && problem.contains(message)
            }),
            "{raw} gave {problems:#?}, not {path}: …{message}…"
        );
        assert_eq!(
            problems.len(),
            1,
            "one mistake is one problem: {problems:#?}"
        );
    }
}

#[test]
fn all_problems_come_in_one_answer() {
    let problems = run(&json!({"run_id": "a-b", "x": 1})).unwrap_err();
    let paths: Vec<&str> = problems
        .iter()
        .filter_map(|p| p.split(':').next())
        .collect();
    assert_eq!(
        paths,
        [
            "x",
            "run_id",
            "accounts",
            "sender_email_address",
            "recipient_email_addresses"
        ]
    );
}

#[test]
fn a_report_that_exists_is_found_by_its_bucket() {
    let raw = with(
        "existing_inventories",
        json!([
            {"bucket": "photos", "manifest": "s3://reports/photos/daily/1/manifest.json"},
            {"bucket": "music", "manifest": "s3://reports/music/daily/1/manifest.json"},
        ]),
    );
    let Checked { input, warnings } = run(&raw).unwrap();
    assert!(warnings.is_empty());
    let of = |bucket: &str| {
        let bucket = BucketName::try_from(bucket).unwrap();
        input
            .existing_inventory_of(&bucket)
            .map(ToString::to_string)
    };
    assert_eq!(
        of("music").as_deref(),
        Some("s3://reports/music/daily/1/manifest.json")
    );
    assert_eq!(of("films"), None);
    let text = serde_json::to_string(&input).unwrap();
    assert_eq!(serde_json::from_str::<RunInput>(&text).unwrap(), input);
    // All mistakes of the list come in one answer.
    let problems = run(&with(
        "existing_inventories",
        json!([{"bucket": "a/b", "manifest": 7}, null, {}]),
    ));
    let paths: Vec<String> = problems
        .unwrap_err()
        .iter()
        .filter_map(|problem| Some(problem.split_once(": ")?.0.to_owned()))
        .collect();
    let paths: Vec<&str> = paths
        .iter()
        .map(|path| path.trim_start_matches("existing_inventories"))
        .collect();
    assert_eq!(
        paths,
        [
            "[0].bucket",
            "[0].manifest",
            "[1]",
            "[2].bucket",
            "[2].manifest"
        ]
    );
}

#[test]
fn a_query_without_the_table_is_a_warning() {
    let checked = run(&with(
        "athena_queries",
        json!([{"name": "one", "query": "SELECT 1"}]),
    ))
    .unwrap();
    assert_eq!(checked.warnings.len(), 1);
    assert_eq!(checked.warnings[0].path, "athena_queries[0].query");
}

#[test]
fn exclusions_match_whole_names() {
    let cases = [
        ("logs", "logs", true),
        ("logs", "logs2", false),
        ("logs-*", "logs-", true),
        ("logs-*", "my-logs-1", false),
        ("*", "anything", true),
        ("*-tmp-*", "a-tmp-b.c", true),
        ("a.c", "abc", false),
    ];
    for (pattern, name, expected) in cases {
        let bucket = BucketName::try_from(name);
        let Ok(bucket) = bucket else { panic!("{name}") };
        assert_eq!(
            excluded_by(&[pattern.to_owned()], &bucket).is_some(),
            expected,
            "{pattern} {name}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn no_input_makes_the_check_panic(text in "\\PC{0,60}") {
        for raw in [json!({"accounts": [{"id": text, "exclude": [text]}]}), json!({text.clone(): text}), json!(text)] {
            let _ = run(&raw);
        }
    }
}
