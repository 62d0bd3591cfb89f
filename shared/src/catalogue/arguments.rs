//! Parameters of queries, and the arguments given for them: checked once, so that what is put into
//! SQL is a number, a bucket name or a table name and nothing else.

use serde_json::{Map, Value};

use crate::ids::BucketName;
use crate::input::is_identifier;

/// Arguments as a run input has them: by name, not checked.
pub type Given = Map<String, Value>;

/// Most days that may be asked for, a hundred years: SQL reckons with them.
const MAX_DAYS: u64 = 36_500;

/// What may be given for a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number of days.
    Days,
    /// A number of bytes.
    Bytes,
    /// A bucket by its name, or empty for none in particular.
    Bucket,
    /// A table of the run's database, or of the database that is named before a dot.
    Table,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Days, Self::Bytes, Self::Bucket, Self::Table];

    /// The spelling in a query's header, and for readers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Days => "days",
            Self::Bytes => "bytes",
            Self::Bucket => "bucket",
            Self::Table => "table",
        }
    }

    /// What is accepted.
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Days => "a whole number of days from 1 to 36500",
            Self::Bytes => "a whole number of bytes from 0 to 9223372036854775807",
            Self::Bucket => {
                "a bucket name (3 to 255 of letters, digits, '.', '-', '_') or an empty text"
            }
            Self::Table => {
                "a table or database.table, each of 1 to 255 of a-z, 0-9 and _, the first a letter"
            }
        }
    }

    /// The argument as a text, or `None` if it is not [`expected`](Self::expected).
    fn check(self, value: &Value) -> Option<String> {
        let number = |from: u64, to: u64| {
            let number = value.as_u64()?;
            (from..=to).contains(&number).then(|| number.to_string())
        };
        match self {
            Self::Days => number(1, MAX_DAYS),
            Self::Bytes => number(0, i64::MAX.unsigned_abs()),
            Self::Bucket => {
                let text = value.as_str()?;
                let is_bucket = text.is_empty() || BucketName::try_from(text).is_ok();
                is_bucket.then(|| text.to_owned())
            }
            Self::Table => {
                let text = value.as_str()?;
                let is_table = text.split('.').count() <= 2 && text.split('.').all(is_identifier);
                is_table.then(|| text.to_owned())
            }
        }
    }
}

/// What may be asked of a query otherwise than by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in a run input, and `{name}` in the SQL.
    pub name: &'static str,
    /// What may be given for it.
    pub kind: Kind,
    /// What is taken when nothing is given, as a text.
    pub default: String,
    /// What it is, as a sentence.
    pub tells: &'static str,
}

impl Parameter {
    /// Reads what follows `-- parameter: ` in a header: `<name> (<kind>, <default>): <sentence>`.
    pub(super) fn parse(line: &'static str) -> Result<Self, String> {
        let malformed = || format!("`{line}` is not `<name> (<kind>, <default>): <sentence>`");
        let (declaration, tells) = line.split_once("): ").ok_or_else(malformed)?;
        let (name, rest) = declaration.split_once(" (").ok_or_else(malformed)?;
        let (kind, default) = rest.split_once(", ").ok_or_else(malformed)?;
        let kind = Kind::ALL
            .into_iter()
            .find(|known| known.as_str() == kind)
            .ok_or_else(|| format!("`{kind}` is no kind of parameter"))?;
        if !is_identifier(name) {
            return Err(malformed());
        }
        // As JSON has it: a number, a text in quotes, or for short the name of a table.
        let value = serde_json::from_str(default).unwrap_or_else(|_| Value::from(default));
        let default = kind
            .check(&value)
            .ok_or_else(|| format!("the default {default} of {name} is not {}", kind.expected()))?;
        Ok(Self {
            name,
            kind,
            default,
            tells,
        })
    }

    /// The default as it would stand in a run input.
    pub fn default_json(&self) -> Value {
        match self.kind {
            Kind::Days | Kind::Bytes => serde_json::from_str(&self.default).unwrap_or_default(),
            Kind::Bucket | Kind::Table => Value::from(self.default.as_str()),
        }
    }
}

/// Checked arguments for all parameters of one query, defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments(Vec<String>);

impl Arguments {
    /// The arguments as texts, in the order of the query's parameters.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl super::Query {
    /// The defaults.
    pub fn defaults(&self) -> Arguments {
        let defaults = self.parameters.iter();
        Arguments(
            defaults
                .map(|parameter| parameter.default.clone())
                .collect(),
        )
    }

    /// Checks what is given and fills in the rest. `null` is the same as nothing.
    ///
    /// # Errors
    /// Everything that is wrong: the name given, and what would be accepted.
    pub fn arguments(&self, given: &Given) -> Result<Arguments, Vec<(String, String)>> {
        let mut problems = Vec::new();
        for name in given.keys() {
            if self.parameter(name).is_none() {
                let names: Vec<&str> = self.parameters.iter().map(|known| known.name).collect();
                let accepted = if names.is_empty() {
                    format!("the query {} has no parameters", self.id)
                } else {
                    format!("unknown parameter; {} has {}", self.id, names.join(", "))
                };
                problems.push((name.clone(), accepted));
            }
        }
        let mut arguments = Vec::new();
        for parameter in &self.parameters {
            match given.get(parameter.name) {
                None | Some(Value::Null) => arguments.push(parameter.default.clone()),
                Some(value) => match parameter.kind.check(value) {
                    Some(argument) => arguments.push(argument),
                    None => problems.push((
                        parameter.name.to_owned(),
                        format!("must be {}, found {value}", parameter.kind.expected()),
                    )),
                },
            }
        }
        if problems.is_empty() {
            Ok(Arguments(arguments))
        } else {
            Err(problems)
        }
    }
}
