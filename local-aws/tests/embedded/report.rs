//! What is delivered, read back.

use std::collections::BTreeSet;

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{InventoryIncludedObjectVersions, ServerSideEncryption, StorageClass},
};
use parquet::record::{Field, RowAccessor as _};

use crate::support::*;

/// Values of one row by column name, as text.
fn value(row: &parquet::record::Row, name: &str) -> Option<String> {
    row.get_column_iter()
        .find(|(column, _)| *column == name)
        .and_then(|(_, field)| match field {
            Field::Null => None,
            Field::Str(text) => Some(text.clone()),
            other => Some(other.to_string()),
        })
}

#[tokio::test]
async fn a_report_is_laid_out_as_s3_does_and_matches_its_manifest() {
    let (client, source, destination) = source_and_destination("layout", 3).await;
    configure(&client, &source, "mine", &destination).await;
    let delivered = deliveries(&source, 1).await;
    assert_eq!(delivered[0].reason, None);

    let contents = contents(&destination).await;
    let folder = format!("{MEMBER}/{source}/mine");
    let (key, manifest) = manifests(&contents).pop().unwrap();
    let stamp = key
        .strip_prefix(&format!("{folder}/"))
        .unwrap()
        .strip_suffix("/manifest.json")
        .unwrap();
    assert!(
        jiff::civil::DateTime::strptime("%Y-%m-%dT%H-%MZ", stamp).is_ok(),
        "{stamp}"
    );
    let checksum = &contents[&format!("{folder}/{stamp}/manifest.checksum")];
    assert_eq!(checksum, md5_hex(&contents[&key]).as_bytes());
    let symlink_stamp = stamp.replace('T', "-").replace('Z', "");
    assert!(contents.contains_key(&format!("{folder}/hive/dt={symlink_stamp}/symlink.txt")));
    assert_eq!(contents.len(), 4);

    assert_eq!(manifest["sourceBucket"], source);
    assert_eq!(
        manifest["destinationBucket"],
        format!("arn:aws:s3:::{destination}")
    );
    assert_eq!(manifest["version"], "2016-11-30");
    assert_eq!(manifest["fileFormat"], "Parquet");
    assert!(
        manifest["creationTimestamp"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 1_700_000_000_000
    );
    assert_eq!(
        manifest["fileSchema"],
        "message s3.inventory {  required binary bucket (STRING);  required binary key (STRING);  \
         optional binary version_id (STRING);  optional boolean is_latest;  optional boolean is_delete_marker;  \
         optional int64 size;  optional int64 last_modified_date (TIMESTAMP(MILLIS,true));  \
         optional binary e_tag (STRING);  optional binary storage_class (STRING);  \
         optional binary encryption_status (STRING);}"
    );
    let file = &manifest["files"][0];
    let body = &contents[file["key"].as_str().unwrap()];
    assert!(
        file["key"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{folder}/data/"))
    );
    assert_eq!(file["size"], body.len());
    assert_eq!(file["MD5checksum"], md5_hex(body));
    assert_eq!(rows(body).len(), 3);
}

#[tokio::test]
async fn a_report_is_the_bucket_version_by_version_and_byte_for_byte() {
    let (client, source, destination) = source_and_destination("exact", 0).await;
    // Before versioning is on, objects get the null version.
    put(&client, &source, "from before", "one").await;
    enable_versioning(&client, &source).await;
    for key in ODD_KEYS.into_iter().chain(["from before"]) {
        put(&client, &source, key, "first").await;
        put(&client, &source, key, "second").await;
    }
    put(&client, &source, &"k".repeat(1024), "long").await;
    client
        .delete_object()
        .bucket(&source)
        .key("a b")
        .send()
        .await
        .unwrap();
    let kms = "arn:aws:kms:eu-west-1:444444444444:key/1";
    let put_special = || {
        client
            .put_object()
            .bucket(&source)
            .body(ByteStream::from_static(b"x"))
    };
    put_special()
        .key("ia")
        .storage_class(StorageClass::StandardIa)
        .send()
        .await
        .unwrap();
    put_special()
        .key("sse")
        .server_side_encryption(ServerSideEncryption::Aes256)
        .send()
        .await
        .unwrap();
    let with_kms = put_special()
        .key("kms")
        .server_side_encryption(ServerSideEncryption::AwsKms);
    with_kms.ssekms_key_id(kms).send().await.unwrap();

    configure(&client, &source, "mine", &destination).await;
    assert_eq!(deliveries(&source, 1).await[0].reason, None);
    let contents = contents(&destination).await;
    let (_, manifest) = manifests(&contents).pop().unwrap();
    let reported = rows(&contents[manifest["files"][0]["key"].as_str().unwrap()]);

    let expected = listed_versions(&client, &source).await;
    let found: BTreeSet<_> = reported
        .iter()
        .map(|row| {
            let size = value(row, "size").map(|size| size.parse::<i64>().unwrap());
            assert_eq!(
                size.is_none(),
                row.get_bool(4).unwrap(),
                "only delete markers have no size"
            );
            (
                row.get_string(1).unwrap().clone(),
                row.get_string(2).unwrap().clone(),
                row.get_bool(3).unwrap(),
                size.zip(value(row, "e_tag")),
                row.get_timestamp_millis(6).ok(),
            )
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(reported.len(), expected.len());
    assert!(
        found
            .iter()
            .any(|(key, version, ..)| key == "from before" && version.is_empty())
    );

    let special = |key: &str, column: &str| {
        let row = reported
            .iter()
            .find(|row| row.get_string(1).unwrap() == key)
            .unwrap();
        value(row, column).unwrap()
    };
    assert_eq!(special("ia", "storage_class"), "STANDARD_IA");
    assert_eq!(special("sse", "encryption_status"), "SSE-S3");
    assert_eq!(special("kms", "encryption_status"), "SSE-KMS");
    assert_eq!(special("=1+1", "encryption_status"), "NOT-SSE");
}

#[tokio::test]
async fn a_report_of_current_objects_has_no_version_columns() {
    let (client, source, destination) = source_and_destination("current", 2).await;
    let mut current = configuration("mine", &destination);
    current.included_object_versions = InventoryIncludedObjectVersions::Current;
    let put = client
        .put_bucket_inventory_configuration()
        .bucket(&source)
        .id("mine");
    put.inventory_configuration(current).send().await.unwrap();
    deliveries(&source, 1).await;
    let contents = contents(&destination).await;
    let (_, manifest) = manifests(&contents).pop().unwrap();
    assert!(
        !manifest["fileSchema"]
            .as_str()
            .unwrap()
            .contains("version_id")
    );
    assert_eq!(
        rows(&contents[manifest["files"][0]["key"].as_str().unwrap()]).len(),
        2
    );
}

#[tokio::test]
async fn an_empty_bucket_gets_no_report_and_one_with_old_versions_alone_gets_one() {
    let (client, source, destination) = source_and_destination("hollow", 0).await;
    configure(&client, &source, "empty", &destination).await;
    let delivered = deliveries(&source, 1).await;
    assert!(delivered[0].reason.as_ref().unwrap().contains("empty"));
    assert!(contents(&destination).await.is_empty());

    enable_versioning(&client, &source).await;
    put(&client, &source, "gone", "x").await;
    client
        .delete_object()
        .bucket(&source)
        .key("gone")
        .send()
        .await
        .unwrap();
    configure(&client, &source, "versions", &destination).await;
    assert_eq!(deliveries(&source, 2).await[1].reason, None);
}

#[tokio::test]
async fn nothing_is_delivered_where_the_destination_does_not_let_s3_in() {
    let (client, source, destination) = source_and_destination("locked", 1).await;
    let host = s3(HOST).await;
    let other = delivery_policy(&destination, "555555555555").to_string();
    host.put_bucket_policy()
        .bucket(&destination)
        .policy(other)
        .send()
        .await
        .unwrap();
    configure(&client, &source, "one", &destination).await;
    assert!(
        deliveries(&source, 1).await[0]
            .reason
            .as_ref()
            .unwrap()
            .contains("does not let S3 deliver")
    );
    host.delete_bucket_policy()
        .bucket(&destination)
        .send()
        .await
        .unwrap();
    configure(&client, &source, "two", &destination).await;
    assert!(
        deliveries(&source, 2).await[1]
            .reason
            .as_ref()
            .unwrap()
            .contains("does not let S3 deliver")
    );
    assert!(contents(&destination).await.is_empty());
}
