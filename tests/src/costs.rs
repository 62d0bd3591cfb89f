//! What a run costs: counts that were measured, carried on to other estates, at list prices.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::scale::Measurement;

/// A list price.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// What the model calls it.
    pub id: String,
    /// The service that asks it.
    pub service: String,
    /// What is paid for.
    pub unit: String,
    /// US dollars for `per` units.
    pub price: f64,
    /// Units.
    pub per: f64,
    /// Address where it is told.
    pub source: String,
    /// Day it was noted.
    pub date: String,
}

/// An estate to compute the costs of.
struct Example {
    accounts: f64,
    buckets: f64,
    /// Millions of objects, older versions and delete markers among them.
    millions: f64,
}

const EXAMPLES: [Example; 3] = [
    Example {
        accounts: 1.0,
        buckets: 10.0,
        millions: 1.0,
    },
    Example {
        accounts: 10.0,
        buckets: 1_000.0,
        millions: 1_000.0,
    },
    Example {
        accounts: 100.0,
        buckets: 10_000.0,
        millions: 100_000.0,
    },
];

/// An assumption: what the model takes for something that was not counted.
struct Assumption {
    value: f64,
    text: &'static str,
}

const ROWS_PER_SECOND: Assumption = Assumption {
    value: 3_500_000.0,
    text: "rows a second in `inventory-file-consolidator` (1.769 GB of memory), as [measured](benchmarks.md#figures) on a machine with the files at hand, every byte hashed; a Lambda function that reads from S3 was not measured",
};
const CONSOLIDATOR_GB: f64 = 1.769;
const FUNCTION_GB: Assumption = Assumption {
    value: 0.5,
    text: "GB of memory of a function that is not `inventory-file-consolidator`; most have that or less",
};
const REQUEST_SECONDS: Assumption = Assumption {
    value: 0.15,
    text: "seconds that a function waits for one request, and none at the same time as another: more than it takes",
};
const ROWS_PER_FILE: Assumption = Assumption {
    value: 1_000_000.0,
    text: "rows of an inventory file, and at least one file for each bucket; S3 decides",
};
const BYTES_PER_ROW: Assumption = Assumption {
    value: 105.0,
    text: "bytes of a row in a report, as [measured](benchmarks.md#figures) for synthetic reports, and as many in the snapshot",
};
const MONTHS_KEPT: Assumption = Assumption {
    value: 1.0,
    text: "months that a snapshot is kept; delivered reports are removed at the end of the run and take two days at most",
};
const STAGING_MONTHS: f64 = 2.0 / 30.0;
const READ_UNITS: Assumption = Assumption {
    value: 256.0,
    text: "read units of a DynamoDB query, a full page of 1 MB: the most there is; other reads take one",
};
const WRITE_UNITS: Assumption = Assumption {
    value: 4.0,
    text: "write units of an item written to DynamoDB, 2 KB in a transaction: most are smaller, but the record of a run over very many accounts is larger",
};
const SQS_REQUESTS: Assumption = Assumption {
    value: 3.0,
    text: "SQS requests for one message: sent, received and deleted, without batches. Empty receives, which Lambda makes all month, are not counted",
};
const WAIT_TRANSITIONS: Assumption = Assumption {
    value: 400.0,
    text: "transitions of two days of waiting: a refresh every half hour and a callback asked anew as often",
};
const SCANS: Assumption = Assumption {
    value: 1.0,
    text: "times that the queries of a run scan the whole snapshot, all columns; those of the catalogue read some",
};
const LOG_BYTES: Assumption = Assumption {
    value: 1_000.0,
    text: "bytes of logs for each request of a function: more than is written",
};

const ASSUMPTIONS: [&Assumption; 12] = [
    &ROWS_PER_SECOND,
    &FUNCTION_GB,
    &REQUEST_SECONDS,
    &ROWS_PER_FILE,
    &BYTES_PER_ROW,
    &MONTHS_KEPT,
    &READ_UNITS,
    &WRITE_UNITS,
    &SQS_REQUESTS,
    &WAIT_TRANSITIONS,
    &SCANS,
    &LOG_BYTES,
];

/// How a count grows: so much for any run, and for each bucket, account and file more.
#[derive(Clone, Copy)]
struct Growth {
    run: f64,
    bucket: f64,
    account: f64,
    file: f64,
}

impl Growth {
    /// From runs that differ in one thing at a time.
    fn of(measured: &[Measurement], count: impl Fn(&Measurement) -> u64) -> Result<Self> {
        let of = |name: &str| {
            measured
                .iter()
                .find(|one| one.case == name)
                .with_context(|| format!("case {name} was not measured"))
        };
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let number = |value: u64| value as f64;
        let value = |one: &Measurement| number(count(one));
        let (few, many) = (of("buckets-10")?, of("buckets-100")?);
        // A bucket of these cases has one file, so its file is in its share.
        let bucket = (value(many) - value(few)) / number(many.buckets - few.buckets);
        let accounts = of("accounts-10")?;
        let more = bucket * (number(accounts.buckets) - number(few.buckets));
        let account =
            (value(accounts) - value(few) - more) / number(accounts.accounts - few.accounts);
        let run = value(few) - bucket * number(few.buckets) - account;
        let files = of("files-2000")?;
        let file = (value(files) - run - bucket - account) / number(files.files - 1);
        Ok(Self {
            run,
            bucket,
            account: account.max(0.0),
            file: file.max(0.0),
        })
    }

    fn at(self, example: &Example) -> f64 {
        let files = files(example);
        let more = (files - example.buckets) * self.file;
        let value = self.run + self.bucket * example.buckets + self.account * example.accounts;
        (value + more).max(0.0)
    }
}

fn files(example: &Example) -> f64 {
    let full = example.millions * 1e6 / ROWS_PER_FILE.value;
    full.max(example.buckets)
}

/// The counts that are paid for, for one estate, by the price that they are paid at.
fn quantities(measured: &[Measurement], example: &Example) -> Result<BTreeMap<&'static str, f64>> {
    let grown = |count: &dyn Fn(&Measurement) -> u64| -> Result<f64> {
        Ok(Growth::of(measured, count)?.at(example))
    };
    let rows = example.millions * 1e6;
    let gigabytes = rows * BYTES_PER_ROW.value / 1e9;
    let messages = grown(&|one| one.notifications + one.files)?;
    let calls = grown(&|one| one.invocations.values().sum())? + messages;
    let requests = grown(&|one| one.requests_of(""))?;
    let queries = grown(&|one| one.requests_of("dynamodb:Query"))?;
    let other_reads = grown(&|one| one.requests_of("dynamodb:GetItem"))?;
    let writes = grown(&|one| {
        let reads = one.requests_of("dynamodb:Query") + one.requests_of("dynamodb:GetItem");
        one.requests_of("dynamodb:") - reads
    })?;
    let s3_reads = grown(&|one| one.requests_of("s3:Get"))?;
    // What is deleted is free.
    let s3_writes = grown(&|one| {
        let others = one.requests_of("s3:Get") + one.requests_of("s3:Delete");
        one.requests_of("s3:") - others
    })?;
    let seconds = rows / ROWS_PER_SECOND.value * CONSOLIDATOR_GB
        + requests * REQUEST_SECONDS.value * FUNCTION_GB.value;
    Ok(BTreeMap::from([
        ("inventory", rows),
        (
            "transitions",
            grown(&|one| one.transitions)? + WAIT_TRANSITIONS.value,
        ),
        ("lambda_requests", calls),
        ("lambda_seconds", seconds),
        ("dynamodb_writes", writes * WRITE_UNITS.value),
        ("dynamodb_reads", queries * READ_UNITS.value + other_reads),
        ("sqs", messages * SQS_REQUESTS.value),
        ("sns", grown(&|one| one.notifications)?),
        ("s3_writes", s3_writes),
        ("s3_reads", s3_reads),
        ("storage", gigabytes * (MONTHS_KEPT.value + STAGING_MONTHS)),
        ("athena", gigabytes * SCANS.value),
        ("logs", requests * LOG_BYTES.value / 1e9),
        ("mail", 1.0),
    ]))
}

/// The tables of the page: the examples, the prices and the assumptions.
///
/// # Errors
/// When a case that the model needs was not measured, or a count has no price.
pub fn tables(measured: &[Measurement], prices: &[Price]) -> Result<String> {
    let costs: Vec<BTreeMap<&str, f64>> = EXAMPLES
        .iter()
        .map(|example| quantities(measured, example))
        .collect::<Result<_>>()?;
    for id in costs[0].keys() {
        ensure!(
            prices.iter().any(|price| price.id == *id),
            "{id} has no price"
        );
    }
    let dollars = |price: &Price, counts: &BTreeMap<&str, f64>| -> Result<f64> {
        let count = counts.get(price.id.as_str());
        let count = count.with_context(|| format!("nothing is counted for {}", price.id))?;
        Ok(count * price.price / price.per)
    };

    let mut text = String::from("### Examples\n\nUS dollars for one run.\n\n| |");
    for example in &EXAMPLES {
        let _ = write!(
            text,
            " {} accounts, {} buckets, {} million objects |",
            example.accounts, example.buckets, example.millions
        );
    }
    text.push_str("\n|---|---:|---:|---:|\n");
    let mut totals = [0.0; EXAMPLES.len()];
    for price in prices {
        let _ = write!(text, "| {}, {} |", price.service, price.unit);
        for (counts, total) in costs.iter().zip(&mut totals) {
            let cost = dollars(price, counts)?;
            *total += cost;
            let _ = write!(text, " {cost:.4} |");
        }
        text.push('\n');
    }
    let row = |text: &mut String, name: &str, value: &dyn Fn(usize) -> f64, decimals: usize| {
        let _ = write!(text, "| {name} |");
        for place in 0..EXAMPLES.len() {
            let _ = write!(text, " {:.decimals$} |", value(place));
        }
        text.push('\n');
    };
    row(&mut text, "**whole run**", &|at| totals[at], 2);
    row(
        &mut text,
        "per million objects",
        &|at| totals[at] / EXAMPLES[at].millions,
        4,
    );
    row(
        &mut text,
        "per bucket",
        &|at| totals[at] / EXAMPLES[at].buckets,
        4,
    );
    let inventory = prices.iter().find(|price| price.id == "inventory");
    let inventory = inventory.context("the S3 Inventory fee has no price")?;
    let fees = costs
        .iter()
        .map(|counts| dollars(inventory, counts))
        .collect::<Result<Vec<f64>>>()?;
    row(
        &mut text,
        "times the S3 Inventory fee",
        &|at| totals[at] / fees[at],
        1,
    );

    text.push_str("\n### Prices\n\n| service | unit | US dollars | for | source | noted on |\n|---|---|---:|---:|---|---|\n");
    for price in prices {
        let Price {
            service,
            unit,
            price,
            per,
            source,
            date,
            ..
        } = price;
        let host = source.split('/').nth(2).unwrap_or(source);
        let _ = writeln!(
            text,
            "| {service} | {unit} | {price} | {per} | [{host}]({source}) | {date} |"
        );
    }
    text.push_str("\n### Assumptions\n\n| taken | for |\n|---:|---|\n");
    for assumption in ASSUMPTIONS {
        let _ = writeln!(text, "| {} | {} |", assumption.value, assumption.text);
    }
    Ok(text)
}
