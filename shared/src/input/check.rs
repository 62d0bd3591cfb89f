//! Checking a run input as it came: every problem in one answer, each with its field path.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{
    AccountInput, DEFAULT_DATABASE, DEFAULT_INVENTORY_TIMEOUT_MINUTES,
    DEFAULT_SMOKE_TEST_TIMEOUT_MINUTES, DEFAULT_STATUS_REFRESH_MINUTES, ExistingInventory,
    QueryInput, RunInput,
};
use crate::catalogue::{self, Given, TABLE_PLACEHOLDER, Table};
use crate::foreign_text::{cut, excerpt, visible};
use crate::ids::{AccountId, BucketName, Region, RunId};
use crate::manifest::ManifestUri;

/// SES takes at most 50 recipients in one message.
const MAX_RECIPIENTS: usize = 50;
/// Athena's limit on the text of a query, in bytes.
const MAX_QUERY_BYTES: usize = 262_144;
const MAX_QUERIES: usize = 200;
/// Most bytes of an input with its defaults, as it is stored. Step Functions starts nothing with more than
/// 262,144 and a record ends at 409,600, of which warnings and what may become of the run need a part.
pub const MAX_STORED_BYTES: usize = 286_720;
/// Most bytes of the path of a problem, which may be a name from the input.
const MAX_PATH_BYTES: usize = 200;
/// Most bytes of what is wrong with one field.
const MAX_PROBLEM_BYTES: usize = 2_000;
/// Most bytes of an answer with all problems.
const MAX_ANSWER_BYTES: usize = 9_000;

/// Every field that a run input may have.
pub const FIELDS: &[&str] = &[
    "run_id",
    "accounts",
    "athena_database_name",
    "athena_table_name",
    "is_smoke_test",
    "athena_queries",
    "sender_email_address",
    "recipient_email_addresses",
    "supported_regions",
    "existing_inventories",
    "inventory_timeout_minutes",
    "status_refresh_minutes",
];

/// What the check needs to know of the world.
#[derive(Debug, Clone)]
pub struct Surroundings<'a> {
    /// Regions enabled in the host account.
    pub enabled_regions: &'a [Region],
    /// Identifies the execution that was started with this input.
    pub execution_arn: &'a str,
    /// When that execution started.
    pub started_at: Timestamp,
}

/// Something wrong, or doubtful, with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field, such as `accounts[1].id`.
    pub path: String,
    /// What is wrong with it and what is accepted.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

/// All problems as one message, a line each. Of very many the last are only counted: a state machine
/// takes a message of limited length.
pub fn describe(problems: &[Problem]) -> String {
    let mut answer = format!("the run input has {} problem(s):", problems.len());
    for (told, problem) in problems.iter().enumerate() {
        let line = format!("\n- {problem}");
        if answer.len() + line.len() > MAX_ANSWER_BYTES {
            let _ = write!(answer, "\n- and {} more", problems.len() - told);
            break;
        }
        answer.push_str(&line);
    }
    answer
}

/// A run input that passed, and what the summary should warn of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The input with its defaults.
    pub input: RunInput,
    /// Doubtful, yet accepted.
    pub warnings: Vec<Problem>,
}

/// Checks a run input as it came. Whether the table exists is not known here; `initialize` adds
/// that.
///
/// # Errors
/// Every problem found, in the order of the fields.
pub fn check(raw: &Value, surroundings: &Surroundings<'_>) -> Result<Checked, Vec<Problem>> {
    let mut check = Check::default();
    let Value::Object(fields) = raw else {
        check.problem(
            "input",
            format!("must be a JSON object, found {}", kind(raw)),
        );
        return Err(check.problems);
    };
    for name in fields
        .keys()
        .filter(|name| !FIELDS.contains(&name.as_str()))
    {
        check.problem(
            name,
            format!("unknown field; accepted are {}", FIELDS.join(", ")),
        );
    }

    let run_id = match check.text(fields, "run_id") {
        Some(text) => check.parse::<RunId>("run_id", &text),
        None => Some(derived_run_id(surroundings)),
    };
    let accounts = check.accounts(fields.get("accounts"));
    let database = check
        .identifier(fields, "athena_database_name")
        .unwrap_or_else(|| DEFAULT_DATABASE.to_owned());
    let table = check.identifier(fields, "athena_table_name").or_else(|| {
        let run_id = run_id.as_ref()?;
        Some(format!("inventory_{run_id}"))
    });
    let is_smoke_test = check.flag(fields, "is_smoke_test");
    let snapshot = Table {
        database: &database,
        table: table.as_deref().unwrap_or_default(),
    };
    let queries = check.queries(fields.get("athena_queries"), snapshot);
    let sender = check.sender(fields);
    let recipients = check.recipients(fields.get("recipient_email_addresses"));
    let regions = check.regions(
        fields.get("supported_regions"),
        surroundings.enabled_regions,
    );
    let existing = check.existing_inventories(fields.get("existing_inventories"), is_smoke_test);
    let default_timeout = if is_smoke_test {
        DEFAULT_SMOKE_TEST_TIMEOUT_MINUTES
    } else {
        DEFAULT_INVENTORY_TIMEOUT_MINUTES
    };
    let timeout = check.minutes(fields, "inventory_timeout_minutes", default_timeout, 20_160);
    let refresh = check.minutes(
        fields,
        "status_refresh_minutes",
        DEFAULT_STATUS_REFRESH_MINUTES,
        1_440,
    );

    let (Some(run_id), Some(table), true) = (run_id, table, check.problems.is_empty()) else {
        return Err(check.problems);
    };
    let input = RunInput {
        run_id,
        accounts,
        athena_database_name: database,
        athena_table_name: table,
        is_smoke_test,
        athena_queries: queries,
        sender_email_address: sender,
        recipient_email_addresses: recipients,
        supported_regions: regions,
        existing_inventories: existing,
        inventory_timeout_minutes: timeout,
        status_refresh_minutes: refresh,
    };
    let stored = serde_json::to_string(&input).map_or(usize::MAX, |text| text.len());
    if stored > MAX_STORED_BYTES {
        check.problem(
            "input",
            format!(
                "has {stored} bytes with its defaults; at most {MAX_STORED_BYTES} are accepted, \
                 which is some 12,000 accounts: make it several runs"
            ),
        );
        return Err(check.problems);
    }
    Ok(Checked {
        input,
        warnings: check.warnings,
    })
}

/// A run id from the start of the execution to the second, and four digits of a hash of the
/// execution so that two of the same second differ. A repeated attempt derives the same.
fn derived_run_id(surroundings: &Surroundings<'_>) -> RunId {
    let hash = Sha256::digest(surroundings.execution_arn.as_bytes());
    let second = surroundings.started_at.strftime("%y%m%d%H%M%S");
    RunId::try_from(format!("{second}{:02x}{:02x}", hash[0], hash[1]))
        .expect("twelve digits and four hexadecimal digits keep the rules of a run id")
}

/// A value as JSON for a message: as [`excerpt`] does with texts.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => excerpt(text),
        other => cut(visible(&other.to_string()), 200),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[derive(Default)]
struct Check {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Check {
    fn problem(&mut self, path: &str, message: impl Into<String>) {
        self.problems.push(Problem {
            path: cut(visible(path), MAX_PATH_BYTES),
            message: cut(visible(&message.into()), MAX_PROBLEM_BYTES),
        });
    }

    /// A text field; `None` when it is left out or null.
    fn text(&mut self, fields: &Map<String, Value>, name: &str) -> Option<String> {
        match fields.get(name)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => {
                self.problem(name, format!("must be a text, found {}", kind(other)));
                None
            }
        }
    }

    fn parse<T>(&mut self, path: &str, text: &str) -> Option<T>
    where
        T: for<'a> TryFrom<&'a str, Error = crate::ids::InvalidId>,
    {
        T::try_from(text)
            .map_err(|invalid| self.problem(path, invalid.to_string()))
            .ok()
    }

    fn flag(&mut self, fields: &Map<String, Value>, name: &str) -> bool {
        match fields.get(name) {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                self.problem(
                    name,
                    format!("must be true or false, found {}", kind(other)),
                );
                false
            }
        }
    }

    fn minutes(&mut self, fields: &Map<String, Value>, name: &str, default: u32, most: u32) -> u32 {
        let given = match fields.get(name) {
            None | Some(Value::Null) => return default,
            Some(given) => given,
        };
        match given
            .as_u64()
            .and_then(|minutes| u32::try_from(minutes).ok())
        {
            Some(minutes) if (1..=most).contains(&minutes) => minutes,
            _ => {
                self.problem(
                    name,
                    format!("{} is not a whole number from 1 to {most}", shown(given)),
                );
                default
            }
        }
    }

    /// The elements of a list; a missing, null or wrong list has none.
    fn list<'a>(&mut self, value: Option<&'a Value>, path: &str) -> &'a [Value] {
        match value {
            None | Some(Value::Null) => &[],
            Some(Value::Array(elements)) => elements,
            Some(other) => {
                self.problem(path, format!("must be a list, found {}", kind(other)));
                &[]
            }
        }
    }

    fn accounts(&mut self, value: Option<&Value>) -> Vec<AccountInput> {
        let elements = self.list(value, "accounts");
        if elements.is_empty() && !matches!(value, Some(other) if !other.is_array()) {
            self.problem("accounts", "must name at least one account");
        }
        let mut accounts: Vec<AccountInput> = Vec::new();
        // Which element named each account first.
        let mut named: HashMap<AccountId, usize> = HashMap::new();
        for (index, element) in elements.iter().enumerate() {
            let path = format!("accounts[{index}]");
            let Value::Object(fields) = element else {
                self.problem(
                    &path,
                    format!(
                        "must be an object such as {{\"id\": \"123456789012\"}}, found {}",
                        kind(element)
                    ),
                );
                continue;
            };
            for name in fields
                .keys()
                .filter(|name| !["id", "exclude"].contains(&name.as_str()))
            {
                self.problem(
                    &format!("{path}.{name}"),
                    "unknown field; accepted are id, exclude",
                );
            }
            let exclude = self.exclusions(fields.get("exclude"), &format!("{path}.exclude"));
            let id_path = format!("{path}.id");
            let id = match fields.get("id") {
                Some(Value::String(text)) => self.parse::<AccountId>(&id_path, text),
                Some(Value::Number(number)) => {
                    self.problem(
                        &id_path,
                        format!(
                            "must be a text: put quotes around {number}, or leading zeros are lost"
                        ),
                    );
                    None
                }
                _ => {
                    self.problem(&id_path, format!("must be {}", AccountId::EXPECTED));
                    None
                }
            };
            if let Some(id) = id {
                match named.entry(id.clone()) {
                    Entry::Occupied(first) => self.problem(
                        &id_path,
                        format!("{id} is already named by accounts[{}].id", first.get()),
                    ),
                    Entry::Vacant(first) => {
                        first.insert(index);
                    }
                }
                accounts.push(AccountInput { id, exclude });
            }
        }
        accounts
    }

    fn exclusions(&mut self, value: Option<&Value>, path: &str) -> Vec<String> {
        let mut patterns = Vec::new();
        for (index, element) in self.list(value, path).iter().enumerate() {
            let path = format!("{path}[{index}]");
            match element {
                Value::String(pattern) if is_bucket_pattern(pattern) => {
                    patterns.push(pattern.clone());
                }
                Value::String(pattern) => self.problem(
                    &path,
                    format!(
                        "{} is not {}, in which * may stand for any text",
                        excerpt(pattern),
                        BucketName::EXPECTED
                    ),
                ),
                other => self.problem(&path, format!("must be a text, found {}", kind(other))),
            }
        }
        patterns
    }

    /// A database or table name.
    fn identifier(&mut self, fields: &Map<String, Value>, name: &str) -> Option<String> {
        let text = self.text(fields, name)?;
        if is_identifier(&text) {
            return Some(text);
        }
        self.problem(
            name,
            format!(
                "{} is not a name: 1 to 255 of a-z, 0-9 and _, the first a letter",
                excerpt(&text)
            ),
        );
        None
    }

    fn queries(&mut self, value: Option<&Value>, snapshot: Table<'_>) -> Vec<QueryInput> {
        let elements = self.list(value, "athena_queries");
        if elements.len() > MAX_QUERIES {
            self.problem(
                "athena_queries",
                format!(
                    "{} queries; at most {MAX_QUERIES} are accepted",
                    elements.len()
                ),
            );
            return Vec::new();
        }
        let mut queries = Vec::new();
        for (index, element) in elements.iter().enumerate() {
            queries.extend(self.query(element, &format!("athena_queries[{index}]"), snapshot));
        }
        queries
    }

    fn query(&mut self, element: &Value, path: &str, snapshot: Table<'_>) -> Option<QueryInput> {
        const SHAPES: &str = "{\"name\": …, \"query\": …} or {\"catalog\": …, \"parameters\": {…}}";
        let Value::Object(fields) = element else {
            self.problem(path, format!("must be {SHAPES}, found {}", kind(element)));
            return None;
        };
        for name in fields
            .keys()
            .filter(|name| !["name", "query", "catalog", "parameters"].contains(&name.as_str()))
        {
            self.problem(
                &format!("{path}.{name}"),
                format!("unknown field; a query is {SHAPES}"),
            );
        }
        if let Some(catalog) = fields.get("catalog") {
            if fields.contains_key("query") {
                self.problem(
                    path,
                    format!("has both catalog and query; a query is {SHAPES}"),
                );
            }
            let mut parameters = self.parameters(fields.get("parameters"), path);
            let Some(query) = catalog.as_str().and_then(catalogue::find) else {
                let known: Vec<&str> = catalogue::all().iter().map(|query| query.id).collect();
                self.problem(
                    &format!("{path}.catalog"),
                    format!(
                        "{} is not in the catalogue, which has {}",
                        shown(catalog),
                        known.join(", ")
                    ),
                );
                return None;
            };
            for (name, message) in query.arguments(&parameters).err().unwrap_or_default() {
                self.problem(&format!("{path}.parameters.{name}"), message);
            }
            parameters.retain(|_, value| !value.is_null());
            return Some(QueryInput::Catalog {
                catalog: query.id.to_owned(),
                parameters,
            });
        }
        if fields
            .get("parameters")
            .is_some_and(|value| !value.is_null())
        {
            self.problem(
                &format!("{path}.parameters"),
                "is for a query of the catalogue; SQL of your own has its values in it",
            );
        }
        let mut part = |name: &str| match fields.get(name) {
            Some(Value::String(text)) if !text.trim().is_empty() => Some(text.clone()),
            _ => {
                self.problem(
                    &format!("{path}.{name}"),
                    format!("must be a text; a query is {SHAPES}"),
                );
                None
            }
        };
        let (name, query) = (part("name"), part("query"));
        let (name, query) = (name?, query?);
        if name.chars().count() > 200 {
            self.problem(&format!("{path}.name"), "must have at most 200 characters");
        }
        let bytes = catalogue::resolve(&query, snapshot).len();
        if bytes > MAX_QUERY_BYTES {
            self.problem(
                &format!("{path}.query"),
                format!(
                    "has {bytes} bytes with the table's name put in; Athena takes at most \
                     {MAX_QUERY_BYTES}"
                ),
            );
        }
        if !query.contains(TABLE_PLACEHOLDER) {
            self.warnings.push(Problem {
                path: format!("{path}.query"),
                message: format!(
                    "does not hold {TABLE_PLACEHOLDER}, so it does not read this run's snapshot"
                ),
            });
        }
        Some(QueryInput::Sql { name, query })
    }

    /// Arguments of a query of the catalogue, not checked yet.
    fn parameters(&mut self, value: Option<&Value>, query: &str) -> Given {
        match value {
            None | Some(Value::Null) => Given::new(),
            Some(Value::Object(given)) => given.clone(),
            Some(other) => {
                self.problem(
                    &format!("{query}.parameters"),
                    format!(
                        "must be an object such as {{\"days\": 30}}, found {}",
                        kind(other)
                    ),
                );
                Given::new()
            }
        }
    }

    fn sender(&mut self, fields: &Map<String, Value>) -> String {
        let name = "sender_email_address";
        match fields.get(name) {
            Some(Value::String(address)) if is_email_address(address) => return address.clone(),
            Some(Value::String(address)) => {
                self.problem(name, not_an_address(&excerpt(address)));
            }
            None | Some(Value::Null) => {
                self.problem(name, "must be the email address the summary is sent from");
            }
            Some(other) => self.problem(name, format!("must be a text, found {}", kind(other))),
        }
        String::new()
    }

    fn recipients(&mut self, value: Option<&Value>) -> Vec<String> {
        let path = "recipient_email_addresses";
        let elements = self.list(value, path);
        if elements.is_empty()
            && !matches!(value, Some(other) if !other.is_array() && !other.is_null())
        {
            self.problem(path, "must name at least one recipient");
        }
        if elements.len() > MAX_RECIPIENTS {
            self.problem(
                path,
                format!(
                    "{} recipients; SES takes at most {MAX_RECIPIENTS}",
                    elements.len()
                ),
            );
        }
        let mut recipients = Vec::new();
        for (index, element) in elements.iter().enumerate() {
            match element {
                Value::String(address) if is_email_address(address) => {
                    recipients.push(address.clone());
                }
                other => self.problem(&format!("{path}[{index}]"), not_an_address(&shown(other))),
            }
        }
        recipients
    }

    fn regions(&mut self, value: Option<&Value>, enabled: &[Region]) -> Option<Vec<Region>> {
        let path = "supported_regions";
        let elements = match value {
            None | Some(Value::Null) => return None,
            given => self.list(given, path),
        };
        if elements.is_empty() && matches!(value, Some(Value::Array(_))) {
            self.problem(
                path,
                "must name at least one Region, or be left out for every Region",
            );
        }
        let mut regions: Vec<Region> = Vec::new();
        for (index, element) in elements.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let region = match element {
                Value::String(text) => self.parse::<Region>(&path, text),
                other => {
                    self.problem(&path, format!("must be a text, found {}", kind(other)));
                    None
                }
            };
            match region {
                Some(region) if !enabled.contains(&region) => {
                    let names: Vec<&str> = enabled.iter().map(Region::as_str).collect();
                    self.problem(
                        &path,
                        format!(
                            "{region} is not a Region enabled in the host account, which has {}",
                            names.join(", ")
                        ),
                    );
                }
                Some(region) if regions.contains(&region) => {}
                Some(region) => regions.push(region),
                None => {}
            }
        }
        Some(regions)
    }

    fn existing_inventories(
        &mut self,
        value: Option<&Value>,
        is_smoke_test: bool,
    ) -> Vec<ExistingInventory> {
        let path = "existing_inventories";
        let elements = self.list(value, path);
        if is_smoke_test && !elements.is_empty() {
            self.problem(
                path,
                "must be left out of a smoke test, which covers no source bucket",
            );
        }
        let mut existing: Vec<ExistingInventory> = Vec::new();
        // Which element named each bucket first: one whose manifest is wrong counts too.
        let mut named: Vec<(BucketName, usize)> = Vec::new();
        for (index, element) in elements.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let Value::Object(fields) = element else {
                self.problem(
                    &path,
                    format!(
                        "must be an object such as {{\"bucket\": …, \"manifest\": \"s3://…\"}}, \
                         found {}",
                        kind(element)
                    ),
                );
                continue;
            };
            for name in fields
                .keys()
                .filter(|name| !["bucket", "manifest"].contains(&name.as_str()))
            {
                self.problem(
                    &format!("{path}.{name}"),
                    "unknown field; accepted are bucket, manifest",
                );
            }
            let bucket_path = format!("{path}.bucket");
            let bucket: Option<BucketName> =
                self.required(fields, "bucket", &path, BucketName::EXPECTED);
            let manifest: Option<ManifestUri> =
                self.required(fields, "manifest", &path, ManifestUri::EXPECTED);
            let Some(bucket) = bucket else { continue };
            if let Some((_, first)) = named.iter().find(|(known, _)| *known == bucket) {
                self.problem(
                    &bucket_path,
                    format!("{bucket} is already named by existing_inventories[{first}].bucket"),
                );
            }
            named.push((bucket.clone(), index));
            existing.extend(manifest.map(|manifest| ExistingInventory { bucket, manifest }));
        }
        existing
    }

    /// A text field of an element that has to be there and keep its rules.
    fn required<T>(
        &mut self,
        fields: &Map<String, Value>,
        name: &str,
        element: &str,
        expected: &str,
    ) -> Option<T>
    where
        T: for<'a> TryFrom<&'a str, Error = crate::ids::InvalidId>,
    {
        let path = format!("{element}.{name}");
        match fields.get(name) {
            Some(Value::String(text)) => self.parse(&path, text),
            None | Some(Value::Null) => {
                self.problem(&path, format!("must be {expected}"));
                None
            }
            Some(other) => {
                self.problem(&path, format!("must be a text, found {}", kind(other)));
                None
            }
        }
    }
}

/// Whether a text may name a database or table. Athena lower-cases names and needs quotes around
/// others; a strict pattern also keeps them from being anything but a name.
pub fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 255
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn is_bucket_pattern(pattern: &str) -> bool {
    !pattern.is_empty()
        && pattern.len() <= 255
        && pattern
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'*'))
}

/// What is wrong with an address, given as it is shown.
fn not_an_address(found: &str) -> String {
    let hint = if found.trim_end_matches('…').is_ascii() {
        ""
    } else {
        " that SES takes: it has to be ASCII, and a domain of other letters in Punycode"
    };
    format!("{found} is not an email address{hint}")
}

/// Whether SES may take it: ASCII, one `@`, a domain with a dot, nothing that could end a header line.
fn is_email_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let plain = |part: &str| {
        part.chars()
            .all(|c| c.is_ascii_graphic() && !"<>()[],;:\\\"@".contains(c))
    };
    (1..=64).contains(&local.len())
        && plain(local)
        && plain(domain)
        && domain.len() <= 255
        && domain.contains('.')
        && domain.split('.').all(|label| !label.is_empty())
}
