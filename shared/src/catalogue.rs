//! The catalogue: queries that come with the platform and can be named in a run input.
//!
//! Each is a file `queries/<id>.sql` whose first lines are a header of comments. The SQL keeps to
//! what Athena and DuckDB both run, since the embedded AWS answers queries with DuckDB.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// What stands for the snapshot table in the SQL of a query.
pub const TABLE_PLACEHOLDER: &str = "{ATHENA_TABLE}";

/// Which rows of the snapshot a query counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// What a reader of the bucket sees: neither noncurrent versions nor delete markers.
    CurrentObjects,
    /// What is stored and paid for: noncurrent versions too.
    AllVersions,
}

impl Counts {
    /// The spelling in a query's header, and for readers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CurrentObjects => "current objects",
            Self::AllVersions => "all versions",
        }
    }
}

/// How bad it is when a query finds something. The worst comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Look at every row today.
    High,
    /// Look at it soon.
    Medium,
    /// Costs money, or may come to matter.
    Low,
    /// Describes the snapshot; finding something is no trouble.
    Info,
}

impl Severity {
    /// All severities, the worst first.
    pub const ALL: [Self; 4] = [Self::High, Self::Medium, Self::Low, Self::Info];

    /// The spelling in a query's header, and for readers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::Info => "info",
        }
    }
}

/// A query of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Name in a run input; lower-case words joined by `-`.
    pub id: &'static str,
    /// Heading in the summary.
    pub title: &'static str,
    /// What the result tells, as a sentence.
    pub tells: &'static str,
    /// What to do about it, as sentences.
    pub action: &'static str,
    /// How bad it is when it finds something.
    pub severity: Severity,
    /// Which rows it counts.
    pub counts: Counts,
    /// The SQL with [`TABLE_PLACEHOLDER`], without header and final semicolon.
    pub sql: &'static str,
}

/// All queries, in the order in which they are shown.
pub fn all() -> &'static [Query] {
    static QUERIES: LazyLock<Vec<Query>> = LazyLock::new(|| {
        FILES
            .iter()
            .map(|(id, text)| {
                parse(text).unwrap_or_else(|problem| panic!("queries/{id}.sql: {problem}"))
            })
            .collect()
    });
    &QUERIES
}

/// The query of that id, or `None` if the catalogue has none.
pub fn find(id: &str) -> Option<&'static Query> {
    all().iter().find(|query| query.id == id)
}

/// The SQL to run: every [`TABLE_PLACEHOLDER`] replaced by `table`, see [`table_reference`].
///
/// Text is replaced wherever it stands, also in comments and quotes, as the predecessor did.
pub fn resolve(sql_template: &str, table: &str) -> String {
    sql_template.replace(TABLE_PLACEHOLDER, table)
}

/// A table as SQL names it: `"database"."table"`.
pub fn table_reference(database: &str, table: &str) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    format!("{}.{}", quoted(database), quoted(table))
}

macro_rules! files {
    ($($id:literal),* $(,)?) => {
        [$(($id, include_str!(concat!("../queries/", $id, ".sql")))),*]
    };
}

const FILES: [(&str, &str); 10] = files![
    "secrets",
    "terraform-state",
    "database-dumps",
    "unencrypted-objects",
    "executables",
    "storage-by-bucket",
    "noncurrent-versions",
    "duplicates",
    "large-objects",
    "not-replicated",
];

fn parse(text: &'static str) -> Result<Query, String> {
    let mut rest = text;
    let mut header = |name: &str| {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let value = line
            .strip_prefix("-- ")
            .and_then(|line| line.strip_prefix(name))
            .and_then(|line| line.strip_prefix(": "))
            .ok_or_else(|| format!("expected a line `-- {name}: …`, found `{line}`"))?;
        rest = after;
        Ok::<_, String>(value.trim())
    };
    let id = header("id")?;
    let title = header("title")?;
    let tells = header("tells")?;
    let action = header("do")?;
    let severity = header("severity")?;
    let severity = Severity::ALL
        .into_iter()
        .find(|known| known.as_str() == severity)
        .ok_or_else(|| format!("severity is none of high, medium, low, info: {severity}"))?;
    let counts = match header("counts")? {
        "current objects" => Counts::CurrentObjects,
        "all versions" => Counts::AllVersions,
        other => {
            return Err(format!(
                "counts neither current objects nor all versions: {other}"
            ));
        }
    };
    Ok(Query {
        id,
        title,
        tells,
        action,
        severity,
        counts,
        sql: rest.trim().trim_end_matches(';'),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::snapshot_schema::{COLUMNS, PARTITION_COLUMNS};

    #[test]
    fn ids_are_unique_and_equal_the_file_names() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
        let on_disk: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let embedded: BTreeSet<String> = FILES.iter().map(|(id, _)| format!("{id}.sql")).collect();
        assert_eq!(embedded, on_disk);
        assert_eq!(embedded.len(), FILES.len());
        for ((file, _), query) in FILES.iter().zip(all()) {
            assert_eq!(*file, query.id);
            assert_eq!(find(file), Some(query));
        }
        assert_eq!(find("nothing"), None);
    }

    #[test]
    fn headers_are_complete_sentences() {
        for query in all() {
            for sentence in [query.tells, query.action] {
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
    fn the_sql_is_one_read_only_statement_over_the_table() {
        for Query { id, sql, .. } in all() {
            assert!(sql.starts_with("SELECT "), "{id}");
            assert_eq!(sql.matches(TABLE_PLACEHOLDER).count(), 1, "{id}");
            assert!(!sql.contains([';', '\t']), "{id}");
            assert!(!sql.contains("--"), "{id}: comments belong into the header");
        }
    }

    #[test]
    fn the_sql_keeps_to_what_athena_and_duckdb_share() {
        // Aliases and functions that the queries use; whatever else is a word must be a column.
        let words: BTreeSet<&str> = "and as asc by case count coalesce desc distinct else end false from group having in is \
            limit max min not null nullif or order select sum then true upper when where athena_table \
            objects bytes newest oldest encryption replication copies buckets first_bucket last_bucket \
            bytes_wasted noncurrent_versions noncurrent_bytes delete_markers object_bytes versions version_bytes"
            .split_whitespace()
            .chain(COLUMNS.iter().map(|column| column.name))
            .chain(PARTITION_COLUMNS)
            .collect();
        for Query { id, sql, .. } in all() {
            let outside_quotes = sql
                .split('\'')
                .step_by(2)
                .collect::<Vec<_>>()
                .join(" ")
                .to_lowercase();
            for word in outside_quotes.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
                let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
                assert!(is_number || words.contains(word), "{id} uses `{word}`");
            }
            assert!(
                !outside_quotes.replace("\"key\"", "").contains("key,"),
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
            let filtered = sql.contains(
                "AND coalesce(is_latest, TRUE)\n  AND NOT coalesce(is_delete_marker, FALSE)\n",
            );
            assert_eq!(filtered, *counts == Counts::CurrentObjects, "{id}");
        }
    }

    #[test]
    fn the_table_is_spliced_in_quoted() {
        let table = table_reference("s3insights", "run_1");
        assert_eq!(table, r#""s3insights"."run_1""#);
        assert_eq!(table_reference(r#"a"b"#, "t"), r#""a""b"."t""#);
        assert_eq!(
            resolve("SELECT 1 FROM {ATHENA_TABLE} JOIN {ATHENA_TABLE}", &table),
            r#"SELECT 1 FROM "s3insights"."run_1" JOIN "s3insights"."run_1""#
        );
        assert_eq!(resolve("SELECT 1", &table), "SELECT 1");
    }

    #[test]
    fn a_header_out_of_order_is_named() {
        assert_eq!(
            parse("-- id: x\n-- tells: y\nSELECT 1").unwrap_err(),
            "expected a line `-- title: …`, found `-- tells: y`"
        );
        for (end, is_sound) in [
            ("-- severity: dire\n-- counts: all versions\n", false),
            ("-- severity: low\n-- counts: all\n", false),
            ("-- severity: low\n-- counts: all versions\n", true),
        ] {
            let text = format!("-- id: x\n-- title: t\n-- tells: y\n-- do: z\n{end}");
            assert_eq!(parse(text.leak()).is_ok(), is_sound, "{end}");
        }
    }
}
