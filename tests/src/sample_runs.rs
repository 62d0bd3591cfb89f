//! Runs that never were, as their records would be: what mails and report pages are tested and
//! shown with. The same sample is the same in every run of a test.

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::ids::{AccountId, BucketName, Region};
use shared::report::Report;
use shared::run::{
    Account, Destination, DestinationState, Failure, LeftOut, Outcome, Query, Run, RunParts,
    SourceBucket, StoredProblem,
};
use shared::sample::Sample;
use shared::status::{InventoryStatus, Reason};
use shared::summary::{Records, Setting, Summary};
use shared::top_prefixes::{self, Collector, TopPrefixes};
use shared::totals::{Breakdown, LargeObject, Month, Tally, Totals};

const REGIONS: [&str; 5] = [
    "us-east-1",
    "eu-west-1",
    "eu-central-1",
    "us-west-2",
    "ap-southeast-2",
];

const GIB: u64 = 1 << 30;

/// What has everything that HTML, JavaScript, CSS, JSON, a template or a terminal could take for
/// its own, and a command that a page must not run: [`HOSTILE_MARK`] would be there if it did.
pub const HOSTILE: &str = "</script><script>globalThis.taken=1</script>\
    <img src=x onerror=globalThis.taken=1><!--<script>\" ' onfocus=globalThis.taken=1 autofocus \
    ]]> {{ 7*7 }} {% raw %} ${7*7} \\u003c &lt;b&gt; \u{2028}\u{2029} \u{202e}gpj.exe \u{1b}[2J\r\n \
    </title></style> 写真 \u{1f5c3}\u{fe0f} e\u{301}";

/// The name of what a script in [`HOSTILE`] would set.
pub const HOSTILE_MARK: &str = "taken";

/// A run and all that is kept of it.
#[derive(Debug, Clone)]
pub struct SampleRun {
    /// What it is a sample of.
    pub name: &'static str,
    /// Its record.
    pub run: Run,
    /// The records of its parts.
    pub parts: RunParts,
    /// Totals of its snapshot.
    pub totals: Option<Totals>,
    /// Top prefixes of its largest buckets.
    pub top_prefixes: Option<TopPrefixes>,
    /// The run before.
    pub earlier: Option<(Run, RunParts)>,
    /// When its records were read, if it goes on.
    pub as_of: Option<Timestamp>,
}

impl SampleRun {
    /// All samples.
    pub fn all() -> Result<Vec<Self>> {
        Ok(vec![
            Self::complete()?,
            Self::partial()?,
            Self::failed()?,
            Self::empty()?,
            Self::smoke()?,
            Self::going_on()?,
            Self::hostile()?,
            Self::large()?,
        ])
    }

    /// Everything is covered.
    pub fn complete() -> Result<Self> {
        let mut parts = estate()?;
        parts.queries = queries()?;
        Ok(Self::published(
            "complete",
            run(&ACCOUNTS, &json!({}))?,
            parts,
        ))
    }

    /// Of everything that can go wrong, something did.
    #[expect(clippy::too_many_lines, reason = "a sample is a list of what is in it")]
    pub fn partial() -> Result<Self> {
        let existing = json!([
            { "bucket": "acme-invoices", "manifest": "s3://acme-reports/acme-invoices/daily/2026-01-04T01-00Z/manifest.json" },
            { "bucket": "acme-old-archive", "manifest": "s3://acme-reports/acme-old-archive/daily/2026-01-04T01-00Z/manifest.json" },
        ]);
        let accounts = [&ACCOUNTS[..], &["555555555555"]].concat();
        let mut run = run(&accounts, &json!({ "existing_inventories": existing }))?;
        run.frozen_at = Some(run.deadline);
        run.warnings = vec![StoredProblem {
            path: "athena_queries[4].query".into(),
            message: "does not hold {ATHENA_TABLE}".into(),
        }];
        let mut parts = estate()?;
        parts.accounts.push(Account {
            account: account("555555555555")?,
            reason: Some(
                Reason::new(
                    "AccessDenied",
                    "User: arn:aws:sts::111111111111:assumed-role/s3insights-discover-buckets/s3insights is not \
                     authorized to perform: sts:AssumeRole on resource: \
                     arn:aws:iam::555555555555:role/s3insights-s3insights-member",
                )
                .needing("sts:AssumeRole"),
            ),
        });
        let faults = [
            (
                "acme-legal-hold",
                InventoryStatus::InventoryConfigurationNotCreated,
                Some(
                    Reason::new(
                        "AccessDenied",
                        "User: arn:aws:sts::222222222222:assumed-role/s3insights-s3insights-member/s3insights is not \
                         authorized to perform: s3:PutInventoryConfiguration on resource: \
                         \"arn:aws:s3:::acme-legal-hold\" with an explicit deny in a resource-based policy",
                    )
                    .needing("s3:PutInventoryConfiguration"),
                ),
            ),
            (
                "acme-short-lived",
                InventoryStatus::BucketNotAvailable,
                Some(Reason::new(
                    "NoSuchBucket",
                    "The specified bucket does not exist",
                )),
            ),
            ("acme-slow-reports", InventoryStatus::InProgress, None),
            (
                "acme-damaged",
                InventoryStatus::VerificationFailed,
                Some(Reason::new(
                    "FileMismatch",
                    "data/0c5e.parquet: the manifest says MD5 091bf11c7daf32c6e9a06db146c2f389, but the file has \
                     a483623fd6cfe2d6b0243f3b29648ae8",
                )),
            ),
        ];
        for (name, status, reason) in faults {
            let mut bucket = bucket("222222222222", "us-west-2", name, status, 0, 0)?;
            bucket.reason = reason;
            parts.buckets.push(bucket);
        }
        for bucket in &mut parts.buckets {
            if bucket.bucket.as_str() == "acme-invoices" {
                bucket.existing_report = run.input.existing_inventory_of(&bucket.bucket).cloned();
            }
        }
        parts.left_out = vec![
            left_out(
                "111111111111",
                "acme-athena-scratch",
                "accounts[].exclude names *-scratch",
            )?,
            left_out(
                "333333333333",
                "acme-singapore-backup",
                "supported_regions does not name ap-southeast-1",
            )?,
        ];
        parts.destinations.push(Destination {
            region: region("ap-south-1")?,
            stack: "s3insights-weekly-ap-south-1".into(),
            state: DestinationState::Failed,
            bucket: None,
            bucket_arn: None,
            reason: Some(Reason::new(
                "StackFailed",
                "Bucket: Resource limit exceeded",
            )),
            seen_empty_at: None,
        });
        parts.queries = queries()?;
        let broken = json!({
            "number": parts.queries.len(), "name": "Owners of old objects", "state": "failed",
            "sql": "SELECT owner, count(*)\nFROM \"s3insights\".\"inventory_weekly\"\nGROUP BY owner",
            "execution_id": "0b1c7a52-9",
            "reason": { "code": "QueryFailed", "message": "COLUMN_NOT_FOUND: line 1:8: Column 'owner' cannot be resolved" },
        });
        parts.queries.push(serde_json::from_value(broken)?);
        let earlier = Some(earlier()?);
        let sample = Self::published("partial", run, parts);
        Ok(Self { earlier, ..sample })
    }

    /// Broke off before there was a snapshot.
    pub fn failed() -> Result<Self> {
        let mut run = run(&ACCOUNTS, &json!({}))?;
        run.failure = Some(Failure {
            error: "Internal".into(),
            cause: json!({ "errorType": "Internal", "errorMessage": "the stack in eu-west-1 has no output DestinationBucketArn" }).to_string(),
        });
        let mut parts = estate()?;
        for bucket in &mut parts.buckets {
            if bucket.status != InventoryStatus::BucketIsEmpty {
                *bucket = SourceBucket::discovered(
                    bucket.account.clone(),
                    bucket.bucket.clone(),
                    bucket.region.clone(),
                );
            }
        }
        Ok(Self::unpublished("failed", run, parts))
    }

    /// No account has a bucket.
    pub fn empty() -> Result<Self> {
        let mut run = run(&ACCOUNTS, &json!({}))?;
        run.input.athena_queries.clear();
        let parts = RunParts {
            accounts: accounts()?,
            ..RunParts::default()
        };
        Ok(Self::published("empty", run, parts))
    }

    /// A smoke test that passed.
    pub fn smoke() -> Result<Self> {
        let mut run = run(&ACCOUNTS, &json!({ "is_smoke_test": true }))?;
        run.input.athena_queries.clear();
        let mut parts = RunParts::default();
        for code in REGIONS {
            let name = format!("smoke-test-{}-{code}", run.run_id);
            let done = InventoryStatus::Done;
            parts
                .buckets
                .push(bucket("111111111111", code, &name, done, 3, 1_024)?);
        }
        Ok(Self::published("smoke", run, parts))
    }

    /// Waits for its reports.
    pub fn going_on() -> Result<Self> {
        let mut parts = estate()?;
        for (number, bucket) in parts.buckets.iter_mut().enumerate() {
            if number % 2 == 0 && bucket.status == InventoryStatus::Done {
                bucket.status = InventoryStatus::InProgress;
            }
        }
        let run = run(&ACCOUNTS, &json!({}))?;
        let as_of = Some(run.started_at + jiff::SignedDuration::from_hours(20));
        let sample = Self::unpublished("going-on", run, parts);
        Ok(Self { as_of, ..sample })
    }

    /// Every text that may come from outside is hostile.
    pub fn hostile() -> Result<Self> {
        let mut sample = Self::partial()?;
        let hostile = || HOSTILE.to_owned();
        let reason = Reason {
            code: hostile(),
            message: hostile(),
            missing_permission: Some(hostile()),
        };
        sample.name = "hostile";
        sample.run.failure = Some(Failure {
            error: hostile(),
            cause: hostile(),
        });
        sample.run.mail_failure = Some(reason.clone());
        sample.run.execution_arn = hostile();
        sample.run.input.athena_database_name = hostile();
        sample.run.input.athena_table_name = hostile();
        sample.run.input.recipient_email_addresses = vec![hostile()];
        sample.run.warnings = vec![StoredProblem {
            path: hostile(),
            message: hostile(),
        }];
        let parts = &mut sample.parts;
        for bucket in &mut parts.buckets {
            if !bucket.status.is_covered() {
                bucket.reason = Some(reason.clone());
            }
        }
        for account in &mut parts.accounts {
            account.reason = Some(reason.clone());
        }
        for destination in &mut parts.destinations {
            destination.reason = Some(reason.clone());
        }
        for bucket in &mut parts.left_out {
            bucket.because = hostile();
        }
        parts.buckets.push(bucket(
            "222222222222",
            "eu-west-1",
            &"longest.name-".repeat(19),
            InventoryStatus::Done,
            10,
            700 * GIB,
        )?);
        let long_key = "k".repeat(1_000);
        for query in &mut parts.queries {
            query.name = hostile();
            query.tells = Some(hostile());
            query.sql = format!("-- {HOSTILE}\nSELECT '\t'");
            query.execution_id = Some(hostile());
            query.result_location = Some(format!("s3://consolidated/{HOSTILE}"));
            query.sample = Some(Sample::of(
                [hostile(), "key".to_owned()],
                [
                    vec![Some(hostile()), Some(long_key.clone())],
                    vec![None, Some(hostile())],
                ],
            ));
            query.rows = Some(2);
        }
        parts.queries[1].reason = Some(reason);
        let whole = Tally {
            objects: 10,
            object_bytes: 1 << 40,
            versions: 10,
            version_bytes: 1 << 40,
        };
        let mut totals = totals(&parts.buckets);
        for breakdown in [
            &mut totals.by_storage_class,
            &mut totals.by_encryption_status,
            &mut totals.by_extension,
        ] {
            breakdown.add(HOSTILE, whole);
            breakdown.add(&"x".repeat(1_024), whole);
        }
        totals.largest_objects.push(LargeObject {
            bucket: hostile(),
            key: hostile(),
            size: 1,
            storage_class: Some(hostile()),
        });
        let mut top_prefixes = top_prefixes(&parts.buckets);
        for bucket in &mut top_prefixes.buckets {
            for (prefix, name) in bucket.prefixes.iter_mut().zip([HOSTILE, &long_key]) {
                name.clone_into(&mut prefix.prefix);
            }
        }
        sample.totals = Some(totals);
        sample.top_prefixes = Some(top_prefixes);
        Ok(sample)
    }

    /// 10,000 buckets in 300 accounts, one of ten not covered, and 40 failed queries.
    pub fn large() -> Result<Self> {
        const ACCOUNTS: u64 = 300;
        const BUCKETS: usize = 10_000;
        let mut random = fastrand::Rng::with_seed(11);
        let ids: Vec<String> = (0..ACCOUNTS)
            .map(|number| format!("{:012}", 100_000_000_007 + number * 2_654_435_761))
            .collect();
        let names: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut run = run(&names, &json!({}))?;
        run.frozen_at = Some(run.deadline);
        run.input.athena_queries.clear();
        let mut parts = RunParts::default();
        for id in &ids {
            parts.accounts.push(Account {
                account: account(id)?,
                reason: None,
            });
        }
        let teams = [
            "logs",
            "backup",
            "media",
            "data-lake",
            "web",
            "billing",
            "ml",
            "audit",
            "build",
            "archive",
        ];
        for number in 0..BUCKETS {
            // A few accounts have most of the buckets, and a few buckets most of the bytes.
            let last = random.usize(..ids.len());
            let owner = ids.get(number).unwrap_or(&ids[random.usize(..=last)]);
            let team = teams[random.usize(..teams.len())];
            let name = format!("corp-{team}-{number:05}");
            let power = random.u32(20..=40);
            let bytes = 1 << random.u32(20..=power + 6);
            let bytes = bytes + random.u64(..bytes);
            let objects = bytes / random.u64(40_000..4_000_000) + 1;
            let code = REGIONS[random.usize(..REGIONS.len())];
            let status = match number % 50 {
                7 | 23 => InventoryStatus::InProgress,
                11 | 37 => InventoryStatus::InventoryConfigurationNotCreated,
                13 => InventoryStatus::BucketAccessLost,
                3 | 29 | 41 => InventoryStatus::BucketIsEmpty,
                _ => InventoryStatus::Done,
            };
            let mut bucket = bucket(owner, code, &name, status, objects, bytes)?;
            bucket.reason = match status {
                InventoryStatus::InventoryConfigurationNotCreated => Some(
                    Reason::new(
                        "AccessDenied",
                        format!(
                            "User: arn:aws:sts::{owner}:assumed-role/s3insights-s3insights-member/s3insights is not authorized to \
                             perform: s3:PutInventoryConfiguration on resource: \"arn:aws:s3:::{name}\" with an explicit deny in \
                             a resource-based policy"
                        ),
                    )
                    .needing("s3:PutInventoryConfiguration"),
                ),
                InventoryStatus::BucketAccessLost => Some(
                    Reason::new("AccessDenied", "Access Denied").needing("s3:ListBucketVersions"),
                ),
                _ => None,
            };
            parts.buckets.push(bucket);
        }
        for number in 0..500 {
            parts.left_out.push(left_out(
                &ids[number % ids.len()],
                &format!("corp-scratch-{number:04}"),
                "accounts[].exclude names *-scratch-*",
            )?);
        }
        parts.queries = queries()?;
        for number in 0..40 {
            let failed = json!({
                "number": parts.queries.len(), "name": format!("Question {number}"), "state": "failed",
                "sql": format!("SELECT bucketname, count(*) AS objects\nFROM \"s3insights\".\"inventory_weekly\"\nWHERE column_{number} = {number}\nGROUP BY bucketname"),
                "execution_id": format!("0b1c7a52-f{number}"),
                "reason": { "code": "QueryFailed", "message": format!("COLUMN_NOT_FOUND: line 3:7: Column 'column_{number}' cannot be resolved") },
            });
            parts.queries.push(serde_json::from_value(failed)?);
        }
        Ok(Self::published("large", run, parts))
    }

    fn published(name: &'static str, run: Run, parts: RunParts) -> Self {
        Self {
            totals: Some(totals(&parts.buckets)),
            top_prefixes: Some(top_prefixes(&parts.buckets)),
            ..Self::unpublished(name, run, parts)
        }
    }

    fn unpublished(name: &'static str, run: Run, parts: RunParts) -> Self {
        Self {
            name,
            run,
            parts,
            totals: None,
            top_prefixes: None,
            earlier: None,
            as_of: None,
        }
    }

    /// Where it happened.
    pub fn setting() -> Result<Setting> {
        Ok(Setting {
            host_region: region("us-east-1")?,
            consolidated_bucket: BucketName::try_from(
                "s3insights-111111111111-us-east-1-consolidated",
            )?,
            work_group: "s3insights".into(),
        })
    }

    /// Its summary.
    pub fn summary(&self) -> Result<Summary> {
        let setting = Self::setting()?;
        let records = Records {
            run: &self.run,
            parts: &self.parts,
            totals: self.totals.as_ref(),
            earlier: self.earlier.as_ref().map(|(run, parts)| (run, parts)),
        };
        Ok(Summary::build(records, &setting))
    }

    /// Its report page.
    pub fn page(&self) -> Result<String> {
        let report = Report {
            summary: &self.summary()?,
            buckets: &self.parts.buckets,
            totals: self.totals.as_ref(),
            top_prefixes: self.top_prefixes.as_ref(),
            as_of: self.as_of,
        };
        Ok(report.page())
    }
}

const ACCOUNTS: [&str; 4] = [
    "111111111111",
    "222222222222",
    "333333333333",
    "444444444444",
];

fn account(id: &str) -> Result<AccountId> {
    Ok(AccountId::try_from(id)?)
}

fn region(code: &str) -> Result<Region> {
    Ok(Region::try_from(code)?)
}

fn accounts() -> Result<Vec<Account>> {
    ACCOUNTS
        .iter()
        .map(|id| {
            Ok(Account {
                account: account(id)?,
                reason: None,
            })
        })
        .collect()
}

/// A run over some accounts; `more` goes into its input.
fn run(accounts: &[&str], more: &Value) -> Result<Run> {
    let accounts: Vec<Value> = accounts.iter().map(|id| json!({ "id": id })).collect();
    let mut input = json!({
        "run_id": "weekly",
        "accounts": accounts,
        "athena_database_name": "s3insights",
        "athena_table_name": "inventory_weekly",
        "is_smoke_test": false,
        "athena_queries": [],
        "sender_email_address": "s3insights@example.com",
        "recipient_email_addresses": ["security@example.com"],
        "supported_regions": REGIONS,
        "inventory_timeout_minutes": 3_000,
        "status_refresh_minutes": 30,
    });
    if let (Some(input), Some(more)) = (input.as_object_mut(), more.as_object()) {
        input.extend(more.clone());
    }
    Ok(serde_json::from_value(json!({
        "run_id": "weekly",
        "execution_arn": "arn:aws:states:us-east-1:111111111111:execution:s3insights-harvester:88f925b7-4cf0-4cab-9481-3e0b8b5751bf",
        "started_at": "2026-01-05T04:00:00Z",
        "deadline": "2026-01-07T06:00:00Z",
        "input": input.to_string(),
        "warnings": "[]",
        "regions": REGIONS,
    }))?)
}

fn bucket(
    owner: &str,
    code: &str,
    name: &str,
    status: InventoryStatus,
    objects: u64,
    bytes: u64,
) -> Result<SourceBucket> {
    let mut bucket =
        SourceBucket::discovered(account(owner)?, BucketName::try_from(name)?, region(code)?);
    bucket.status = status;
    if status == InventoryStatus::Done {
        bucket.files = Some(1);
        bucket.files_pending = Some(0);
        bucket.rows = objects + objects / 8;
        bucket.objects = objects;
        bucket.bytes = bytes;
    }
    Ok(bucket)
}

fn left_out(owner: &str, name: &str, because: &str) -> Result<LeftOut> {
    Ok(LeftOut {
        account: account(owner)?,
        bucket: BucketName::try_from(name)?,
        region: None,
        because: because.into(),
    })
}

/// Four accounts full of buckets, all of them covered.
fn estate() -> Result<RunParts> {
    // Owner, Region, name, objects, GiB.
    let done = [
        (0, 0, "acme-data-lake", 48_211_904, 312_400),
        (0, 0, "acme-cloudtrail", 91_402_118, 41_870),
        (0, 1, "acme-web-assets", 1_204_117, 2_310),
        (0, 0, "acme-terraform-state", 412, 1),
        (0, 2, "acme-invoices", 2_810_004, 840),
        (1, 1, "acme-media-originals", 3_911_207, 188_030),
        (1, 1, "acme-media-renditions", 22_104_660, 97_400),
        (1, 1, "acme-thumbnails", 64_280_011, 3_120),
        (1, 3, "acme-video-archive", 88_410, 141_200),
        (1, 3, "acme-player-logs", 12_004_118, 6_040),
        (2, 2, "acme-db-backups", 41_907, 84_200),
        (2, 2, "acme-vm-images", 1_290, 22_800),
        (2, 0, "acme-audit-exports", 904_221, 1_980),
        (2, 0, "acme-build-artifacts", 6_400_127, 31_400),
        (2, 4, "acme-sydney-backup", 240_118, 12_700),
        (3, 0, "acme-ml-training", 9_204_551, 61_300),
        (3, 0, "acme-ml-models", 18_204, 9_480),
        (3, 0, "acme-notebooks", 71_003, 12),
    ];
    let mut parts = RunParts {
        accounts: accounts()?,
        ..RunParts::default()
    };
    for (owner, code, name, objects, gib) in done {
        let bytes = gib * GIB + objects;
        let (owner, code) = (ACCOUNTS[owner], REGIONS[code]);
        let done = InventoryStatus::Done;
        parts
            .buckets
            .push(bucket(owner, code, name, done, objects, bytes)?);
    }
    for (owner, name) in [(1, "acme-unused"), (3, "acme-ml-staging")] {
        let empty = InventoryStatus::BucketIsEmpty;
        parts
            .buckets
            .push(bucket(ACCOUNTS[owner], REGIONS[0], name, empty, 0, 0)?);
    }
    Ok(parts)
}

/// The same estate a week before: a bucket more, one fewer, and less in the others.
fn earlier() -> Result<(Run, RunParts)> {
    let mut run = run(&ACCOUNTS, &json!({ "run_id": "week01" }))?;
    run.run_id = run.input.run_id.clone();
    run.started_at -= jiff::SignedDuration::from_hours(7 * 24);
    run.deadline -= jiff::SignedDuration::from_hours(7 * 24);
    run.outcome = Some(Outcome::Complete);
    let mut parts = estate()?;
    parts
        .buckets
        .retain(|bucket| bucket.bucket.as_str() != "acme-ml-models");
    for bucket in &mut parts.buckets {
        bucket.bytes -= bucket.bytes / 50;
        bucket.objects -= bucket.objects / 80;
    }
    let done = InventoryStatus::Done;
    for (name, objects) in [
        ("acme-short-lived", 12),
        ("acme-damaged", 4_000),
        ("acme-retired", 9),
    ] {
        let (owner, code) = ("222222222222", "us-west-2");
        parts
            .buckets
            .push(bucket(owner, code, name, done, objects, GIB)?);
    }
    Ok((run, parts))
}

/// Queries of every severity that succeeded, with and without rows.
#[expect(clippy::too_many_lines, reason = "a sample is a list of what is in it")]
fn queries() -> Result<Vec<Query>> {
    let keys = |rows: &[(&str, &str, &str)]| {
        Sample::of(
            ["account", "bucketname", "key", "size"].map(str::to_owned),
            rows.iter().map(|(bucket, key, size)| {
                [Some("111111111111"), Some(bucket), Some(key), Some(size)]
                    .map(|value| value.map(str::to_owned))
                    .to_vec()
            }),
        )
    };
    let secrets = keys(&[
        ("acme-web-assets", "deploy/id_rsa", "2602"),
        ("acme-web-assets", "config/.env.production", "814"),
        ("acme-build-artifacts", "signing/release.p12", "4211"),
        ("acme-notebooks", "home/jo/.aws/credentials", "116"),
        ("acme-db-backups", "keys/replication.pem", "1704"),
    ]);
    let dumps = keys(&[
        ("acme-db-backups", "orders/2025-12-28.sql.gz", "91880414208"),
        ("acme-db-backups", "orders/2025-12-21.sql.gz", "91204820992"),
        ("acme-notebooks", "tmp/customers.sql", "1288490188"),
    ]);
    let storage = Sample::of(
        [
            "account",
            "bucketname",
            "storage_class",
            "versions",
            "version_bytes",
        ]
        .map(str::to_owned),
        [
            (
                "111111111111",
                "acme-data-lake",
                Some("INTELLIGENT_TIERING"),
                "48211904",
                "335436926412800",
            ),
            (
                "222222222222",
                "acme-media-originals",
                Some("STANDARD"),
                "3911207",
                "201895674970112",
            ),
            (
                "222222222222",
                "acme-video-archive",
                Some("DEEP_ARCHIVE"),
                "88410",
                "151612342370304",
            ),
            (
                "333333333333",
                "acme-db-backups",
                None,
                "41907",
                "90409061580800",
            ),
        ]
        .map(|(owner, name, class, versions, bytes)| {
            [Some(owner), Some(name), class, Some(versions), Some(bytes)]
                .map(|value| value.map(str::to_owned))
                .to_vec()
        }),
    );
    let made = [
        (
            "Possible secrets",
            "Which objects are named like private keys, key stores, credentials or environment files.",
            Some("high"),
            5,
            Some(secrets),
            "SELECT account, bucketname, \"key\", size\nFROM \"s3insights\".\"inventory_weekly\"\nWHERE category = 'secret'\n  AND is_latest\n  AND NOT is_delete_marker\nORDER BY account, bucketname, \"key\"",
        ),
        (
            "Objects without encryption",
            "Which buckets hold objects that are not encrypted at rest.",
            Some("high"),
            0,
            None,
            "SELECT account, bucketname, count(*) AS versions\nFROM \"s3insights\".\"inventory_weekly\"\nWHERE encryption_status = 'NOT-SSE'\nGROUP BY account, bucketname",
        ),
        (
            "Database dumps",
            "Which objects are named like dumps of databases.",
            Some("medium"),
            1_204,
            Some(dumps),
            "SELECT account, bucketname, \"key\", size\nFROM \"s3insights\".\"inventory_weekly\"\nWHERE category = 'database-dump'\nORDER BY size DESC",
        ),
        (
            "Old versions",
            "How many bytes of each bucket are older versions of objects.",
            Some("low"),
            14,
            None,
            "SELECT bucketname, sum(size) AS bytes\nFROM \"s3insights\".\"inventory_weekly\"\nWHERE NOT is_latest\nGROUP BY bucketname\nORDER BY bytes DESC",
        ),
        (
            "Storage by bucket",
            "How many versions and bytes each bucket stores in each storage class.",
            Some("info"),
            41,
            Some(storage),
            "SELECT account, bucketname, storage_class, count(*) AS versions, sum(size) AS version_bytes\nFROM \"s3insights\".\"inventory_weekly\"\nGROUP BY account, bucketname, storage_class\nORDER BY version_bytes DESC",
        ),
        (
            "Objects of the data team",
            "",
            None,
            1,
            None,
            "SELECT count(*) AS objects\nFROM \"s3insights\".\"inventory_weekly\"\nWHERE bucketname = 'acme-data-lake'",
        ),
    ];
    (0..)
        .zip(made)
        .map(|(number, (name, tells, severity, rows, sample, sql)): (u32, _)| {
            let id = format!("0b1c7a52-{number}");
            let mut query = json!({
                "number": number, "name": name, "sql": sql, "state": "succeeded", "rows": rows,
                "execution_id": id,
                "result_location": format!("s3://s3insights-111111111111-us-east-1-consolidated/query-results/{id}.csv"),
                "scanned_bytes": 1 << 30,
            });
            if let Some(severity) = severity {
                query["severity"] = json!(severity);
                query["tells"] = json!(tells);
            }
            if let Some(sample) = sample {
                query["sample"] = json!(sample);
            }
            Ok(serde_json::from_value(query)?)
        })
        .collect()
}

/// What the buckets add up to, spread over storage classes, extensions and so on by fixed weights.
#[expect(clippy::too_many_lines, reason = "a sample is a list of what is in it")]
fn totals(buckets: &[SourceBucket]) -> Totals {
    let mut all = Tally::default();
    let mut delete_markers = 0;
    for bucket in buckets.iter().filter(|bucket| bucket.files.is_some()) {
        let versions = bucket.rows - bucket.rows / 90;
        delete_markers += bucket.rows - versions;
        all.add(Tally {
            objects: bucket.objects,
            object_bytes: bucket.bytes / 10 * 9,
            versions,
            version_bytes: bucket.bytes,
        });
    }
    let mut totals = Totals {
        all,
        delete_markers,
        ..Totals::default()
    };
    if all.is_zero() {
        return totals;
    }
    spread(
        &mut totals.by_storage_class,
        all,
        &[
            ("STANDARD", 41),
            ("INTELLIGENT_TIERING", 33),
            ("STANDARD_IA", 9),
            ("GLACIER_IR", 4),
            ("GLACIER", 3),
            ("DEEP_ARCHIVE", 10),
        ],
    );
    spread(
        &mut totals.by_encryption_status,
        all,
        &[("SSE-S3", 71), ("SSE-KMS", 27), ("DSSE-KMS", 1), ("", 1)],
    );
    spread(
        &mut totals.by_category,
        all,
        &[
            ("data", 55),
            ("video", 25),
            ("image", 9),
            ("log", 8),
            ("other", 3),
        ],
    );
    spread(
        &mut totals.by_replication_status,
        all,
        &[("", 88), ("COMPLETED", 12)],
    );
    spread(
        &mut totals.by_extension,
        all,
        &[
            ("parquet", 390),
            ("mp4", 210),
            ("jpg", 90),
            ("gz", 80),
            ("", 60),
            ("json", 42),
            ("zst", 31),
            ("tar", 24),
            ("bak", 19),
            ("png", 12),
            ("webp", 9),
            ("csv", 8),
            ("vmdk", 7),
            ("log", 6),
            ("avro", 5),
            ("pdf", 4),
            ("zip", 2),
            ("html", 1),
        ],
    );
    // A bell of sizes around 4 MiB, and as many bytes as these make.
    let sizes: Vec<u64> = (0..34u32)
        .map(|power| 1 + (4_000 / (10 + u64::from(power.abs_diff(17)).pow(2))))
        .collect();
    let weights: u64 = sizes.iter().sum();
    let byte_weights: u64 = (1..=34).sum();
    for (power, weight) in (0u32..).zip(&sizes) {
        let tally = part(all, *weight, weights, u64::from(power) + 1, byte_weights);
        totals.by_size.insert(1 << (power + 4), tally);
    }
    totals.by_size.insert(0, part(all, 1, 900, 0, 1));
    // Ever more, year by year, since 2019.
    let first: Timestamp = "2019-03-15T00:00:00Z".parse().unwrap_or_default();
    let months = 82;
    let weights: u64 = (1..=months).map(|month| 40 + month * (1 + month % 5)).sum();
    for month in 1..=months {
        let at = first.as_millisecond() + i64::try_from(month - 1).unwrap_or(0) * 2_629_800_000;
        let weight = 40 + month * (1 + month % 5);
        if let Some(month) = Month::of_milliseconds(at) {
            totals
                .by_month
                .entry(month)
                .or_default()
                .add(part(all, weight, weights, weight, weights));
        }
    }
    // What the division left over.
    let with_date: u64 = totals.by_month.values().map(|tally| tally.versions).sum();
    if let Some(mut last) = totals.by_month.last_entry() {
        last.get_mut().versions += all.versions - with_date;
    }
    let with_size: u64 = totals.by_size.values().map(|tally| tally.versions).sum();
    if let Some(mut first) = totals.by_size.first_entry() {
        first.get_mut().versions += all.versions.saturating_sub(with_size);
    }
    totals
}

fn spread(breakdown: &mut Breakdown, all: Tally, weights: &[(&str, u64)]) {
    let whole: u64 = weights.iter().map(|(_, weight)| weight).sum();
    for (value, weight) in weights {
        breakdown.add(value, part(all, *weight, whole, *weight, whole));
    }
}

/// Parts of the numbers, and parts of the bytes.
fn part(all: Tally, number: u64, numbers: u64, bytes: u64, all_bytes: u64) -> Tally {
    let of = |value: u64, part: u64, whole: u64| {
        u64::try_from(u128::from(value) * u128::from(part) / u128::from(whole)).unwrap_or(u64::MAX)
    };
    Tally {
        objects: of(all.objects, number, numbers),
        object_bytes: of(all.object_bytes, bytes, all_bytes),
        versions: of(all.versions, number, numbers),
        version_bytes: of(all.version_bytes, bytes, all_bytes),
    }
}

fn top_prefixes(buckets: &[SourceBucket]) -> TopPrefixes {
    let mut done: Vec<&SourceBucket> = buckets
        .iter()
        .filter(|bucket| bucket.files.is_some())
        .collect();
    top_prefixes::largest_first(&mut done);
    let mut collector = Collector::new(&done);
    for (rank, bucket) in done.iter().enumerate() {
        let all = Tally {
            objects: bucket.objects,
            object_bytes: bucket.bytes,
            versions: bucket.rows,
            version_bytes: bucket.bytes,
        };
        let mut prefixes = Breakdown::default();
        let weights = [
            ("year=2025/", 41),
            ("year=2024/", 22),
            ("raw/", 14),
            ("exports/", 8),
            ("year=2023/", 6),
            ("tmp/", 4),
            ("", 2),
            ("logs/", 1),
            ("archive/", 1),
            ("a/", 1),
        ];
        let used = 3 + rank % (weights.len() - 2);
        spread(&mut prefixes, all, &weights[..used]);
        if rank % 4 == 0 {
            for number in 0..20 {
                prefixes.add(&format!("team-{number:02}/"), part(all, 1, 400, 1, 400));
            }
        }
        collector.add(rank, &prefixes);
    }
    collector.finish()
}
