use serde_json::{Value, json};

use super::*;
use crate::catalogue::TABLE_PLACEHOLDER;
use crate::foreign_text::{is_invisible, visible};
use crate::hostile;

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
fn an_account_is_said_to_be_named_where_it_stands() {
    let problems = run(&with(
        "accounts",
        json!([{"id": "1"}, {"id": "123456789012"}, null, {"id": "123456789012"}]),
    ));
    assert_eq!(
        problems.unwrap_err()[2],
        "accounts[3].id: 123456789012 is already named by accounts[1].id"
    );
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

#[test]
fn very_many_exclusions_are_held_against_very_many_buckets() {
    // As many as an input takes, which no bucket fits until the end.
    let exclude: Vec<String> = (0..30_000).map(|n| format!("*{n}*x*")).collect();
    for number in 0..100 {
        let bucket = BucketName::try_from(format!("bucket-{number}")).unwrap();
        assert_eq!(excluded_by(&exclude, &bucket), None);
    }
}

#[test]
fn a_query_has_to_be_short_enough_with_the_name_of_its_table() {
    let sql = |bytes: usize| {
        let mut raw = with("athena_queries", json!([{"name": "n", "query": ""}]));
        raw["run_id"] = json!("nightly");
        // "s3insights"."inventory_nightly" is 18 longer than what stands for it.
        let text = format!("{TABLE_PLACEHOLDER}{}", " ".repeat(bytes - 14));
        raw["athena_queries"][0]["query"] = json!(text);
        run(&raw)
    };
    assert!(sql(262_144 - 18).is_ok());
    assert_eq!(
        sql(262_144 - 17).unwrap_err(),
        [
            "athena_queries[0].query: has 262145 bytes with the table's name put in; Athena takes \
             at most 262144"
        ]
    );
    // Short, and 10 MB with the longest names.
    let mut raw = with(
        "athena_queries",
        json!([{"name": "n", "query": TABLE_PLACEHOLDER.repeat(18_000)}]),
    );
    for name in ["athena_database_name", "athena_table_name"] {
        raw[name] = json!("x".repeat(255));
    }
    let problems = run(&raw).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("has 9270000 bytes"), "{}", problems[0]);
}

#[test]
fn an_input_is_as_large_as_its_record_may_be() {
    let of = |accounts: u64| {
        let accounts: Vec<Value> = (0..accounts)
            .map(|number| json!({"id": format!("{number:012}"), "exclude": []}))
            .collect();
        with("accounts", json!(accounts))
    };
    // As many as Step Functions starts a run with.
    let checked = run(&of(12_000)).unwrap();
    let stored = serde_json::to_string(&checked.input).unwrap();
    assert!(stored.len() <= MAX_STORED_BYTES, "{}", stored.len());

    let problems = run(&of(20_000)).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].starts_with("input: has 44")
            && problems[0].ends_with("which is some 12,000 accounts: make it several runs"),
        "{}",
        problems[0]
    );
    let queries: Vec<Value> = (0..1_000)
        .map(|n| json!({"name": n.to_string(), "query": TABLE_PLACEHOLDER}))
        .collect();
    assert_eq!(
        run(&with("athena_queries", json!(queries))).unwrap_err(),
        ["athena_queries: 1000 queries; at most 200 are accepted"]
    );
}

#[test]
fn an_answer_is_short_whatever_is_wrong() {
    let long = "\u{1b}[2J\n- x: ".repeat(2_000);
    let mut raw = minimal();
    for field in FIELDS {
        raw[field] = json!(long);
    }
    raw[&long] = json!(long);
    raw["accounts"] = json!([{"id": long, "exclude": [long, {"a": long}], long.clone(): 1}, long]);
    raw["athena_queries"] = json!([
        {"catalog": long},
        {"catalog": "stale-buckets", "parameters": {"days": long, long.clone(): 1}},
        {"name": long, "query": "q", long.clone(): long},
    ]);
    raw["recipient_email_addresses"] = json!(vec![json!(long); 200]);
    raw["existing_inventories"] = json!([{"bucket": long, "manifest": long, long.clone(): long}]);
    let enabled = regions();
    let surroundings = Surroundings {
        enabled_regions: &enabled,
        execution_arn: "arn",
        started_at: "2026-03-01T04:05:06Z".parse().unwrap(),
    };
    let problems = check(&raw, &surroundings).unwrap_err();
    assert!(problems.len() > 200, "{}", problems.len());
    let answer = describe(&problems);
    assert!(answer.len() < 10_000, "{}", answer.len());
    let mut lines = answer.lines();
    let first = lines.next().unwrap();
    assert_eq!(
        first,
        format!("the run input has {} problem(s):", problems.len())
    );
    // No value begins a line of its own, or does anything to a terminal.
    for line in lines.clone() {
        assert!(
            line.starts_with("- ") && !line.starts_with("- x: "),
            "{line}"
        );
        assert!(!line.contains(is_invisible), "{line:?}");
    }
    let last = lines.next_back().unwrap();
    assert!(
        last.starts_with("- and ") && last.ends_with(" more"),
        "{last}"
    );
}

#[test]
fn an_address_is_one_that_ses_takes_and_that_ends_no_header() {
    let sent_from = |address: &str| run(&with("sender_email_address", json!(address))).is_ok();
    for address in [
        "a@example.com",
        "first.last+tag@sub.example.co",
        "o'neil@x.de",
    ] {
        assert!(sent_from(address), "{address}");
    }
    for address in [
        "a@example.com\r\nBcc: b@example.com",
        "a@example.com\n",
        "a@example.com,b@example.com",
        "a@example.com;b@example.com",
        "Team <a@example.com>",
        "\"a b\"@example.com",
        "a@b@example.com",
        "a@example.com\0",
        "\u{202e}a@example.com",
        "a@ex\u{e4}mple.com",
        "a@example.com\u{200b}",
        "@example.com",
        "a@example",
        "a@.example.com",
    ] {
        assert!(!sent_from(address), "{address:?}");
    }
    let problems = run(&with("sender_email_address", json!("a@exämple.com"))).unwrap_err();
    assert!(problems[0].ends_with("a domain of other letters in Punycode"));
}

/// Whether a pattern fits, by the book: each character in turn, a `*` taking none or one more.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            fits(rest, name) || (!name.is_empty() && fits(pattern, &name[1..]))
        }
        ([first, pattern @ ..], [letter, name @ ..]) => first == letter && fits(pattern, name),
        _ => false,
    }
}

/// An input that uses every field.
fn full() -> Value {
    json!({
        "run_id": "nightly",
        "accounts": [{"id": "123456789012", "exclude": ["logs-*"]}, {"id": "210987654321"}],
        "athena_database_name": "s3insights",
        "athena_table_name": "inventory_nightly",
        "is_smoke_test": false,
        "athena_queries": [
            {"catalog": "stale-buckets", "parameters": {"days": 30}},
            {"name": "all", "query": "SELECT count(*) FROM {ATHENA_TABLE}"},
        ],
        "sender_email_address": "a@example.com",
        "recipient_email_addresses": ["b@example.com"],
        "supported_regions": ["us-east-1"],
        "existing_inventories": [
            {"bucket": "photos", "manifest": "s3://reports/photos/daily/1/manifest.json"},
        ],
        "inventory_timeout_minutes": 60,
        "status_refresh_minutes": 5,
    })
}

/// What is promised of every input: it is checked, or every problem has its path.
fn keeps_its_promise(raw: &Value) {
    let enabled = regions();
    let surroundings = Surroundings {
        enabled_regions: &enabled,
        execution_arn: "arn",
        started_at: "2026-03-01T04:05:06Z".parse().unwrap(),
    };
    let Checked { input, warnings } = match check(raw, &surroundings) {
        Ok(checked) => checked,
        Err(problems) => {
            assert!(!problems.is_empty());
            let names = raw.as_object().into_iter().flatten().map(|(name, _)| name);
            let unknown: Vec<String> = names.map(|name| visible(name)).collect();
            for Problem { path, message } in &problems {
                let field = path.split(['.', '[']).next().unwrap_or_default();
                let is_cut = path.ends_with('…');
                assert!(
                    is_cut || field == "input" || FIELDS.contains(&field) || unknown.contains(path),
                    "{path:?}: {message}"
                );
                assert!(!path.contains(is_invisible), "{path:?}");
                assert!(!message.contains(char::is_control), "{message:?}");
            }
            assert!(describe(&problems).len() < 10_000);
            return;
        }
    };
    let name_like = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    assert!(name_like(&input.athena_database_name) && name_like(&input.athena_table_name));
    for address in
        std::iter::once(&input.sender_email_address).chain(&input.recipient_email_addresses)
    {
        assert!(address.chars().all(|c| c.is_ascii_graphic()), "{address:?}");
    }
    let stored = serde_json::to_string(&input).unwrap();
    assert!(stored.len() <= MAX_STORED_BYTES);
    assert_eq!(serde_json::from_str::<RunInput>(&stored).unwrap(), input);
    for warning in warnings {
        assert!(!warning.message.contains(char::is_control));
    }
}

proptest::proptest! {
    #[test]
    fn any_json_is_an_input_or_problems_with_their_paths(raw in hostile::json()) {
        keeps_its_promise(&raw);
    }

    #[test]
    fn any_change_of_an_input_is_an_input_or_problems_with_their_paths(
        raw in hostile::mutated(full()),
    ) {
        keeps_its_promise(&raw);
    }

    #[test]
    fn a_pattern_fits_as_it_is_written(pattern in "[ab*]{0,8}", name in "[ab]{3,8}") {
        let bucket = BucketName::try_from(name.as_str()).unwrap();
        let expected = fits(pattern.as_bytes(), name.as_bytes());
        proptest::prop_assert_eq!(excluded_by(&[pattern], &bucket).is_some(), expected);
    }
}
