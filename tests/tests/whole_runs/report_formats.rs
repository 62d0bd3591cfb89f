use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_sdk_s3::types::{InventoryFormat, StorageClass};
use serde_json::{Value, json};
use shared::manifest::{FileFormat, Md5Hash};
use shared::run::Outcome;
use shared::status::InventoryStatus;
use shared::totals::Totals;
use tests::{
    EXISTING_REPORTS, Ended, MadeReport, Platform, ReportsBucket, Sums, SyntheticRows,
    check_done_buckets, check_outcome, keep_versions, leftovers, objects_under, query,
    rows_in_table, test, unfinished_uploads,
};

const REGION: &str = "eu-west-1";

// --- the same objects in every format ----------------------------------------------------------

const FORMATS: [InventoryFormat; 3] = [
    InventoryFormat::Csv,
    InventoryFormat::Orc,
    InventoryFormat::Parquet,
];

const FORMATS_ACCOUNT: &str = "530000000001";

const ODD_KEYS: [&str; 18] = [
    "a b",
    "a+b",
    "100%25",
    "100%",
    "quote'\"s",
    "comma,s",
    "new\nline",
    "größe/日本/🦀.tfstate",
    "<script>x</script>",
    "=1+1",
    "tab\tin",
    "back\\slash",
    "&amp;",
    "double//slash",
    "folder/",
    "/leading.jpg",
    "secrets/.env",
    "null",
];

#[test]
fn the_same_objects_become_the_same_rows_and_totals_from_a_report_in_any_format() {
    test(async |platform| {
        let [_, _, reports, ..] = EXISTING_REPORTS;
        let buckets = FORMATS.map(|format| {
            let bucket = format!("formats-{}", format.as_str().to_lowercase());
            (bucket, format)
        });
        let described = buckets.iter().map(|(bucket, _)| {
            json!({"name": bucket, "region": REGION, "faults": {"rows_per_file": 6},
                   "objects": [{"keys": ["from before", "kept"]}]})
        });
        let estate = platform
            .build(&estate(
                FORMATS_ACCOUNT,
                "formats",
                &described.collect::<Vec<_>>(),
            ))
            .await?;
        let reports = ReportsBucket::make(platform, reports).await?;
        let mut existing = Vec::new();
        for (bucket, format) in &buckets {
            fill(platform, bucket).await?;
            let manifest = reports
                .report_of(FORMATS_ACCOUNT, bucket, format.clone())
                .await?;
            existing.push(json!({"bucket": bucket, "manifest": manifest}));
        }
        let mut input = estate.run_input(&platform.aws.host_account_id);
        input["existing_inventories"] = json!(existing);
        let ended = platform.harvest(&input).await?;
        check_outcome(&ended, Outcome::Complete);

        // Two objects of before versioning, one of them with another version, and deleted.
        let count = 2 + ODD_KEYS.len() as u64 + 2;
        assert_eq!(check_done_buckets(platform, &ended).await?, buckets.len());
        let mut alike = Vec::new();
        for (bucket, _) in &buckets {
            let files = ended.bucket(bucket).files;
            assert_eq!((ended.bucket(bucket).rows, files), (count, Some(4)));
            alike.push((
                rows_of(platform, &ended, bucket).await?,
                totals_of(platform, &ended, bucket).await?,
            ));
        }
        let (rows, totals) = &alike[0];
        assert_eq!(rows.len() as u64, count);
        assert_eq!((totals.all.versions, totals.delete_markers), (count - 1, 1));
        for ((bucket, _), other) in buckets.iter().zip(&alike) {
            assert_eq!(other, &alike[0], "{bucket}");
        }
        let left = leftovers(platform, "formats", &[FORMATS_ACCOUNT]).await?;
        assert_eq!(left, [""; 0]);
        Ok(())
    });
}

/// Turns versioning on and puts the odd keys, of another storage class; one object of before gets
/// another version and a delete marker.
async fn fill(platform: &Platform, bucket: &str) -> Result<()> {
    let s3 = platform.s3(FORMATS_ACCOUNT, REGION);
    keep_versions(&s3, bucket).await?;
    for key in ODD_KEYS {
        s3.put_object()
            .bucket(bucket)
            .key(key)
            .storage_class(StorageClass::StandardIa)
            .body(key.as_bytes().to_vec().into())
            .send()
            .await?;
    }
    let put = s3.put_object().bucket(bucket).key("from before");
    put.body(b"now".to_vec().into()).send().await?;
    let delete = s3.delete_object().bucket(bucket).key("from before");
    delete.send().await?;
    Ok(())
}

/// The rows of a bucket, without what no two buckets share: their own name, version ids and times.
async fn rows_of(platform: &Platform, ended: &Ended, bucket: &str) -> Result<Vec<Vec<String>>> {
    let mut rows = query_table(
        platform,
        ended,
        "\"key\", version_id = '', version_id IS NULL, is_latest, is_delete_marker, size, \
         last_modified_date IS NULL, e_tag, storage_class, is_multipart_uploaded, \
         replication_status, encryption_status, object_lock_retain_until_date, object_lock_mode, \
         object_lock_legal_hold_status, intelligent_tiering_access_tier, bucket_key_status, \
         checksum_algorithm, object_access_control_list IS NULL, object_owner, \
         lifecycle_expiration_date, extension, top_prefix, category",
        &format!("bucketname = '{bucket}' AND bucket = '{bucket}'"),
    )
    .await?;
    rows.sort();
    Ok(rows)
}

/// The totals of a bucket, with the name of the bucket and the months taken out of them.
async fn totals_of(platform: &Platform, ended: &Ended, bucket: &str) -> Result<Totals> {
    let prefix = format!("totals/{}/{FORMATS_ACCOUNT}/{bucket}/", ended.run.run_id);
    let mut totals = Totals::default();
    for key in objects_under(platform, &prefix).await? {
        let part = consolidated_object(platform, &key).await?.content;
        totals.merge(serde_json::from_slice(&part)?);
    }
    // A month may have ended between two of them.
    let months = std::mem::take(&mut totals.by_month);
    let dated: u64 = months.values().map(|tally| tally.versions).sum();
    assert_eq!(dated, totals.all.versions);
    for largest in &mut totals.largest_objects {
        assert_eq!(std::mem::take(&mut largest.bucket), bucket);
    }
    Ok(totals)
}

// --- large files -------------------------------------------------------------------------------

const ROWS: usize = 120_000;

const LARGE_ACCOUNT: &str = "530000000002";

#[test]
fn large_files_are_consolidated_whole_and_parquet_files_keep_their_bytes() {
    test(async |platform| {
        let [_, _, _, reports, ..] = EXISTING_REPORTS;
        let names = ["large-parquet", "large-parts", "large-csv"];
        let rows = SyntheticRows::new(ROWS);
        let estate = platform
            .build(&estate(LARGE_ACCOUNT, "large", &buckets_named(&names)))
            .await?;
        let reports = ReportsBucket::make(platform, reports).await?;
        let mut made = BTreeMap::new();
        for name in names {
            let report = reports.make_report(name, format_of(name), &rows).await?;
            if name == "large-parts" {
                reports.put_in_parts(&report.key, &report.content).await?;
            } else {
                reports.put(&report.key, report.content.clone()).await?;
            }
            made.insert(name, report);
        }
        let mut input = estate.run_input(&platform.aws.host_account_id);
        input["existing_inventories"] = existing(&made);
        let ended = platform.harvest(&input).await?;
        check_outcome(&ended, Outcome::Complete);

        let sums = rows.sums();
        assert!(sums.keys < sums.rows && sums.categories.len() == 11);
        for (name, report) in &made {
            let bucket = ended.bucket(name);
            assert_eq!(bucket.status, InventoryStatus::Done, "{name}");
            assert_eq!(
                (bucket.rows, bucket.bytes),
                (sums.rows, sums.bytes.try_into()?)
            );
            assert_eq!(sums_of(platform, &ended, name).await?, sums, "{name}");

            let keys = objects_under(platform, &partition(&ended, name)).await?;
            let [key] = &keys[..] else {
                panic!("{name} is consolidated as {keys:?}");
            };
            let consolidated = consolidated_object(platform, key).await?;
            if format_of(name) == FileFormat::Parquet {
                let copied = footer_start(&report.content)?;
                assert!((6 << 20..20 << 20).contains(&copied), "{copied} bytes");
                assert_eq!(
                    Md5Hash::of(&consolidated.content[..copied]),
                    Md5Hash::of(&report.content[..copied]),
                    "{name}"
                );
                assert!(consolidated.e_tag.contains('-'), "{}", consolidated.e_tag);
            }
        }
        assert_eq!(unfinished(platform, &ended).await?, [""; 0]);
        let left = leftovers(platform, "large", &[LARGE_ACCOUNT]).await?;
        assert_eq!(left, [""; 0]);
        Ok(())
    });
}

const DAMAGED_ACCOUNT: &str = "530000000003";

#[test]
fn a_large_file_that_is_not_what_its_manifest_says_leaves_nothing_behind() {
    test(async |platform| {
        let [_, _, _, _, reports, _] = EXISTING_REPORTS;
        let names = [
            "damaged-parquet",
            "damaged-parts",
            "damaged-csv",
            "damaged-cut-parquet",
            "damaged-cut-csv",
        ];
        let rows = SyntheticRows::new(ROWS);
        let estate = platform
            .build(&estate(DAMAGED_ACCOUNT, "damaged", &buckets_named(&names)))
            .await?;
        let reports = ReportsBucket::make(platform, reports).await?;
        let mut made = BTreeMap::new();
        let mut differences = BTreeMap::new();
        for name in names {
            let report = reports.make_report(name, format_of(name), &rows).await?;
            let (size, mut delivered) = (report.content.len(), report.content.clone());
            let difference = if name.contains("-cut-") {
                delivered.truncate(size - 1);
                format!(
                    "the manifest says {size} bytes, but the file has {}",
                    size - 1
                )
            } else {
                delivered[size / 2] ^= 1;
                let (expected, found) = (Md5Hash::of(&report.content), Md5Hash::of(&delivered));
                format!("the manifest says MD5 {expected}, but the file has {found}")
            };
            if name == "damaged-parts" {
                reports.put_in_parts(&report.key, &delivered).await?;
            } else {
                reports.put(&report.key, delivered).await?;
            }
            made.insert(name, report);
            differences.insert(name, difference);
        }
        let mut input = estate.run_input(&platform.aws.host_account_id);
        input["existing_inventories"] = existing(&made);
        let ended = platform.harvest(&input).await?;
        check_outcome(&ended, Outcome::Partial);

        for (name, report) in &made {
            let bucket = ended.bucket(name);
            assert_eq!(bucket.status, InventoryStatus::VerificationFailed, "{name}");
            let reason = bucket.reason.as_ref().expect("it says why");
            assert_eq!(reason.code, "FileMismatch", "{name}");
            for said in [&report.key, &differences[name]] {
                assert!(reason.message.contains(said), "{said}: {reason:?}");
            }
            assert_eq!(rows_in_table(platform, &ended, name).await?, 0, "{name}");
            let left = objects_under(platform, &partition(&ended, name)).await?;
            assert_eq!(left, [""; 0], "{name}");
        }
        assert_eq!(unfinished(platform, &ended).await?, [""; 0]);
        let left = leftovers(platform, "damaged", &[DAMAGED_ACCOUNT]).await?;
        assert_eq!(left, [""; 0]);
        Ok(())
    });
}

const LACKING_ACCOUNT: &str = "530000000004";

#[test]
fn an_existing_report_without_its_file_is_waited_for_until_the_deadline() {
    test(async |platform| {
        let [.., reports] = EXISTING_REPORTS;
        let (name, names) = ("lacking-file", ["lacking-file"]);
        let estate = platform
            .build(&estate(LACKING_ACCOUNT, "lacking", &buckets_named(&names)))
            .await?;
        let reports = ReportsBucket::make(platform, reports).await?;
        let rows = SyntheticRows::new(10);
        let report = reports.make_report(name, FileFormat::Csv, &rows).await?;
        let mut input = estate.run_input(&platform.aws.host_account_id);
        input["inventory_timeout_minutes"] = json!(1);
        input["existing_inventories"] = existing(&BTreeMap::from([(name, report)]));
        let ended = platform.harvest(&input).await?;
        check_outcome(&ended, Outcome::Partial);

        let bucket = ended.bucket(name);
        assert_eq!(bucket.status, InventoryStatus::InProgress);
        let reason = bucket.reason.as_ref().expect("it says why");
        assert_eq!(reason.code, "DeadlinePassed");
        assert!(reason.message.contains("0 of 1 files"), "{reason:?}");
        assert_eq!(rows_in_table(platform, &ended, name).await?, 0);
        let left = leftovers(platform, "lacking", &[LACKING_ACCOUNT]).await?;
        assert_eq!(left, [""; 0]);
        Ok(())
    });
}

// --- what they share ---------------------------------------------------------------------------

/// An estate of one account, and a run over it.
fn estate(account: &str, run_id: &str, buckets: &[Value]) -> String {
    json!({
        "accounts": [{"id": account, "buckets": buckets}],
        "input": {"other": {"run_id": run_id, "status_refresh_minutes": 1}},
    })
    .to_string()
}

/// Buckets with nothing in them: what their reports tell of was never there.
fn buckets_named(names: &[&str]) -> Vec<Value> {
    let names = names.iter();
    names
        .map(|name| json!({"name": name, "region": REGION}))
        .collect()
}

fn format_of(bucket: &str) -> FileFormat {
    if bucket.ends_with("csv") {
        FileFormat::Csv
    } else {
        FileFormat::Parquet
    }
}

/// What a run input says about the reports of these buckets.
fn existing(made: &BTreeMap<&str, MadeReport>) -> Value {
    let entry = |(bucket, report): (&&str, &MadeReport)| json!({"bucket": bucket, "manifest": report.manifest});
    made.iter().map(entry).collect()
}

fn partition(ended: &Ended, bucket: &str) -> String {
    let found = ended.bucket(bucket);
    format!(
        "inventory/{}/account={}/region={}/bucketname={bucket}/",
        ended.run.run_id, found.account, found.region
    )
}

async fn unfinished(platform: &Platform, ended: &Ended) -> Result<Vec<String>> {
    unfinished_uploads(platform, &format!("inventory/{}/", ended.run.run_id)).await
}

async fn query_table(
    platform: &Platform,
    ended: &Ended,
    columns: &str,
    rest: &str,
) -> Result<Vec<Vec<String>>> {
    let input = &ended.run.input;
    let (database, table) = (&input.athena_database_name, &input.athena_table_name);
    let sql = format!("SELECT {columns} FROM \"{database}\".\"{table}\" WHERE {rest}");
    query(platform, database, &sql).await
}

/// What the rows of a bucket add up to, by the snapshot table.
async fn sums_of(platform: &Platform, ended: &Ended, bucket: &str) -> Result<Sums> {
    let rows = query_table(
        platform,
        ended,
        "count(*), sum(size), sum(length(\"key\")), count(DISTINCT \"key\")",
        &format!("bucketname = '{bucket}'"),
    )
    .await?;
    let [sums] = &rows[..] else {
        panic!("sums are one row: {rows:?}");
    };
    let categories = query_table(
        platform,
        ended,
        "category, count(*)",
        &format!("bucketname = '{bucket}' GROUP BY category"),
    )
    .await?;
    let category = |row: &Vec<String>| Ok((row[0].clone(), row[1].parse()?));
    Ok(Sums {
        rows: sums[0].parse()?,
        bytes: sums[1].parse()?,
        characters: sums[2].parse()?,
        keys: sums[3].parse()?,
        categories: categories.iter().map(category).collect::<Result<_>>()?,
    })
}

/// An object of the consolidated bucket.
struct Consolidated {
    e_tag: String,
    content: Vec<u8>,
}

async fn consolidated_object(platform: &Platform, key: &str) -> Result<Consolidated> {
    let object = platform
        .s3(&platform.aws.host_account_id, &platform.aws.region)
        .get_object()
        .bucket(platform.output("ConsolidatedBucketName"))
        .key(key)
        .send()
        .await?;
    Ok(Consolidated {
        e_tag: object.e_tag().unwrap_or_default().to_owned(),
        content: object.body.collect().await?.to_vec(),
    })
}

/// Where the footer of a Parquet file begins: its length stands before the last four bytes.
fn footer_start(file: &[u8]) -> Result<usize> {
    let tail: [u8; 8] = *file.last_chunk().context("a file has a footer")?;
    assert_eq!(&tail[4..], b"PAR1");
    let [length @ .., _, _, _, _] = tail;
    let length = usize::try_from(u32::from_le_bytes(length))?;
    Ok(file.len() - 8 - length)
}
