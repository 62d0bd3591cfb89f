use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_sdk_s3::types::StorageClass;
use serde_json::{Value, json};
use shared::catalogue::{self, Query};
use shared::run::{Outcome, QueryState};
use tests::{EXTERNAL_ID, Platform, check_outcome, keep_versions, query, test};

const ACCOUNT: &str = "570000000001";
/// Its tables are of this test only.
const DATABASE: &str = "catalogue";
const TABLE: &str = "whole";

const BAD: &str = "known to be bad";
const BAD_MD5: &str = "3f20f79385b696e22d806a38fd033113";

/// Bucket, key, content. In the order in which they are written.
const OBJECTS: &[(&str, &str, &str)] = &[
    ("catalogue-site", "index.html", "<html>"),
    ("catalogue-site", "style.css", "body {}"),
    ("catalogue-site", "it's \"odd\"/100%.pem", "a key"),
    ("catalogue-photos", "a.jpg", "the same"),
    ("catalogue-photos", "b.jpg", "not quite"),
    ("catalogue-photos", "setup.exe", BAD),
    ("catalogue-photos", "papers/contract.docx", "signed"),
    ("catalogue-photos", "app/main.rs", "fn main() {}"),
    ("catalogue-photos", "films/film.torrent", "a film"),
    ("catalogue-photos", "live/terraform.tfstate", "{}"),
    ("catalogue-photos", "shop.sql.gz", "a dump"),
    ("catalogue-photos-backup", "a.jpg", "the same"),
    ("catalogue-photos-backup", "b.jpg", "different"),
    ("catalogue-photos-backup", "shop.sql.gz", "a longer dump"),
    // Versions of the same objects, in a bucket that keeps them.
    ("catalogue-versions", "log", "one"),
    ("catalogue-versions", "log", "two"),
    ("catalogue-versions", "log", "three"),
    ("catalogue-versions", "gone", "four"),
];

/// Rows of each query that does not only look at how old things are, or at what the embedded S3 does
/// not have.
const ROWS: &[(&str, u64)] = &[
    ("secrets", 1),
    ("terraform-state", 1),
    ("public-grants", 0),
    ("public-website-content", 1),
    ("known-bad-hashes", 1),
    // shop.sql.gz and its backup.
    ("database-dumps", 2),
    ("banned-content", 1),
    ("executables", 1),
    ("source-code", 1),
    ("office-documents", 1),
    // Nothing is encrypted here, nor replicated: a row for each bucket.
    ("unencrypted-objects", 4),
    ("encryption-by-bucket", 4),
    ("not-replicated", 4),
    // b.jpg has another ETag and shop.sql.gz another size; five more are missing.
    ("backup-comparison", 7),
    ("object-lock-coverage", 4),
    ("expiring-objects", 0),
    ("noncurrent-versions", 1),
    // a.jpg and its backup.
    ("duplicates", 1),
    ("large-objects", 0),
    ("stale-buckets", 0),
    ("stale-prefixes", 0),
    ("small-infrequent-access", 1),
    // In two storage classes in one of the four.
    ("storage-class-by-age", 5),
    ("storage-by-bucket", 5),
    ("ages", 1),
];

#[test]
fn every_query_of_the_catalogue_succeeds_and_finds_what_is_there() {
    test(async |platform| {
        platform.add_member(ACCOUNT, Some(EXTERNAL_ID)).await?;
        fill(platform).await?;
        make_table_of_hashes(platform).await?;

        let mut input = platform.input(&[ACCOUNT]);
        input["run_id"] = json!("catalogue");
        input["athena_database_name"] = json!(DATABASE);
        input["athena_table_name"] = json!(TABLE);
        input["status_refresh_minutes"] = json!(1);
        let mut asked: Vec<Value> = catalogue::all()
            .iter()
            .map(|query| json!({ "catalog": query.id }))
            .collect();
        asked.push(json!({"catalog": "large-objects", "parameters": {"size": 0}}));
        asked.push(json!({
            "catalog": "backup-comparison",
            "parameters": {"bucket": "catalogue-photos-backup", "backup": "catalogue-photos"},
        }));
        input["athena_queries"] = json!(asked);

        let ended = platform.harvest(&input).await?;
        for query in &ended.parts.queries {
            assert_eq!(query.state, QueryState::Succeeded, "{query:#?}");
        }
        check_outcome(&ended, Outcome::Complete);
        let queries = &ended.parts.queries;
        let rows: Vec<u64> = queries.iter().filter_map(|query| query.rows).collect();
        assert_eq!(rows.len(), catalogue::all().len() + 2);
        let found: BTreeMap<&str, u64> = ids().zip(rows.iter().copied()).collect();
        assert!(ROWS.iter().all(|(id, _)| found.contains_key(id)));
        for (id, query) in ids().zip(queries) {
            let expected = ROWS.iter().find(|(known, _)| *known == id);
            let expected = expected.map_or(query.rows, |(_, rows)| Some(*rows));
            assert_eq!(query.rows, expected, "{id}: {:#?}", query.sample);
        }
        // With parameters: every object that is current; b.jpg and shop.sql.gz differ both ways.
        assert_eq!(rows[rows.len() - 2..], [15, 2]);
        let name = &queries[rows.len() - 2].name;
        assert_eq!(name, "Large objects (size = 0)");
        let mail = platform.mail_of("catalogue").await?;
        assert!(
            mail.text.contains("Large objects (size = 0)"),
            "{}",
            mail.text
        );
        check_saved_queries(platform, &found).await
    });
}

fn ids() -> impl Iterator<Item = &'static str> {
    catalogue::all().iter().map(|query: &Query| query.id)
}

async fn fill(platform: &Platform) -> Result<()> {
    let s3 = platform.s3(ACCOUNT, "us-east-1");
    let mut made: Vec<&str> = Vec::new();
    for (bucket, key, content) in OBJECTS {
        if !made.contains(bucket) {
            s3.create_bucket().bucket(*bucket).send().await?;
            made.push(bucket);
        }
        if *bucket == "catalogue-versions" {
            keep_versions(&s3, bucket).await?;
        }
        let mut put = s3.put_object().bucket(*bucket).key(*key);
        if *key == "a.jpg" && *bucket == "catalogue-photos" {
            put = put.storage_class(StorageClass::StandardIa);
        }
        put.body(content.as_bytes().to_vec().into()).send().await?;
    }
    let gone = s3.delete_object().bucket("catalogue-versions").key("gone");
    gone.send().await?;
    Ok(())
}

/// As `docs/analysis-techniques.md` says, with the statement of that page.
async fn make_table_of_hashes(platform: &Platform) -> Result<()> {
    let home = platform.output("ConsolidatedBucketName");
    let hashes = format!("md5,name\n{},of a test\n", BAD_MD5.to_uppercase());
    platform
        .s3(&platform.aws.host_account_id, &platform.aws.region)
        .put_object()
        .bucket(home)
        .key("lookup/known-bad-hashes/hashes.csv")
        .body(hashes.into_bytes().into())
        .send()
        .await?;
    platform.clients.create_database(DATABASE).await?;
    let page = repository_file("docs/analysis-techniques.md")?;
    let (_, statement) = page
        .split_once("```sql\nCREATE EXTERNAL TABLE s3insights.")
        .context("the page says how")?;
    let (statement, _) = statement
        .split_once("\n```")
        .context("the statement ends")?;
    let statement = format!("CREATE EXTERNAL TABLE {DATABASE}.{statement}")
        .replace("<ConsolidatedBucketName>", home);
    query(platform, DATABASE, &statement).await?;
    Ok(())
}

/// The embedded CloudFormation has no saved queries, so they are taken out of the template and run.
async fn check_saved_queries(platform: &Platform, found: &BTreeMap<&str, u64>) -> Result<()> {
    let template = repository_file("cfn/saved-queries.yaml")?;
    let resources: Vec<&str> = template
        .split("      QueryString: !Sub |-\n")
        .skip(1)
        .collect();
    assert_eq!(resources.len(), found.len());
    for (resource, id) in resources.into_iter().zip(ids()) {
        let lines = resource
            .lines()
            .map_while(|line| line.strip_prefix("        "));
        let sql = lines
            .collect::<Vec<_>>()
            .join("\n")
            .replace("${DatabaseName}", DATABASE)
            .replace("${TableName}", TABLE);
        let rows = query(platform, DATABASE, &sql).await?;
        // Time has passed since the run started, but not a day.
        assert_eq!(rows.len() as u64, found[id], "{id}");
    }
    Ok(())
}

fn repository_file(path: &str) -> Result<String> {
    let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).context(path)
}
