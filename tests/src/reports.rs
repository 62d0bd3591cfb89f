//! Inventory reports that exist before a run: those that S3 delivered for the owner of a bucket, and
//! those that a test made itself.

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::types::{
    BucketLocationConstraint, CompletedMultipartUpload, CompletedPart, CreateBucketConfiguration,
    InventoryConfiguration, InventoryDestination, InventoryFormat, InventoryFrequency,
    InventoryIncludedObjectVersions, InventoryOptionalField, InventoryS3BucketDestination,
    InventorySchedule,
};
use serde_json::json;
use shared::manifest::{FileFormat, Md5Hash};
use shared::snapshot_schema::OPTIONAL_FIELDS;

use crate::{Platform, SyntheticRows};

/// Owns the buckets with reports, and is in no run.
const ACCOUNT: &str = "520000000009";
/// Region of those buckets, and of the buckets that are reported on.
const REGION: &str = "eu-west-1";

/// Bytes of one part of a file that is put in parts.
const PART_BYTES: usize = 5 * 1024 * 1024;

/// A bucket that S3 may deliver reports into and the host account may read.
#[derive(Debug)]
pub struct ReportsBucket<'a> {
    platform: &'a Platform,
    name: &'a str,
}

/// A report that a test made: its manifest and checksum are there, its one data file is not yet.
#[derive(Debug)]
pub struct MadeReport {
    /// Place of the manifest, as a run input names it.
    pub manifest: String,
    /// Key of the data file.
    pub key: String,
    /// What the manifest says is in it.
    pub content: Vec<u8>,
}

impl<'a> ReportsBucket<'a> {
    /// Makes the bucket.
    pub async fn make(platform: &'a Platform, name: &'a str) -> Result<Self> {
        let bucket = Self { platform, name };
        let place = CreateBucketConfiguration::builder()
            .location_constraint(BucketLocationConstraint::from(REGION))
            .build();
        bucket
            .s3()
            .create_bucket()
            .bucket(name)
            .create_bucket_configuration(place)
            .send()
            .await?;
        let arn = format!("arn:aws:s3:::{name}");
        let host = format!("arn:aws:iam::{}:root", platform.aws.host_account_id);
        let policy = json!({"Version": "2012-10-17", "Statement": [
            {"Sid": "Deliver", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"},
             "Action": "s3:PutObject", "Resource": format!("{arn}/*")},
            {"Sid": "Read", "Effect": "Allow", "Principal": {"AWS": host},
             "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": [arn, format!("{arn}/*")]},
        ]});
        bucket
            .s3()
            .put_bucket_policy()
            .bucket(name)
            .policy(policy.to_string())
            .send()
            .await?;
        Ok(bucket)
    }

    fn s3(&self) -> aws_sdk_s3::Client {
        self.platform.s3(ACCOUNT, REGION)
    }

    /// Has S3 report on a source bucket as its owner does, once, and gives the place of the manifest.
    pub async fn report_of(
        &self,
        account: &str,
        source: &str,
        format: InventoryFormat,
    ) -> Result<String> {
        let s3 = self.platform.s3(account, REGION);
        s3.put_bucket_inventory_configuration()
            .bucket(source)
            .id("daily")
            .inventory_configuration(self.configuration(format)?)
            .send()
            .await?;
        let mut keys = Vec::new();
        self.platform
            .eventually(&format!("the owner's report of {source}"), async || {
                let deliveries = self.platform.aws.deliveries(source).await?;
                let Some(delivery) = deliveries.into_iter().next() else {
                    return Ok(false);
                };
                ensure!(delivery.reason.is_none(), "{delivery:?}");
                keys = delivery.keys;
                Ok(true)
            })
            .await?;
        s3.delete_bucket_inventory_configuration()
            .bucket(source)
            .id("daily")
            .send()
            .await?;
        let manifest = keys
            .iter()
            .find(|key| key.ends_with("/manifest.json"))
            .with_context(|| format!("a report has a manifest: {keys:?}"))?;
        Ok(self.uri(manifest))
    }

    fn configuration(&self, format: InventoryFormat) -> Result<InventoryConfiguration> {
        let destination = InventoryS3BucketDestination::builder()
            .bucket(format!("arn:aws:s3:::{}", self.name))
            .account_id(ACCOUNT)
            .format(format)
            .prefix("team/storage")
            .build()?;
        let fields = OPTIONAL_FIELDS.map(InventoryOptionalField::from);
        Ok(InventoryConfiguration::builder()
            .id("daily")
            .is_enabled(true)
            .included_object_versions(InventoryIncludedObjectVersions::All)
            .set_optional_fields(Some(fields.to_vec()))
            .schedule(
                InventorySchedule::builder()
                    .frequency(InventoryFrequency::Weekly)
                    .build()?,
            )
            .destination(
                InventoryDestination::builder()
                    .s3_bucket_destination(destination)
                    .build(),
            )
            .build()?)
    }

    /// Makes a report on a source bucket, of one file with these rows, but for that file.
    pub async fn make_report(
        &self,
        source: &str,
        format: FileFormat,
        rows: &SyntheticRows,
    ) -> Result<MadeReport> {
        let file = rows.file(source, format)?;
        let home = format!("made/{source}/weekly");
        let key = format!("{home}/data/rows.{}", file.ending);
        let manifest = json!({
            "sourceBucket": source,
            "destinationBucket": format!("arn:aws:s3:::{}", self.name),
            "version": "2016-11-30",
            "creationTimestamp": "1772323200000",
            "fileFormat": format,
            "fileSchema": file.schema,
            "files": [{
                "key": key,
                "size": file.content.len(),
                "MD5checksum": Md5Hash::of(&file.content),
            }],
        })
        .to_string();
        let checksum = Md5Hash::of(manifest.as_bytes()).to_string();
        let folder = format!("{home}/2026-03-01T00-00Z");
        let manifest_key = format!("{folder}/manifest.json");
        self.put(&manifest_key, manifest.into_bytes()).await?;
        self.put(
            &format!("{folder}/manifest.checksum"),
            checksum.into_bytes(),
        )
        .await?;
        Ok(MadeReport {
            manifest: self.uri(&manifest_key),
            key,
            content: file.content,
        })
    }

    /// Puts a file in one piece, so that its `ETag` is its MD5.
    pub async fn put(&self, key: &str, content: Vec<u8>) -> Result<()> {
        self.s3()
            .put_object()
            .bucket(self.name)
            .key(key)
            .body(content.into())
            .send()
            .await?;
        Ok(())
    }

    /// Puts a file in parts, so that its `ETag` is no MD5.
    pub async fn put_in_parts(&self, key: &str, content: &[u8]) -> Result<()> {
        let s3 = self.s3();
        let begun = s3
            .create_multipart_upload()
            .bucket(self.name)
            .key(key)
            .send()
            .await?;
        let upload = begun.upload_id().context("an upload has an id")?;
        let mut parts = Vec::new();
        for (number, part) in (1..).zip(content.chunks(PART_BYTES)) {
            let sent = s3
                .upload_part()
                .bucket(self.name)
                .key(key)
                .upload_id(upload)
                .part_number(number)
                .body(part.to_vec().into())
                .send()
                .await?;
            let part = CompletedPart::builder().part_number(number);
            parts.push(part.set_e_tag(sent.e_tag).build());
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts));
        s3.complete_multipart_upload()
            .bucket(self.name)
            .key(key)
            .upload_id(upload)
            .multipart_upload(parts.build())
            .send()
            .await?;
        Ok(())
    }

    /// Adds a byte to a manifest.
    pub async fn damage(&self, manifest: &str) -> Result<()> {
        let key = manifest
            .strip_prefix(&self.uri(""))
            .context("it is in the bucket")?;
        let object = self
            .s3()
            .get_object()
            .bucket(self.name)
            .key(key)
            .send()
            .await?;
        let mut body = object.body.collect().await?.to_vec();
        body.push(b' ');
        self.put(key, body).await
    }

    fn uri(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }
}
