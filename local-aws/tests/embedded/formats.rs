//! The same bucket, reported in every format.

use std::{io::Read as _, num::NonZeroUsize};

use aws_sdk_s3::types::InventoryFormat;
use local_aws::inventory::Faults;
use orc_arrow_array::{
    Array as _,
    cast::AsArray as _,
    types::{Int64Type, TimestampNanosecondType},
};
use parquet::record::RowAccessor as _;
use percent_encoding::percent_decode_str;

use crate::support::*;

/// The rows of a data file in CSV, whose columns are those of [`configuration`].
fn csv_rows(file: &[u8]) -> Vec<Version> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(file)
        .read_to_string(&mut text)
        .unwrap();
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text.as_bytes());
    let read = |record: csv::StringRecord| {
        let key = record[1].replace('+', " ");
        let key = percent_decode_str(&key).decode_utf8().unwrap().into_owned();
        let size = (!record[5].is_empty()).then(|| record[5].parse().unwrap());
        let e_tag = (!record[7].is_empty()).then(|| record[7].to_owned());
        assert_eq!(size.is_none(), record[4].parse::<bool>().unwrap());
        let modified: jiff::Timestamp = record[6].parse().unwrap();
        (
            key,
            record[2].to_owned(),
            record[3].parse().unwrap(),
            size.zip(e_tag),
            Some(modified.as_millisecond()),
        )
    };
    reader
        .records()
        .map(|record| read(record.unwrap()))
        .collect()
}

/// The rows of a data file in ORC.
fn orc_rows(file: &[u8]) -> Vec<Version> {
    let file = bytes::Bytes::copy_from_slice(file);
    let reader = orc_rust::ArrowReaderBuilder::try_new(file).unwrap();
    let mut rows = Vec::new();
    for batch in reader.build() {
        let batch = batch.unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap();
        let text = |name: &str, row| column(name).as_string::<i32>().value(row).to_owned();
        let sizes = column("size").as_primitive::<Int64Type>();
        let times = column("last_modified_date").as_primitive::<TimestampNanosecondType>();
        for row in 0..batch.num_rows() {
            let has_content = sizes.is_valid(row);
            assert_eq!(column("e_tag").is_valid(row), has_content);
            assert_ne!(
                column("is_delete_marker").as_boolean().value(row),
                has_content
            );
            rows.push((
                text("key", row),
                text("version_id", row),
                column("is_latest").as_boolean().value(row),
                has_content.then(|| (sizes.value(row), text("e_tag", row))),
                Some(times.value(row) / 1_000_000),
            ));
        }
    }
    rows
}

/// The rows of a data file in Parquet.
fn parquet_rows(file: &[u8]) -> Vec<Version> {
    let read = |row: &parquet::record::Row| {
        let size = row.get_long(5).ok();
        assert_eq!(size.is_none(), row.get_bool(4).unwrap());
        (
            row.get_string(1).unwrap().clone(),
            row.get_string(2).unwrap().clone(),
            row.get_bool(3).unwrap(),
            size.zip(row.get_string(7).ok().cloned()),
            row.get_timestamp_millis(6).ok(),
        )
    };
    rows(file).iter().map(read).collect()
}

/// How a report of [`configuration`] is written in a format.
struct Written {
    extension: &'static str,
    schema: &'static str,
    read: fn(&[u8]) -> Vec<Version>,
}

fn written(format: &str) -> Written {
    match format {
        "CSV" => Written {
            extension: ".csv.gz",
            schema: "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, \
                 StorageClass, EncryptionStatus",
            read: csv_rows,
        },
        "ORC" => Written {
            extension: ".orc",
            schema: "struct<bucket:string,key:string,version_id:string,is_latest:boolean,\
                 is_delete_marker:boolean,size:bigint,last_modified_date:timestamp,e_tag:string,\
                 storage_class:string,encryption_status:string>",
            read: orc_rows,
        },
        _ => Written {
            extension: ".parquet",
            schema: "message s3.inventory {  required binary bucket (STRING);  \
                 required binary key (STRING);  optional binary version_id (STRING);  \
                 optional boolean is_latest;  optional boolean is_delete_marker;  \
                 optional int64 size;  optional int64 last_modified_date (TIMESTAMP(MILLIS,true));  \
                 optional binary e_tag (STRING);  optional binary storage_class (STRING);  \
                 optional binary encryption_status (STRING);}",
            read: parquet_rows,
        },
    }
}

#[tokio::test]
async fn a_bucket_is_reported_the_same_in_every_format_and_in_several_files() {
    let (client, source, destination) = source_and_destination("formats", 0).await;
    // Before versioning is on, objects get the null version.
    put(&client, &source, "from before", "one").await;
    enable_versioning(&client, &source).await;
    for key in ODD_KEYS {
        put(&client, &source, key, key).await;
    }
    let delete = client.delete_object().bucket(&source).key("a b");
    delete.send().await.unwrap();
    let faults = Faults {
        rows_per_file: NonZeroUsize::new(7),
        ..Faults::default()
    };
    shared().await.set_faults(&source, &faults).await.unwrap();

    let formats = [
        InventoryFormat::Csv,
        InventoryFormat::Orc,
        InventoryFormat::Parquet,
    ];
    for format in &formats {
        let id = format.as_str();
        let mut configuration = configuration(id, &destination);
        let places = configuration.destination.as_mut().unwrap();
        places.s3_bucket_destination.as_mut().unwrap().format = format.clone();
        let put = client.put_bucket_inventory_configuration().bucket(&source);
        put.id(id)
            .inventory_configuration(configuration)
            .send()
            .await
            .unwrap();
    }
    for delivery in deliveries(&source, formats.len()).await {
        assert_eq!(delivery.reason, None, "{}", delivery.configuration_id);
    }

    let expected = listed_versions(&client, &source).await;
    assert_eq!(expected.len(), 1 + ODD_KEYS.len() + 1);
    let contents = contents(&destination).await;
    let manifests = manifests(&contents);
    assert_eq!(manifests.len(), formats.len());
    for (key, manifest) in manifests {
        let format = manifest["fileFormat"].as_str().unwrap();
        assert!(key.starts_with(&format!("{MEMBER}/{source}/{format}/")));
        let checksum = &contents[&key.replace(".json", ".checksum")];
        assert_eq!(checksum, md5_hex(&contents[&key]).as_bytes());
        let written = written(format);
        assert_eq!(manifest["fileSchema"], written.schema);
        let mut found = Vec::new();
        for file in manifest["files"].as_array().unwrap() {
            let key = file["key"].as_str().unwrap();
            assert!(key.ends_with(written.extension), "{key}");
            let body = &contents[key];
            assert_eq!(file["size"], body.len());
            assert_eq!(file["MD5checksum"], md5_hex(body));
            let rows = (written.read)(body);
            assert!((1..=7).contains(&rows.len()), "{key}");
            found.extend(rows);
        }
        assert_eq!(manifest["files"].as_array().unwrap().len(), 3, "{format}");
        found.sort();
        assert!(found.iter().eq(&expected), "{format}: {found:#?}");
    }
}
