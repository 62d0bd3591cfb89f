//! The estates that are measured.

use anyhow::Result;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use futures::{StreamExt as _, TryStreamExt as _};
use local_aws::inventory::Faults;

use super::CONCURRENCY;
use crate::{EXTERNAL_ID, Platform};

/// One estate to measure.
#[derive(Clone, Debug)]
pub struct Case {
    /// Name, which `--only` takes.
    pub name: String,
    /// Accounts.
    pub accounts: usize,
    /// Source buckets of each account.
    pub buckets: usize,
    /// Whether the buckets are spread over all Regions, rather than in the host's alone.
    pub all_regions: bool,
    /// Objects of each bucket.
    pub objects: usize,
    /// Whether each object has an inventory file of its own.
    pub file_per_object: bool,
    /// Whether the case takes more than some minutes.
    pub is_long: bool,
}

impl Case {
    fn new(name: String, accounts: usize, buckets: usize) -> Self {
        Self {
            name,
            accounts,
            buckets,
            all_regions: false,
            objects: 1,
            file_per_object: false,
            is_long: false,
        }
    }

    /// The run over it; also the name of its table.
    pub fn run_id(&self) -> String {
        self.name.replace('-', "")
    }
}

/// All cases, by subject and size.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for buckets in [10, 100, 1_000, 10_000] {
        cases.push(Case {
            is_long: buckets > 100,
            ..Case::new(format!("buckets-{buckets}"), 1, buckets)
        });
    }
    for accounts in [10, 100, 1_000] {
        cases.push(Case {
            is_long: accounts > 10,
            ..Case::new(format!("accounts-{accounts}"), accounts, 3)
        });
    }
    cases.push(Case {
        all_regions: true,
        ..Case::new("regions".to_owned(), 1, 40)
    });
    cases.push(Case {
        objects: 2_000,
        file_per_object: true,
        is_long: true,
        ..Case::new("files-2000".to_owned(), 1, 1)
    });
    cases
}

/// An estate that was built.
pub(super) struct Built {
    pub(super) accounts: Vec<String>,
    pub(super) buckets: Vec<Bucket>,
    /// The Regions of the buckets, each once.
    pub(super) regions: Vec<String>,
}

/// A source bucket.
pub(super) struct Bucket {
    pub(super) name: String,
    account: String,
    region: String,
}

/// Makes accounts, buckets and objects, many at a time.
pub(super) async fn build(platform: &Platform, case: &Case) -> Result<Built> {
    let mut regions = vec![platform.aws.region.clone()];
    if case.all_regions {
        let enabled = platform.clients.enabled_regions().await?;
        regions = enabled.iter().map(ToString::to_string).collect();
    }
    // Accounts of their own for each case, told apart by its place in the list.
    let place = cases()
        .iter()
        .position(|known| known.name == case.name)
        .unwrap_or(99);
    let accounts: Vec<String> = (0..case.accounts)
        .map(|number| format!("6{place:02}{number:09}"))
        .collect();
    let mut buckets = Vec::new();
    for account in &accounts {
        for number in 0..case.buckets {
            buckets.push(Bucket {
                name: format!("{}-{account}-{number}", case.name),
                account: account.clone(),
                region: regions[number % regions.len()].clone(),
            });
        }
    }
    futures::stream::iter(&accounts)
        .map(|account| platform.add_member(account, Some(EXTERNAL_ID)))
        .buffer_unordered(4)
        .try_collect::<()>()
        .await?;
    futures::stream::iter(&buckets)
        .map(|bucket| make(platform, case, bucket))
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await?;
    regions.truncate(case.buckets);
    Ok(Built {
        accounts,
        buckets,
        regions,
    })
}

async fn make(platform: &Platform, case: &Case, bucket: &Bucket) -> Result<()> {
    if case.file_per_object {
        let faults = Faults {
            rows_per_file: std::num::NonZeroUsize::new(1),
            ..Faults::default()
        };
        platform.aws.set_faults(&bucket.name, &faults).await?;
    }
    let s3 = platform.s3(&bucket.account, &bucket.region);
    let configuration = (bucket.region != "us-east-1").then(|| {
        CreateBucketConfiguration::builder()
            .location_constraint(BucketLocationConstraint::from(bucket.region.as_str()))
            .build()
    });
    s3.create_bucket()
        .bucket(&bucket.name)
        .set_create_bucket_configuration(configuration)
        .send()
        .await?;
    futures::stream::iter(0..case.objects)
        .map(async |number| {
            s3.put_object()
                .bucket(&bucket.name)
                .key(format!("object-{number:06}"))
                .send()
                .await?;
            anyhow::Ok(())
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await
}
