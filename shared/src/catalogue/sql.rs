//! SQL with its placeholders put in.

use std::fmt;

use jiff::Timestamp;

use super::{Arguments, Kind, Query};

/// What stands for the snapshot table in the SQL of a query.
pub const TABLE_PLACEHOLDER: &str = "{ATHENA_TABLE}";

/// What a query takes for the present, to which ages are relative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Now {
    /// This instant, to the second: the query finds the same whenever it is run again.
    At(Timestamp),
    /// The time at which the query is run.
    WhenRun,
}

impl fmt::Display for Now {
    /// As SQL has it, without a time zone like the timestamps of the table; both are UTC.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(instant) => {
                let second = instant.strftime("%Y-%m-%d %H:%M:%S");
                write!(formatter, "TIMESTAMP '{second}'")
            }
            Self::WhenRun => formatter.write_str("CAST(current_timestamp AS timestamp)"),
        }
    }
}

/// A table as SQL names it: `"database"."table"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table<'a> {
    /// Its database.
    pub database: &'a str,
    /// Its name.
    pub table: &'a str,
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        write!(
            formatter,
            "{}.{}",
            quoted(self.database),
            quoted(self.table)
        )
    }
}

/// The SQL of a user: every [`TABLE_PLACEHOLDER`] replaced by the table.
///
/// Text is replaced wherever it stands, also in comments and quotes, as the predecessor did.
pub fn resolve(sql_template: &str, table: Table<'_>) -> String {
    sql_template.replace(TABLE_PLACEHOLDER, &table.to_string())
}

impl Query {
    /// The SQL to run over a snapshot table.
    ///
    /// `arguments` are those of this query, see [`Query::arguments`].
    pub fn sql_over(&self, table: Table<'_>, now: Now, arguments: &Arguments) -> String {
        let value = |placeholder: &str| match placeholder {
            "ATHENA_TABLE" => table.to_string(),
            "NOW" => now.to_string(),
            name => self
                .parameters
                .iter()
                .zip(arguments.texts())
                .find(|(parameter, _)| parameter.name == name)
                .map(|(parameter, text)| put_in(parameter.kind, text, table.database))
                .expect("a placeholder of a query is one of its parameters, as a test makes sure"),
        };
        let mut parts = self.sql.split('{');
        let mut sql = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (placeholder, text) = part
                .split_once('}')
                .expect("a placeholder of a query ends, as a test makes sure");
            sql.push_str(&value(placeholder));
            sql.push_str(text);
        }
        sql
    }
}

/// An argument as it stands in the SQL: numbers and bucket names as they are, tables quoted.
fn put_in(kind: Kind, text: &str, database: &str) -> String {
    match kind {
        Kind::Days | Kind::Bytes | Kind::Bucket => text.to_owned(),
        Kind::Table => {
            let (database, table) = text.split_once('.').unwrap_or((database, text));
            Table { database, table }.to_string()
        }
    }
}
