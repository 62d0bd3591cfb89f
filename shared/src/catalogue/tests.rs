use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const TABLE: Table<'static> = Table {
    database: "s3insights",
    table: "run_1",
};

fn given(arguments: &Value) -> Given {
    arguments.as_object().cloned().unwrap_or_default()
}

/// The SQL of a query for a run of that moment.
fn sql(query: &Query, arguments: &Arguments) -> String {
    let now = Now::At("2026-01-05T04:00:00.25Z".parse().unwrap());
    query.sql_over(TABLE, now, arguments)
}

/// The names between braces, in their order.
fn placeholders(sql: &str) -> Vec<&str> {
    sql.split('{')
        .skip(1)
        .map(|part| part.split_once('}').expect("a placeholder ends").0)
        .collect()
}

#[test]
fn ids_are_unique_and_equal_the_file_names() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
    let on_disk: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let embedded: BTreeSet<String> = FILES.iter().map(|(_, id, _)| format!("{id}.sql")).collect();
    assert_eq!(embedded, on_disk);
    assert_eq!(embedded.len(), FILES.len());
    for ((_, file, _), query) in FILES.iter().zip(all()) {
        assert_eq!(*file, query.id);
        assert_eq!(find(file), Some(query));
    }
    assert_eq!(find("nothing"), None);
}

#[test]
fn headers_are_complete_sentences() {
    for query in all() {
        let of_parameters = query.parameters.iter().map(|parameter| parameter.tells);
        for sentence in [query.tells, query.action].into_iter().chain(of_parameters) {
            assert!(
                sentence.ends_with('.') && sentence.len() > 20,
                "{}: {sentence}",
                query.id
            );
        }
        assert!(
            !query.title.is_empty() && !query.title.ends_with('.'),
            "{}",
            query.id
        );
    }
}

#[test]
fn queries_of_one_topic_stand_together() {
    let mut topics: Vec<Topic> = all().iter().map(|query| query.topic).collect();
    topics.dedup();
    assert_eq!(topics, Topic::ALL);
}

#[test]
fn the_sql_is_one_read_only_statement_over_the_table() {
    for Query { id, sql, .. } in all() {
        assert!(
            sql.starts_with("SELECT ") || sql.starts_with("WITH "),
            "{id}"
        );
        assert!(sql.contains(TABLE_PLACEHOLDER), "{id}");
        assert!(!sql.contains([';', '\t']), "{id}");
        assert!(!sql.contains("--"), "{id}: comments belong into the header");
        // The embedded Athena takes such a text for a file.
        assert!(!sql.contains("s3://"), "{id}");
    }
}

#[test]
fn placeholders_and_parameters_are_the_same() {
    for query in all() {
        let used: BTreeSet<&str> = placeholders(query.sql)
            .into_iter()
            .filter(|name| !["ATHENA_TABLE", "NOW"].contains(name))
            .collect();
        let declared: BTreeSet<&str> = query.parameters.iter().map(|known| known.name).collect();
        assert_eq!(used, declared, "{}", query.id);
        assert_eq!(declared.len(), query.parameters.len(), "{}", query.id);
        // Where each kind of argument stands decides what it may hold.
        for parameter in &query.parameters {
            let place = format!("{{{}}}", parameter.name);
            let (all, quoted) = (
                query.sql.matches(&place).count(),
                query.sql.matches(&format!("'{place}'")).count(),
            );
            let expected = match parameter.kind {
                Kind::Days | Kind::Bucket => all,
                Kind::Bytes | Kind::Table => 0,
            };
            assert_eq!(quoted, expected, "{}: {place}", query.id);
        }
    }
}

#[test]
fn functions_are_those_that_athena_and_duckdb_share() {
    let known = BTreeSet::from([
        "cast",
        "chr",
        "coalesce",
        "count",
        "date_trunc",
        "lower",
        "max",
        "min",
        "nullif",
        "replace",
        "sum",
        "trim",
        "upper",
    ]);
    let keywords = BTreeSet::from(["and", "as", "in", "from", "or", "over", "where"]);
    for Query { id, sql, .. } in all() {
        let outside_quotes: String = sql.split('\'').step_by(2).collect();
        for (at, _) in outside_quotes.match_indices('(') {
            let before = outside_quotes[..at].trim_end();
            let name = before
                .rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .next()
                .unwrap_or_default()
                .to_lowercase();
            let is_known = name.is_empty()
                || known.contains(name.as_str())
                || keywords.contains(name.as_str());
            assert!(is_known, "{id} calls `{name}`");
        }
        let words = outside_quotes.replace("\"key\"", "");
        let mut words = words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        assert!(
            !words.any(|word| word == "key"),
            "{id}: quote the column `key`"
        );
    }
}

#[test]
fn current_objects_are_counted_as_the_header_says() {
    for Query {
        id, sql, counts, ..
    } in all()
    {
        let words = sql.split_whitespace().collect::<Vec<_>>().join(" ");
        let filters = words
            .matches("coalesce(is_latest, TRUE) AND NOT coalesce(is_delete_marker, FALSE)")
            .count();
        let expected = match counts {
            Counts::CurrentObjects => sql.matches(TABLE_PLACEHOLDER).count(),
            Counts::AllVersions => 0,
        };
        assert_eq!(filters, expected, "{id}");
    }
}

#[test]
fn the_table_is_spliced_in_quoted() {
    assert_eq!(TABLE.to_string(), r#""s3insights"."run_1""#);
    let odd = Table {
        database: r#"a"b"#,
        table: "t",
    };
    assert_eq!(odd.to_string(), r#""a""b"."t""#);
    assert_eq!(
        resolve("SELECT 1 FROM {ATHENA_TABLE} JOIN {ATHENA_TABLE}", TABLE),
        r#"SELECT 1 FROM "s3insights"."run_1" JOIN "s3insights"."run_1""#
    );
    assert_eq!(resolve("SELECT 1 {NOW}", TABLE), "SELECT 1 {NOW}");
}

#[test]
fn ages_are_relative_to_the_start_of_the_run_or_to_the_time_of_the_query() {
    let query = find("stale-buckets").unwrap();
    let started = "TIMESTAMP '2026-01-05 04:00:00' - INTERVAL '365' DAY";
    assert!(sql(query, &query.defaults()).contains(started));
    let saved = query.sql_over(TABLE, Now::WhenRun, &query.defaults());
    assert!(saved.contains("CAST(current_timestamp AS timestamp) - INTERVAL '365' DAY"));
}

#[test]
fn every_default_is_put_in() {
    for query in all() {
        let sql = sql(query, &query.defaults());
        assert!(!sql.contains(['{', '}']), "{}: {sql}", query.id);
        assert_eq!(query.title_with(&query.defaults()), query.title);
        for parameter in &query.parameters {
            let named = given(&json!({ parameter.name: parameter.default_json() }));
            assert_eq!(query.arguments(&named).unwrap(), query.defaults());
        }
    }
}

#[test]
fn arguments_are_told_in_the_title_unless_they_are_the_default() {
    for (id, arguments, title) in [
        ("stale-buckets", json!({"days": 365}), "Stale buckets"),
        (
            "stale-buckets",
            json!({"days": 30}),
            "Stale buckets (days = 30)",
        ),
        (
            "backup-comparison",
            json!({"backup": "vault", "bucket": "photos"}),
            "Backups that differ (bucket = photos, backup = vault)",
        ),
        (
            "known-bad-hashes",
            json!({"table": "lists.malware"}),
            "Known bad content (table = lists.malware)",
        ),
    ] {
        let query = find(id).unwrap();
        let arguments = query.arguments(&given(&arguments)).unwrap();
        assert_eq!(query.title_with(&arguments), title);
    }
}

#[test]
fn a_table_is_of_the_runs_database_unless_it_names_another() {
    let query = find("known-bad-hashes").unwrap();
    for (table, expected) in [
        ("malware", r#"FROM "s3insights"."malware""#),
        ("lists.malware", r#"FROM "lists"."malware""#),
    ] {
        let arguments = query.arguments(&given(&json!({ "table": table }))).unwrap();
        assert!(sql(query, &arguments).contains(expected), "{table}");
    }
}

#[test]
fn everything_wrong_with_arguments_is_told() {
    let query = find("stale-buckets").unwrap();
    let problems = query.arguments(&given(&json!({"days": 0, "weeks": 3})));
    assert_eq!(
        problems.unwrap_err(),
        [
            (
                "weeks".to_owned(),
                "unknown parameter; stale-buckets has days".to_owned()
            ),
            (
                "days".to_owned(),
                "must be a whole number of days from 1 to 36500, found 0".to_owned()
            ),
        ]
    );
    let none = find("secrets")
        .unwrap()
        .arguments(&given(&json!({"days": 1})));
    assert_eq!(
        none.unwrap_err()[0].1,
        "the query secrets has no parameters"
    );
    for (id, name, refused) in [
        ("stale-buckets", "days", json!(36_501)),
        ("stale-buckets", "days", json!(1.5)),
        ("stale-buckets", "days", json!(-1)),
        ("stale-buckets", "days", json!("30")),
        (
            "large-objects",
            "size",
            json!(9_223_372_036_854_775_808_u64),
        ),
        ("large-objects", "size", json!(1e3)),
        ("backup-comparison", "bucket", json!("a'b")),
        ("backup-comparison", "bucket", json!("ab")),
        ("backup-comparison", "bucket", json!(["photos"])),
        ("known-bad-hashes", "table", json!("")),
        ("known-bad-hashes", "table", json!("a.b.c")),
        ("known-bad-hashes", "table", json!("A")),
        ("known-bad-hashes", "table", json!("a..b")),
        ("known-bad-hashes", "table", json!("a\"b")),
    ] {
        let query = find(id).unwrap();
        let problems = query.arguments(&given(&json!({ name: refused })));
        assert_eq!(problems.unwrap_err().len(), 1, "{id}: {refused}");
    }
    for (id, accepted) in [
        ("stale-buckets", json!({"days": 36_500})),
        ("large-objects", json!({"size": i64::MAX})),
        ("large-objects", json!({"size": 0})),
        ("large-objects", json!({"size": null})),
        (
            "backup-comparison",
            json!({"bucket": "", "backup": "My_Old.Bucket"}),
        ),
    ] {
        find(id).unwrap().arguments(&given(&accepted)).unwrap();
    }
}

#[test]
fn a_header_that_is_not_right_is_named() {
    let begun = "-- id: x\n-- title: t\n-- tells: y\n-- do: z\n-- severity: low\n";
    let parse = |text: String| parse(Topic::Cost, text.leak());
    assert_eq!(
        parse("-- id: x\n-- tells: y\nSELECT 1".to_owned()).unwrap_err(),
        "expected a line `-- title: …`, found `-- tells: y`"
    );
    let dire = begun.replace("low", "dire");
    for (text, is_right) in [
        (format!("{dire}-- counts: all versions\n"), false),
        (format!("{begun}-- counts: all\n"), false),
        (format!("{begun}-- counts: all versions\n"), true),
    ] {
        assert_eq!(parse(text.clone()).is_ok(), is_right, "{text}");
    }
    for (parameter, is_right) in [
        ("days (days, 7): Days.", true),
        ("size (bytes, 0): Bytes.", true),
        ("bucket (bucket, \"\"): A bucket.", true),
        ("table (table, lists.bad): A table.", true),
        ("days (days): Days.", false),
        ("days (days, 0): Days.", false),
        ("days (weeks, 7): Weeks.", false),
        ("two words (days, 7): Days.", false),
        ("table (table, \"\"): A table.", false),
    ] {
        let text = format!("{begun}-- counts: all versions\n-- parameter: {parameter}\nSELECT 1");
        let parsed = parse(text);
        assert_eq!(parsed.is_ok(), is_right, "{parameter}: {parsed:?}");
    }
}

/// Tokens of SQL: texts in either quotes, numbers, words and signs, of which only words and signs
/// are told apart. An argument that stays in its place leaves them as they are.
fn tokens(sql: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = sql.chars().peekable();
    while let Some(first) = rest.next() {
        match first {
            ' ' | '\n' => {}
            '\'' | '"' => {
                while rest.next().is_some_and(|c| c != first) {}
                found.push(format!("{first}{first}"));
            }
            c if c.is_ascii_digit() => {
                while rest.next_if(char::is_ascii_digit).is_some() {}
                found.push("0".to_owned());
            }
            c if c.is_alphabetic() || c == '_' => {
                let mut word = String::from(c);
                while let Some(c) = rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    word.push(c);
                }
                found.push(word);
            }
            sign => found.push(sign.to_string()),
        }
    }
    found
}

/// Texts that try to be more than an argument, and such that are fine.
fn arguments() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<String>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (1..40_000_u64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9._-]{0,12}".prop_map(Value::from),
        "[a-z][a-z0-9_]{0,8}([.][a-z][a-z0-9_]{0,8})?".prop_map(Value::from),
        "[a-z'\"{}\\\\;./ _-]{0,9}".prop_map(Value::from),
        "[a-z]{3}(' OR '1' = '1|\"; DROP|--|/\\*|[{]NOW[}]|\n|\u{0}|ʼ|ａ)".prop_map(Value::from),
    ]
}

proptest! {
    #[test]
    fn no_argument_that_passes_the_check_breaks_out_of_its_place(value in arguments()) {
        for query in all() {
            let expected = tokens(&sql(query, &query.defaults()));
            for parameter in &query.parameters {
                let arguments = given(&json!({ parameter.name: value }));
                if let Ok(arguments) = query.arguments(&arguments) {
                    let sql = sql(query, &arguments);
                    prop_assert_eq!(tokens(&sql), expected.clone(), "{}", sql);
                }
            }
        }
    }

    #[test]
    fn every_public_grant_is_seen_wherever_it_stands_in_the_list(
        group in prop_oneof![Just("AllUsers"), Just("AuthenticatedUsers"), Just("LogDelivery")],
        owner in "[0-9a-f]{0,64}",
        before in 0..4_usize,
        after in 0..3_usize,
        is_escaped in any::<bool>(),
    ) {
        let owner = json!({"canonicalId": owner, "type": "CanonicalUser", "permission": "FULL_CONTROL"});
        let uri = format!("http://acs.amazonaws.com/groups/global/{group}");
        let mut grants = vec![owner.clone(); before];
        grants.push(json!({"uri": uri, "type": "Group", "permission": "READ"}));
        grants.extend(vec![owner; after]);
        let list = json!({"version": "2022-11-10", "status": "AVAILABLE", "grants": grants});
        let mut text = list.to_string();
        if is_escaped {
            text = text.replace('/', "\\/");
        }
        let encoded = STANDARD.encode(text);
        let (everybody, with_account) = public_grant_patterns();
        let is_like = |patterns: &[&str]| patterns.iter().any(|part| encoded.contains(part));
        prop_assert_eq!(is_like(&everybody), group == "AllUsers");
        prop_assert_eq!(is_like(&with_account), group == "AuthenticatedUsers");
    }
}

/// What `public-grants` looks for, for either group of users: `LIKE '%…%'` without the signs.
fn public_grant_patterns() -> (Vec<&'static str>, Vec<&'static str>) {
    let sql = find("public-grants").unwrap().sql;
    let patterns = |sql: &'static str| -> Vec<&'static str> {
        let parts = sql.split("LIKE '%").skip(1);
        parts.map(|part| part.split_once("%'").unwrap().0).collect()
    };
    let (everybody, with_account) = sql.split_once("THEN 'AllUsers'").unwrap();
    (patterns(everybody), patterns(with_account))
}

#[test]
fn every_alignment_of_a_public_grant_has_a_pattern_of_its_own() {
    let (everybody, with_account) = public_grant_patterns();
    for (group, patterns) in [
        ("AllUsers", everybody),
        ("AuthenticatedUsers", with_account),
    ] {
        for (alignment, pattern) in patterns.iter().enumerate() {
            let text = format!("{}{group}\"}}", "/".repeat(alignment));
            assert!(
                STANDARD.encode(text).contains(pattern),
                "{group}, {alignment}"
            );
        }
        assert_eq!(patterns.len(), 3);
    }
}
