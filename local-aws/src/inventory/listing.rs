//! What is in a bucket, read as anybody would: by listing it.

use std::collections::HashMap;

use anyhow::{Context, Result};
use aws_sdk_s3::{
    primitives::DateTime,
    types::{ChecksumAlgorithm, EncodingType},
};
use percent_encoding::percent_decode_str;

use super::{
    report::{Field, Row},
    upstream::{Bucket, Upstream},
};

/// Reads every version and delete marker, or every current object, under a prefix.
pub(crate) async fn read(
    upstream: &Upstream,
    bucket: &Bucket,
    all_versions: bool,
    prefix: Option<&str>,
    fields: &[Field],
) -> Result<Vec<Row>> {
    let mut rows = if all_versions {
        versions(upstream, bucket, prefix).await?
    } else {
        current(upstream, bucket, prefix).await?
    };
    if fields.iter().any(|field| field.needs_head()) {
        add_heads(upstream, bucket, &mut rows).await?;
    }
    Ok(rows)
}

async fn versions(upstream: &Upstream, bucket: &Bucket, prefix: Option<&str>) -> Result<Vec<Row>> {
    let client = upstream.s3(bucket);
    let mut rows = Vec::new();
    let (mut key_marker, mut version_marker) = (None, None);
    loop {
        let page = client
            .list_object_versions()
            .bucket(&bucket.name)
            .set_prefix(prefix.map(str::to_owned))
            .encoding_type(EncodingType::Url)
            .set_key_marker(key_marker)
            .set_version_id_marker(version_marker)
            .send()
            .await
            .with_context(|| format!("listing the versions in {}", bucket.name))?;
        let encoding = page.encoding_type();
        for version in page.versions() {
            rows.push(Row {
                key: decode(version.key(), encoding)?,
                version_id: version_id(version.version_id()),
                is_latest: version.is_latest().unwrap_or_default(),
                size: version.size(),
                last_modified: millis(version.last_modified()),
                e_tag: e_tag(version.e_tag()),
                storage_class: version
                    .storage_class()
                    .map(|class| class.as_str().to_owned()),
                is_multipart_uploaded: Some(is_multipart(version.e_tag())),
                checksum_algorithm: checksum(version.checksum_algorithm()),
                owner: version
                    .owner()
                    .and_then(|owner| owner.id())
                    .map(str::to_owned),
                ..Row::default()
            });
        }
        for marker in page.delete_markers() {
            rows.push(Row {
                key: decode(marker.key(), encoding)?,
                version_id: version_id(marker.version_id()),
                is_latest: marker.is_latest().unwrap_or_default(),
                is_delete_marker: true,
                last_modified: millis(marker.last_modified()),
                ..Row::default()
            });
        }
        if !page.is_truncated().unwrap_or_default() {
            return Ok(rows);
        }
        key_marker = page
            .next_key_marker()
            .map(|marker| decode(Some(marker), encoding))
            .transpose()?;
        version_marker = page.next_version_id_marker().map(str::to_owned);
    }
}

async fn current(upstream: &Upstream, bucket: &Bucket, prefix: Option<&str>) -> Result<Vec<Row>> {
    let client = upstream.s3(bucket);
    let mut rows = Vec::new();
    let mut pages = client
        .list_objects_v2()
        .bucket(&bucket.name)
        .set_prefix(prefix.map(str::to_owned))
        .encoding_type(EncodingType::Url)
        .fetch_owner(true)
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        let page = page.with_context(|| format!("listing the objects in {}", bucket.name))?;
        for object in page.contents() {
            rows.push(Row {
                key: decode(object.key(), page.encoding_type())?,
                is_latest: true,
                size: object.size(),
                last_modified: millis(object.last_modified()),
                e_tag: e_tag(object.e_tag()),
                storage_class: object
                    .storage_class()
                    .map(|class| class.as_str().to_owned()),
                is_multipart_uploaded: Some(is_multipart(object.e_tag())),
                checksum_algorithm: checksum(object.checksum_algorithm()),
                owner: object
                    .owner()
                    .and_then(|owner| owner.id())
                    .map(str::to_owned),
                ..Row::default()
            });
        }
    }
    Ok(rows)
}

async fn add_heads(upstream: &Upstream, bucket: &Bucket, rows: &mut [Row]) -> Result<()> {
    for some in rows.chunks_mut(1_000) {
        let mut objects: Vec<&mut Row> = some
            .iter_mut()
            .filter(|row| !row.is_delete_marker)
            .collect();
        let asked: Vec<(String, Option<String>)> = objects
            .iter()
            .map(|row| {
                let version = if row.version_id.is_empty() {
                    "null"
                } else {
                    &row.version_id
                };
                // The current object answers without a version, also in unversioned buckets.
                (
                    row.key.clone(),
                    (!row.is_latest).then(|| version.to_owned()),
                )
            })
            .collect();
        let heads = upstream.heads(bucket, &asked).await?;
        for (row, head) in objects.iter_mut().zip(heads) {
            if let Some(head) = head {
                apply_head(row, &head);
            }
        }
    }
    Ok(())
}

fn apply_head(row: &mut Row, head: &HashMap<String, String>) {
    let text = |name: &str| head.get(name).cloned();
    let encryption = match text("x-amz-server-side-encryption").as_deref() {
        Some("AES256") => "SSE-S3",
        Some("aws:kms") => "SSE-KMS",
        Some("aws:kms:dsse") => "DSSE-KMS",
        _ if head.contains_key("x-amz-server-side-encryption-customer-algorithm") => "SSE-C",
        _ => "NOT-SSE",
    };
    row.encryption_status = Some(encryption.to_owned());
    let bucket_key = head.get("x-amz-server-side-encryption-bucket-key-enabled");
    let enabled = bucket_key.is_some_and(|value| value.eq_ignore_ascii_case("true"));
    row.bucket_key_status = Some(if enabled { "ENABLED" } else { "DISABLED" }.to_owned());
    row.replication_status = text("x-amz-replication-status");
    row.lock_mode = text("x-amz-object-lock-mode");
    row.legal_hold = text("x-amz-object-lock-legal-hold");
    row.lock_retain_until = text("x-amz-object-lock-retain-until-date")
        .and_then(|moment| moment.parse::<jiff::Timestamp>().ok())
        .map(jiff::Timestamp::as_millisecond);
}

/// Keys are asked for URL-encoded, for XML cannot carry every character. The answer says whether
/// they are: MiniStack does it for objects and not for versions.
fn decode(key: Option<&str>, encoding: Option<&EncodingType>) -> Result<String> {
    let key = key.context("a listed object has no key")?;
    if encoding != Some(&EncodingType::Url) {
        return Ok(key.to_owned());
    }
    let key = key.replace('+', " ");
    Ok(percent_decode_str(&key)
        .decode_utf8()
        .context("a listed key is not UTF-8")?
        .into_owned())
}

fn version_id(listed: Option<&str>) -> String {
    listed
        .filter(|id| *id != "null")
        .unwrap_or_default()
        .to_owned()
}

fn e_tag(listed: Option<&str>) -> Option<String> {
    listed.map(|tag| tag.trim_matches('"').to_owned())
}

fn is_multipart(tag: Option<&str>) -> bool {
    tag.is_some_and(|tag| tag.contains('-'))
}

fn millis(moment: Option<&DateTime>) -> Option<i64> {
    moment.and_then(|moment| moment.to_millis().ok())
}

fn checksum(algorithms: &[ChecksumAlgorithm]) -> Option<String> {
    algorithms
        .first()
        .map(|algorithm| algorithm.as_str().to_owned())
}
