//! The catalogue: queries that come with the platform and can be named in a run input.
//!
//! Each is a file `queries/<id>.sql` whose first lines are a header of comments:
//!
//! | Line | Holds |
//! |---|---|
//! | `-- id: …` | [`Query::id`], the name of the file |
//! | `-- title: …` | [`Query::title`] |
//! | `-- tells: …` | [`Query::tells`] |
//! | `-- do: …` | [`Query::action`] |
//! | `-- severity: …` | [`Severity`] |
//! | `-- counts: …` | [`Counts`] |
//! | `-- parameter: <name> (<kind>, <default>): …` | a [`Parameter`]; any number of such lines |
//!
//! The SQL keeps to what Athena and DuckDB both run, since the embedded AWS answers queries with
//! DuckDB. Its placeholders are put in by [`Query::sql_over`].

mod arguments;
mod sql;

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

pub use self::arguments::{Arguments, Given, Kind, Parameter};
pub use self::sql::{Now, TABLE_PLACEHOLDER, Table, resolve};

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

/// What a query is for; readers find the queries of one purpose together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Things that should not be where they are.
    Exposure,
    /// Encryption, copies, locks, owners.
    Protection,
    /// Bytes that need not be paid for.
    Cost,
    /// What there is.
    Overview,
}

impl Topic {
    /// All topics in the order of [`all`].
    pub const ALL: [Self; 4] = [Self::Exposure, Self::Protection, Self::Cost, Self::Overview];

    /// Its heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Exposure => "What should not be there",
            Self::Protection => "What is not protected",
            Self::Cost => "What costs more than it must",
            Self::Overview => "What there is",
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
    /// What it is for.
    pub topic: Topic,
    /// What may be asked for otherwise than by default.
    pub parameters: Vec<Parameter>,
    /// The SQL with its placeholders, without header and final semicolon.
    pub sql: &'static str,
}

/// All queries, in the order in which they are shown.
pub fn all() -> &'static [Query] {
    static QUERIES: LazyLock<Vec<Query>> = LazyLock::new(|| {
        FILES
            .iter()
            .map(|(topic, id, text)| {
                parse(*topic, text).unwrap_or_else(|problem| panic!("queries/{id}.sql: {problem}"))
            })
            .collect()
    });
    &QUERIES
}

/// The query of that id, or `None` if the catalogue has none.
pub fn find(id: &str) -> Option<&'static Query> {
    all().iter().find(|query| query.id == id)
}

impl Query {
    /// The parameter of that name, or `None` if it has none.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters
            .iter()
            .find(|parameter| parameter.name == name)
    }

    /// What the summary calls it when it is asked with these arguments: those that are not the
    /// default belong to its title.
    pub fn title_with(&self, arguments: &Arguments) -> String {
        let asked: Vec<String> = self
            .parameters
            .iter()
            .zip(arguments.texts())
            .filter(|(parameter, text)| *text != parameter.default)
            .map(|(parameter, text)| format!("{} = {text}", parameter.name))
            .collect();
        if asked.is_empty() {
            self.title.to_owned()
        } else {
            format!("{} ({})", self.title, asked.join(", "))
        }
    }
}

macro_rules! files {
    ($($topic:ident: $($id:literal),+;)+) => {
        &[$($((Topic::$topic, $id, include_str!(concat!("../queries/", $id, ".sql"))),)+)+]
    };
}

const FILES: &[(Topic, &str, &str)] = files![
    Exposure:
        "secrets",
        "terraform-state",
        "public-grants",
        "public-website-content",
        "known-bad-hashes",
        "database-dumps",
        "banned-content",
        "executables",
        "source-code",
        "office-documents";
    Protection:
        "unencrypted-objects",
        "encryption-by-bucket",
        "not-replicated",
        "backup-comparison",
        "object-lock-coverage",
        "object-owners",
        "expiring-objects";
    Cost:
        "noncurrent-versions",
        "storage-class-by-age",
        "duplicates",
        "large-objects",
        "stale-buckets",
        "stale-prefixes",
        "small-infrequent-access";
    Overview:
        "storage-by-bucket",
        "objects-by-month",
        "ages",
        "sizes",
        "extensions";
];

fn parse(topic: Topic, text: &'static str) -> Result<Query, String> {
    let mut lines = Lines(text);
    let id = lines.header("id")?;
    let title = lines.header("title")?;
    let tells = lines.header("tells")?;
    let action = lines.header("do")?;
    let severity = lines.header("severity")?;
    let severity = Severity::ALL
        .into_iter()
        .find(|known| known.as_str() == severity)
        .ok_or_else(|| format!("severity is none of high, medium, low, info: {severity}"))?;
    let counts = match lines.header("counts")? {
        "current objects" => Counts::CurrentObjects,
        "all versions" => Counts::AllVersions,
        other => {
            return Err(format!(
                "counts neither current objects nor all versions: {other}"
            ));
        }
    };
    let mut parameters = Vec::new();
    while lines.0.starts_with("-- parameter: ") {
        parameters.push(Parameter::parse(lines.header("parameter")?)?);
    }
    Ok(Query {
        id,
        title,
        tells,
        action,
        severity,
        counts,
        topic,
        parameters,
        sql: lines.0.trim().trim_end_matches(';'),
    })
}

/// What is left of a file.
struct Lines(&'static str);

impl Lines {
    /// The value of the next line, which has to be this one of the header.
    fn header(&mut self, name: &str) -> Result<&'static str, String> {
        let (line, after) = self.0.split_once('\n').unwrap_or((self.0, ""));
        let value = line
            .strip_prefix("-- ")
            .and_then(|line| line.strip_prefix(name))
            .and_then(|line| line.strip_prefix(": "))
            .ok_or_else(|| format!("expected a line `-- {name}: …`, found `{line}`"))?;
        self.0 = after;
        Ok(value.trim())
    }
}

#[cfg(test)]
mod tests;
