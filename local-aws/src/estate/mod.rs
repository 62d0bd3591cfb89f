//! Estates: accounts full of buckets, described in a YAML file, and made in the embedded AWS.
//!
//! [`BUILT_IN`] is an example with everything in it. A misspelt or unknown field is an error that
//! says where it stands.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::inventory::Faults;

mod build;

pub use build::{Built, build};

/// The built-in estate, as YAML.
pub const BUILT_IN: &str = include_str!("../builtin-estate.yaml");

/// Stands for the host account's id in an estate file.
const HOST: &str = "host";

/// Accounts with their buckets, and the run over them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estate {
    /// The accounts, each once.
    pub accounts: Vec<Account>,
    /// What the run input says beyond the accounts.
    #[serde(default)]
    pub input: Input,
}

/// One account.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// 12 digits, or `host` for the host account.
    pub id: String,
    /// The external id its member role asks for.
    pub external_id: Option<String>,
    /// Whether it gets the member role. One without is in the run all the same, and out of reach.
    #[serde(default = "yes")]
    pub member: bool,
    /// Its buckets.
    #[serde(default)]
    pub buckets: Vec<Bucket>,
}

/// One bucket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Name, unlike any other in the estate.
    pub name: String,
    /// Region.
    #[serde(default = "default_region")]
    pub region: String,
    /// Whether it keeps old versions.
    #[serde(default)]
    pub versioning: bool,
    /// Bucket policy.
    pub policy: Option<Policy>,
    /// What is in it.
    #[serde(default)]
    pub objects: Vec<Objects>,
    /// How S3 and its inventory misbehave for it.
    #[serde(default)]
    pub faults: Faults,
    /// Where it must stand after the run; where its content decides when absent.
    pub expect: Option<Expectation>,
}

/// A bucket policy: named refusals, or a document.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Actions refused to everybody.
    #[serde(default)]
    pub deny: Vec<String>,
    /// The whole policy.
    pub document: Option<Value>,
}

/// One object, or many of a kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objects {
    /// Key of one object.
    pub key: Option<String>,
    /// Keys of several objects.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Key of `count` objects, with `{n}` or `{n:06}` for the number.
    pub pattern: Option<String>,
    /// How many objects have a key of `pattern`.
    pub count: Option<u32>,
    /// Makes the key so many bytes long, with `x` at its end.
    pub key_length: Option<usize>,
    /// Bytes.
    #[serde(default = "default_size")]
    pub size: usize,
    /// Storage class as S3 spells it.
    #[serde(default = "default_storage_class")]
    pub storage_class: String,
    /// Encryption as the inventory spells it.
    #[serde(default)]
    pub encryption: Encryption,
    /// Older versions of each object (in a versioned bucket).
    #[serde(default)]
    pub noncurrent: u32,
    /// Ends with a delete marker (in a versioned bucket).
    #[serde(default)]
    pub delete_marker: bool,
}

/// How an object is encrypted. The embedded S3 knows no `DSSE-KMS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Encryption {
    /// By S3's own key, as S3 does by default.
    #[default]
    #[serde(rename = "SSE-S3")]
    S3,
    /// By a key in KMS.
    #[serde(rename = "SSE-KMS")]
    Kms,
    /// By a key of the customer's.
    #[serde(rename = "SSE-C")]
    Customer,
    /// Not at all, as objects from before 2023 may be.
    #[serde(rename = "NOT-SSE")]
    None,
}

/// Where a bucket stands after a run: an inventory status, or not in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expectation {
    /// The inventory configuration was refused.
    InventoryConfigurationNotCreated,
    /// No report came.
    InProgress,
    /// Its rows are in the snapshot.
    Done,
    /// Nothing in it.
    BucketIsEmpty,
    /// It went away.
    BucketNotAvailable,
    /// It can no longer be read.
    BucketAccessLost,
    /// A report came that is not what its manifest says.
    VerificationFailed,
    /// Excluded, or in a Region that the run leaves out.
    LeftOut,
}

impl Expectation {
    /// The name in the run table and in summaries; `left_out` for a bucket that is not in the run.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InventoryConfigurationNotCreated => "inventory_configuration_not_created",
            Self::InProgress => "in_progress",
            Self::Done => "done",
            Self::BucketIsEmpty => "bucket_is_empty",
            Self::BucketNotAvailable => "bucket_not_available",
            Self::BucketAccessLost => "bucket_access_lost",
            Self::VerificationFailed => "verification_failed",
            Self::LeftOut => "left_out",
        }
    }
}

/// What the run input says beyond the accounts.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Input {
    /// Globs of buckets that are left out, by account.
    pub exclude: BTreeMap<String, Vec<String>>,
    /// Regions of the run; all when empty.
    pub supported_regions: Vec<String>,
    /// Queries, as in the run input.
    pub queries: Vec<Value>,
    /// Sender of the summary.
    pub sender: Option<String>,
    /// Recipients of the summary.
    pub recipients: Vec<String>,
    /// Any other field of the run input, as it is.
    pub other: serde_json::Map<String, Value>,
}

fn yes() -> bool {
    true
}

fn default_region() -> String {
    crate::REGION.to_owned()
}

fn default_size() -> usize {
    200
}

fn default_storage_class() -> String {
    "STANDARD".to_owned()
}

impl Estate {
    /// The built-in estate.
    pub fn built_in() -> Result<Self> {
        Self::parse(BUILT_IN).context("the built-in estate")
    }

    /// Reads an estate file.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("the estate {}", path.display()))
    }

    /// Reads an estate; the error says where in the file something is wrong.
    pub fn parse(yaml: &str) -> Result<Self> {
        let estate: Self =
            serde_path_to_error::deserialize(serde_yaml_ng::Deserializer::from_str(yaml))
                .map_err(|error| anyhow::anyhow!("{}: {}", error.path(), error.inner()))?;
        estate.check()?;
        Ok(estate)
    }

    fn check(&self) -> Result<()> {
        let mut accounts = std::collections::BTreeSet::new();
        let mut names = std::collections::BTreeSet::new();
        for (number, account) in self.accounts.iter().enumerate() {
            let at = format!("accounts[{number}]");
            let is_id =
                account.id.len() == 12 && account.id.bytes().all(|byte| byte.is_ascii_digit());
            ensure!(
                is_id || account.id == HOST,
                "{at}.id: {} is neither 12 digits nor `host`",
                account.id
            );
            ensure!(
                accounts.insert(&account.id),
                "{at}.id: {} is there twice",
                account.id
            );
            for (number, bucket) in account.buckets.iter().enumerate() {
                let at = format!("{at}.buckets[{number}]");
                ensure!(
                    names.insert(&bucket.name),
                    "{at}.name: {} is there twice",
                    bucket.name
                );
                bucket.check(&at)?;
            }
        }
        self.external_id().map(|_| ())
    }

    /// Puts the host account's id where the estate says `host`.
    #[must_use]
    pub fn in_host_account(mut self, host_account_id: &str) -> Self {
        for account in &mut self.accounts {
            if account.id == HOST {
                host_account_id.clone_into(&mut account.id);
            }
        }
        if let Some(globs) = self.input.exclude.remove(HOST) {
            self.input.exclude.insert(host_account_id.to_owned(), globs);
        }
        self
    }

    /// The external id the platform has to be deployed with. It presents the same one to every
    /// account, so there can be only one.
    pub fn external_id(&self) -> Result<Option<&str>> {
        let mut ids: Vec<&str> = self
            .accounts
            .iter()
            .filter_map(|account| account.external_id.as_deref())
            .collect();
        ids.dedup();
        if ids.len() > 1 {
            bail!(
                "accounts: the external ids {} differ, and the platform has one",
                ids.join(" and ")
            );
        }
        Ok(ids.first().copied())
    }

    /// All buckets, with their accounts.
    pub fn buckets(&self) -> impl Iterator<Item = (&Account, &Bucket)> {
        self.accounts
            .iter()
            .flat_map(|account| account.buckets.iter().map(move |bucket| (account, bucket)))
    }

    /// Objects in all buckets, every version and delete marker counted.
    pub fn object_count(&self) -> usize {
        self.buckets()
            .map(|(_, bucket)| bucket.version_count())
            .sum()
    }

    /// Sender and recipients of the summary.
    pub fn email_addresses(&self) -> Vec<String> {
        let sender = self
            .input
            .sender
            .clone()
            .unwrap_or_else(|| "s3insights@example.com".to_owned());
        let mut addresses = vec![sender];
        if self.input.recipients.is_empty() {
            addresses.push("security@example.com".to_owned());
        }
        addresses.extend(self.input.recipients.clone());
        addresses
    }

    /// The input of a run over the estate.
    pub fn run_input(&self, host_account_id: &str) -> Value {
        let estate = self.clone().in_host_account(host_account_id);
        let account = |account: &Account| {
            let mut entry = json!({"id": account.id});
            if let Some(globs) = estate.input.exclude.get(&account.id) {
                entry["exclude"] = json!(globs);
            }
            entry
        };
        let addresses = estate.email_addresses();
        let mut input = json!({
            "accounts": estate.accounts.iter().map(account).collect::<Vec<_>>(),
            "sender_email_address": addresses[0],
            "recipient_email_addresses": addresses[1..],
        });
        if !estate.input.supported_regions.is_empty() {
            input["supported_regions"] = json!(estate.input.supported_regions);
        }
        if !estate.input.queries.is_empty() {
            input["athena_queries"] = json!(estate.input.queries);
        }
        for (field, value) in &estate.input.other {
            input[field] = value.clone();
        }
        input
    }
}

impl Bucket {
    /// What a run must find, by the estate's word or by what is in the bucket.
    pub fn expectation(&self) -> Expectation {
        self.expect.unwrap_or(if self.version_count() == 0 {
            Expectation::BucketIsEmpty
        } else {
            Expectation::Done
        })
    }

    /// Versions and delete markers in the bucket.
    pub fn version_count(&self) -> usize {
        self.objects.iter().map(Objects::version_count).sum()
    }

    fn check(&self, at: &str) -> Result<()> {
        let mut keys = std::collections::BTreeSet::new();
        for (number, objects) in self.objects.iter().enumerate() {
            let at = format!("{at}.objects[{number}]");
            objects.check(&at)?;
            ensure!(
                self.versioning || (objects.noncurrent == 0 && !objects.delete_marker),
                "{at}: only a bucket with versioning has noncurrent versions and delete markers"
            );
            for key in objects.all_keys() {
                ensure!(
                    !key.is_empty() && key.len() <= 1024,
                    "{at}: a key of {} bytes (1 to 1,024)",
                    key.len()
                );
                ensure!(
                    keys.insert(key.clone()),
                    "{at}: the key {key:?} is there twice"
                );
            }
        }
        if let Some(policy) = &self.policy {
            ensure!(
                policy.deny.is_empty() != policy.document.is_none(),
                "{at}.policy: give either `deny` or `document`"
            );
        }
        Ok(())
    }
}

impl Objects {
    fn check(&self, at: &str) -> Result<()> {
        let ways = [
            self.key.is_some(),
            !self.keys.is_empty(),
            self.pattern.is_some(),
        ];
        ensure!(
            ways.iter().filter(|way| **way).count() == 1,
            "{at}: give one of `key`, `keys` and `pattern`"
        );
        ensure!(
            self.pattern.is_some() == self.count.is_some(),
            "{at}: `pattern` and `count` go together"
        );
        if let Some(pattern) = &self.pattern {
            ensure!(
                number_place(pattern).is_some(),
                "{at}.pattern: {pattern:?} has no place for the number, as {{n:06}}"
            );
        }
        Ok(())
    }

    fn version_count(&self) -> usize {
        let each = 1 + self.noncurrent as usize + usize::from(self.delete_marker);
        self.all_keys().len() * each
    }

    /// The keys, as S3 gets them.
    pub fn all_keys(&self) -> Vec<String> {
        let pad = |key: &String| match self.key_length {
            Some(length) => format!("{key}{}", "x".repeat(length.saturating_sub(key.len()))),
            None => key.clone(),
        };
        if let (Some(pattern), Some(count)) = (&self.pattern, self.count) {
            let Some((start, end, width)) = number_place(pattern) else {
                return Vec::new();
            };
            let numbered =
                (0..count).map(|n| format!("{}{n:0width$}{}", &pattern[..start], &pattern[end..]));
            return numbered.map(|key| pad(&key)).collect();
        }
        self.key.iter().chain(&self.keys).map(pad).collect()
    }
}

/// Where `{n}` or `{n:06}` stands in a pattern, and its width.
fn number_place(pattern: &str) -> Option<(usize, usize, usize)> {
    let start = pattern.find("{n")?;
    let end = start + pattern[start..].find('}')? + 1;
    let width = match &pattern[start + 2..end - 1] {
        "" => 0,
        width => width.strip_prefix(':')?.parse().ok()?,
    };
    Some((start, end, width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_estate_has_everything_a_run_must_cope_with() {
        let estate = Estate::built_in().unwrap();
        let buckets: Vec<&Bucket> = estate.buckets().map(|(_, bucket)| bucket).collect();
        let regions: std::collections::BTreeSet<&str> = buckets
            .iter()
            .map(|bucket| bucket.region.as_str())
            .collect();
        let expectations: std::collections::BTreeSet<Expectation> =
            buckets.iter().map(|bucket| bucket.expectation()).collect();
        assert!(estate.accounts.len() >= 3);
        assert!(regions.len() >= 4);
        assert!(buckets.len() >= 16);
        assert!(estate.object_count() >= 6_000, "{}", estate.object_count());
        assert!(estate.external_id().unwrap().is_some());
        for expected in [
            Expectation::Done,
            Expectation::BucketIsEmpty,
            Expectation::InventoryConfigurationNotCreated,
            Expectation::BucketNotAvailable,
            Expectation::LeftOut,
        ] {
            assert!(expectations.contains(&expected), "{expected:?}");
        }
        assert!(
            buckets
                .iter()
                .any(|bucket| bucket.version_count() >= 3_000
                    && bucket.faults.rows_per_file.is_some())
        );
        let keys: Vec<String> = buckets
            .iter()
            .flat_map(|bucket| bucket.objects.iter().flat_map(Objects::all_keys))
            .collect();
        for part in [" ", "+", "%", "'", "\"", ",", "\n", "ö", "<script>"] {
            assert!(
                keys.iter().any(|key| key.contains(part)),
                "no key has {part:?}"
            );
        }
        assert!(keys.iter().any(|key| key.starts_with('=')));
        assert!(keys.iter().any(|key| key.len() == 1024));
    }

    #[test]
    fn the_run_input_names_the_accounts_and_what_they_leave_out() {
        let estate = Estate::parse(
            "accounts: [{id: host, buckets: []}, {id: '222222222222'}]\n\
             input: {exclude: {host: ['tmp-*']}, supported_regions: [us-east-1], other: {run_id: r1}}",
        )
        .unwrap();
        assert_eq!(
            estate.run_input("111111111111"),
            json!({"accounts": [{"id": "111111111111", "exclude": ["tmp-*"]}, {"id": "222222222222"}],
                "sender_email_address": "s3insights@example.com",
                "recipient_email_addresses": ["security@example.com"],
                "supported_regions": ["us-east-1"], "run_id": "r1"})
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let bucket =
            |fields: &str| format!("accounts: [{{id: host, buckets: [{{name: a, {fields}}}]}}]");
        let cases = [
            ("accounts: [{id: '123'}]".to_owned(), "accounts[0].id"),
            ("accounts: [{id: host}, {id: host}]".to_owned(), "twice"),
            (
                "accounts: [{id: host, colour: red}]".to_owned(),
                "unknown field `colour`",
            ),
            (bucket("faults: {holdd: true}"), "unknown field `holdd`"),
            (bucket("expect: finished"), "accounts[0].buckets[0].expect"),
            (
                bucket("objects: [{size: 3}]"),
                "buckets[0].objects[0]: give one of",
            ),
            (bucket("objects: [{pattern: 'a{n}'}]"), "go together"),
            (
                bucket("objects: [{pattern: a, count: 2}]"),
                "no place for the number",
            ),
            (bucket("objects: [{key: a, noncurrent: 1}]"), "versioning"),
            (
                bucket("objects: [{key: a}, {keys: [a]}]"),
                "\"a\" is there twice",
            ),
            (bucket("policy: {}"), "policy"),
        ];
        for (yaml, part) in cases {
            let error = Estate::parse(&yaml).unwrap_err().to_string();
            assert!(error.contains(part), "{yaml}: {error}");
        }
        let two = "accounts: [{id: host, external_id: a}, {id: '222222222222', external_id: b}]";
        assert!(
            Estate::parse(two)
                .unwrap_err()
                .to_string()
                .contains("a and b")
        );
    }

    #[test]
    fn patterns_number_their_keys() {
        let estate = Estate::parse(
            "accounts: [{id: host, buckets: [{name: b, objects: [{pattern: 'l/{n:03}.gz', count: 2}, {key: k, key_length: 4}]}]}]",
        )
        .unwrap();
        let bucket = &estate.accounts[0].buckets[0];
        let keys: Vec<String> = bucket.objects.iter().flat_map(Objects::all_keys).collect();
        assert_eq!(keys, ["l/000.gz", "l/001.gz", "kxxx"]);
    }
}
