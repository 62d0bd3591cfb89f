//! Every query is asked over rows of `tests/queries/<id>.yaml`, and has to answer what that file says:
//! as it is, with the rows in another order, and as it comes out of a translation from Athena's SQL to
//! DuckDB's. What both dialects make of it is what Athena can be expected to make of it.
//!
//! A row has only the columns that matter; the rest is that of a small object written shortly before the
//! run, and what derives from the key is derived. A table besides the snapshot has texts only.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use shared::catalogue::{self, Given, Now, Query, Table};
use shared::derived::Derived;
use shared::snapshot_schema::{AthenaType, COLUMNS, PARTITION_COLUMNS};

/// The snapshot of every question.
const SNAPSHOT: Table<'static> = Table {
    database: "s3insights",
    table: "snapshot",
};
/// When the run of every question started.
const STARTED: &str = "2026-01-05T04:00:00Z";

/// What `tests/queries/<id>.yaml` holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    /// Rows of the snapshot.
    rows: Vec<Map<String, Value>>,
    /// Other tables by name, with their rows.
    #[serde(default)]
    tables: BTreeMap<String, Vec<Map<String, Value>>>,
    /// What is asked, and what the answer is.
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    #[serde(default)]
    parameters: Given,
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

fn example(query: &Query) -> Example {
    let path = format!("{}/queries/{}.yaml", env!("CARGO_MANIFEST_DIR"), query.id);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Columns of the snapshot with their types in DuckDB.
fn columns() -> Vec<(&'static str, &'static str)> {
    let kind = |athena_type| match athena_type {
        AthenaType::String => "VARCHAR",
        AthenaType::Boolean => "BOOLEAN",
        AthenaType::Bigint => "BIGINT",
        AthenaType::Timestamp => "TIMESTAMP",
    };
    let partitions = PARTITION_COLUMNS.map(|name| (name, "VARCHAR"));
    let columns = COLUMNS.map(|column| (column.name, kind(column.athena_type)));
    columns.into_iter().chain(partitions).collect()
}

/// A row of the snapshot with the columns that the example leaves out.
fn whole_row(id: &str, given: &Map<String, Value>) -> Vec<Value> {
    let key = given["key"].as_str().expect("a key is a text");
    let derived = Derived::of(key);
    let mut row = json!({
        "version_id": "",
        "is_latest": true,
        "is_delete_marker": false,
        "last_modified_date": "2026-01-01 00:00:00",
        "extension": derived.extension,
        "top_prefix": derived.top_prefix,
        "category": derived.category.as_str(),
        "account": "111111111111",
        "region": "us-east-1",
        "bucketname": "photos",
    });
    // Delete markers have none of it.
    if given.get("is_delete_marker") != Some(&json!(true)) {
        row["size"] = json!(100);
        row["e_tag"] = json!("d41d8cd98f00b204e9800998ecf8427e");
        row["storage_class"] = json!("STANDARD");
        row["encryption_status"] = json!("SSE-S3");
    }
    let known: BTreeSet<&str> = columns().into_iter().map(|(name, _)| name).collect();
    for (name, value) in given {
        assert!(known.contains(name.as_str()), "{id}: there is no {name}");
        row[name] = value.clone();
    }
    row["bucket"] = row["bucketname"].clone();
    let columns = columns().into_iter();
    columns.map(|(name, _)| row[name].clone()).collect()
}

/// A table as `answer.py` takes it.
fn other_table(name: &str, rows: &[Map<String, Value>]) -> Value {
    let (database, table) = name.split_once('.').unwrap_or((SNAPSHOT.database, name));
    let names: Vec<&String> = rows[0].keys().collect();
    let columns: Vec<[&str; 2]> = names
        .iter()
        .map(|name| [name.as_str(), "VARCHAR"])
        .collect();
    let rows: Vec<Vec<&Value>> = rows
        .iter()
        .map(|row| names.iter().map(|name| &row[name.as_str()]).collect())
        .collect();
    json!({"database": database, "table": table, "columns": columns, "rows": rows})
}

fn question(query: &Query, example: &Example, answer: &Answer) -> Value {
    let arguments = query
        .arguments(&answer.parameters)
        .unwrap_or_else(|problems| panic!("{}: {problems:?}", query.id));
    let now = Now::At(STARTED.parse().expect("an instant"));
    let rows: Vec<Vec<Value>> = example
        .rows
        .iter()
        .map(|row| whole_row(query.id, row))
        .collect();
    let mut tables = vec![json!({
        "database": SNAPSHOT.database,
        "table": SNAPSHOT.table,
        "columns": columns(),
        "rows": rows,
    })];
    for (name, rows) in &example.tables {
        tables.push(other_table(name, rows));
    }
    json!({"sql": query.sql_over(SNAPSHOT, now, &arguments), "tables": tables})
}

/// Asks everything at once.
fn ask(questions: &[Value]) -> Vec<Value> {
    let python = local_aws::python(|step| eprintln!("{step}")).expect("there is a Python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/catalogue/answer.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut input = child.stdin.take().expect("its input is a pipe");
    let text = serde_json::to_vec(questions).expect("questions are JSON");
    let writer = std::thread::spawn(move || input.write_all(&text));
    let output = child.wait_with_output().expect("Python ends");
    writer
        .join()
        .expect("the writer does not panic")
        .expect("Python reads all questions");
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_slice(&output.stdout).expect("answers are JSON")
}

#[test]
fn every_query_answers_what_was_found_by_hand() {
    let mut questions = Vec::new();
    let mut expected = Vec::new();
    for query in catalogue::all() {
        let example = example(query);
        assert!(!example.answers.is_empty(), "{}", query.id);
        assert!(
            example.answers[0].parameters.is_empty() && !example.answers[0].rows.is_empty(),
            "{}: first what it finds by default",
            query.id
        );
        for answer in &example.answers {
            questions.push(question(query, &example, answer));
            let columns_and_rows = json!({"columns": answer.columns, "rows": answer.rows});
            expected.push((query.id, answer.parameters.clone(), columns_and_rows));
        }
    }
    let answers = ask(&questions);
    assert_eq!(answers.len(), expected.len());
    for (answer, (id, parameters, expected)) in answers.iter().zip(&expected) {
        assert!(answer.get("error").is_none(), "{id}: {}", answer["error"]);
        for way in ["as_it_is", "rows_reversed", "translated"] {
            assert_eq!(answer[way], *expected, "{id} {parameters:?}, {way}");
        }
    }
}

#[test]
fn every_example_is_of_a_query_and_has_what_is_odd() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
    for entry in std::fs::read_dir(folder).expect("there are examples") {
        let path = entry.expect("the folder can be read").path();
        let id = path.file_stem().and_then(|stem| stem.to_str());
        let query = id.and_then(catalogue::find);
        let query = query.unwrap_or_else(|| panic!("{} is of no query", path.display()));
        let rows = example(query).rows;
        let has = |name: &str, value: Value| rows.iter().any(|row| row.get(name) == Some(&value));
        assert!(
            has("is_latest", json!(false)),
            "{id:?}: no noncurrent version"
        );
        assert!(
            has("is_delete_marker", json!(true)),
            "{id:?}: no delete marker"
        );
        assert!(
            has("is_latest", Value::Null),
            "{id:?}: nothing of a report of current versions"
        );
    }
}

/// The saved queries take the time at which they are run for the present, which answers would change
/// with; so it is only seen that they are answered.
#[test]
fn every_query_is_answered_at_the_time_of_asking() {
    let questions: Vec<Value> = catalogue::all()
        .iter()
        .map(|query| {
            let example = example(query);
            let mut question = question(query, &example, &example.answers[0]);
            let sql = query.sql_over(SNAPSHOT, Now::WhenRun, &query.defaults());
            question["sql"] = json!(sql);
            question
        })
        .collect();
    for (answer, query) in ask(&questions).iter().zip(catalogue::all()) {
        assert!(
            answer.get("error").is_none(),
            "{}: {}",
            query.id,
            answer["error"]
        );
    }
}
