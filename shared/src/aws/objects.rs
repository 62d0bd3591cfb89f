//! Objects of the platform's own buckets: destinations and the consolidated bucket.

use std::time::Instant;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};

use super::{AwsError, Class, Clients};
use crate::ids::{BucketName, Region};

/// Requests under way at once where many objects are read.
const CONCURRENCY: usize = 20;

/// The objects of our own buckets in one Region.
#[derive(Debug, Clone)]
pub struct Objects {
    pub(super) s3: Client,
}

impl Clients {
    /// The objects of the host account's buckets in one Region.
    pub fn objects(&self, region: &Region) -> Objects {
        Objects {
            s3: self.s3(region),
        }
    }

    /// The Region of a bucket that may be anybody's, with the platform's own credentials. S3 tells it
    /// also to those whom it refuses or sends to another Region.
    pub async fn region_of_bucket(&self, bucket: &BucketName) -> Result<Region, AwsError> {
        let operation = || format!("HeadBucket of {bucket}");
        let answer = self
            .s3(&self.region())
            .head_bucket()
            .bucket(bucket.as_str())
            .send()
            .await;
        let told = match &answer {
            Ok(answer) => answer.bucket_region(),
            Err(error) => error
                .raw_response()
                .and_then(|answer| answer.headers().get("x-amz-bucket-region")),
        };
        let known = told.map(Region::try_from);
        match (known, answer) {
            (Some(Ok(region)), _) => Ok(region),
            (_, Err(error)) => Err(AwsError::new(operation(), &error)),
            (_, Ok(_)) => Err(AwsError {
                operation: operation(),
                code: "UnknownRegion".into(),
                message: format!("S3 does not say where {bucket} is"),
                class: Class::Other,
            }),
        }
    }
}

/// How far the emptying of a bucket has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emptied {
    /// Nothing is left, or there is no such bucket.
    Whole,
    /// Time was up; call again.
    Partly,
}

impl Objects {
    /// The whole object, which is one of our own and so of a known size; `None` when there is none.
    pub async fn get(&self, bucket: &BucketName, key: &str) -> Result<Option<Bytes>, AwsError> {
        self.get_at_most(bucket, key, usize::MAX).await
    }

    /// A whole document of a report, which others may have written; `None` when there is none. No more than
    /// `max_bytes` are taken into memory: one that has more is an error of the class [`Class::TooLarge`].
    pub async fn get_at_most(
        &self,
        bucket: &BucketName,
        key: &str,
        max_bytes: usize,
    ) -> Result<Option<Bytes>, AwsError> {
        let operation = || format!("GetObject of {bucket}/{key}");
        let too_large = || AwsError {
            operation: operation(),
            code: "ManifestTooLarge".to_owned(),
            message: format!("{bucket}/{key} has more than {max_bytes} bytes"),
            class: Class::TooLarge,
        };
        let answer = match self
            .s3
            .get_object()
            .bucket(bucket.as_str())
            .key(key)
            .send()
            .await
        {
            Ok(answer) => answer,
            Err(error) => {
                let error = AwsError::new(operation(), &error);
                return if error.is_missing() {
                    Ok(None)
                } else {
                    Err(error)
                };
            }
        };
        let size = answer.content_length().unwrap_or_default();
        let size = usize::try_from(size).unwrap_or_default();
        if size > max_bytes {
            return Err(too_large());
        }
        let mut parts = answer.body;
        let mut body = BytesMut::with_capacity(size);
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| AwsError {
                operation: operation(),
                code: "RequestFailed".into(),
                message: error.to_string(),
                class: Class::Unavailable,
            })?;
            // S3 tells the size beforehand, and whoever does not is not believed.
            if body.len() + part.len() > max_bytes {
                return Err(too_large());
            }
            body.extend_from_slice(&part);
        }
        Ok(Some(body.freeze()))
    }

    /// Writes an object.
    pub async fn put(
        &self,
        bucket: &BucketName,
        key: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<(), AwsError> {
        self.s3
            .put_object()
            .bucket(bucket.as_str())
            .key(key)
            .content_type(content_type)
            .body(ByteStream::from(body))
            .send()
            .await
            .map_err(|error| AwsError::new(format!("PutObject of {bucket}/{key}"), &error))?;
        Ok(())
    }

    /// Writes an object unless there is one of that key, which then stays. Whether it was written.
    pub async fn put_new(
        &self,
        bucket: &BucketName,
        key: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<bool, AwsError> {
        let answer = self
            .s3
            .put_object()
            .bucket(bucket.as_str())
            .key(key)
            .content_type(content_type)
            .if_none_match("*")
            .body(ByteStream::from(body))
            .send()
            .await;
        match answer.map_err(|error| AwsError::new(format!("PutObject of {bucket}/{key}"), &error))
        {
            Ok(_) => Ok(true),
            Err(error) if error.code == "PreconditionFailed" => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Many whole objects, in the order of their keys; those that are gone meanwhile are left out.
    pub async fn get_many(
        &self,
        bucket: &BucketName,
        keys: &[String],
    ) -> Result<Vec<(String, Bytes)>, AwsError> {
        futures::stream::iter(keys)
            .map(async |key| Ok(self.get(bucket, key).await?.map(|body| (key.clone(), body))))
            .buffered(CONCURRENCY)
            .try_filter_map(async |found| Ok(found))
            .try_collect()
            .await
    }

    /// Keys under a prefix.
    pub async fn list(&self, bucket: &BucketName, prefix: &str) -> Result<Vec<String>, AwsError> {
        let mut pages = self
            .s3
            .list_objects_v2()
            .bucket(bucket.as_str())
            .prefix(prefix)
            .into_paginator()
            .send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| {
                AwsError::new(format!("ListObjectsV2 of {bucket}/{prefix}"), &error)
            })?;
            keys.extend(
                page.contents()
                    .iter()
                    .filter_map(|object| object.key().map(str::to_owned)),
            );
        }
        Ok(keys)
    }

    /// Deletes the given keys; absent ones count as deleted.
    pub async fn delete(&self, bucket: &BucketName, keys: &[String]) -> Result<(), AwsError> {
        for chunk in keys.chunks(1_000) {
            let identifiers = chunk
                .iter()
                .map(|key| {
                    ObjectIdentifier::builder()
                        .key(key)
                        .build()
                        .expect("the key is set")
                })
                .collect();
            delete_identified(&self.s3, bucket, identifiers).await?;
        }
        Ok(())
    }

    /// Deletes every object, version, delete marker and unfinished upload of a bucket until it is
    /// empty or `stop_at` has come. A bucket that is not there is empty.
    pub async fn empty_bucket(
        &self,
        bucket: &BucketName,
        stop_at: Instant,
    ) -> Result<Emptied, AwsError> {
        let emptied = async {
            let emptied = empty_versions(&self.s3, bucket, stop_at).await?;
            if emptied == Emptied::Whole {
                abort_uploads(&self.s3, bucket).await?;
            }
            Ok(emptied)
        };
        match emptied.await {
            // Never made, or deleted under way by another Cleanup.
            Err(error) if AwsError::is_missing(&error) => Ok(Emptied::Whole),
            emptied => emptied,
        }
    }

    /// Whether a bucket holds no version and no delete marker; a bucket that is not there holds none.
    pub async fn is_empty(&self, bucket: &BucketName) -> Result<bool, AwsError> {
        let answer = self
            .s3
            .list_object_versions()
            .bucket(bucket.as_str())
            .max_keys(1)
            .send()
            .await;
        match answer {
            Ok(answer) => Ok(answer.versions().is_empty() && answer.delete_markers().is_empty()),
            Err(error) => {
                let error = AwsError::new(format!("ListObjectVersions of {bucket}"), &error);
                if error.is_missing() {
                    Ok(true)
                } else {
                    Err(error)
                }
            }
        }
    }
}

async fn empty_versions(
    s3: &Client,
    bucket: &BucketName,
    stop_at: Instant,
) -> Result<Emptied, AwsError> {
    loop {
        let page = s3
            .list_object_versions()
            .bucket(bucket.as_str())
            .send()
            .await
            .map_err(|error| AwsError::new(format!("ListObjectVersions of {bucket}"), &error))?;
        let versions = page.versions().iter().map(|v| (v.key(), v.version_id()));
        let markers = page
            .delete_markers()
            .iter()
            .map(|m| (m.key(), m.version_id()));
        let identifiers: Vec<ObjectIdentifier> = versions
            .chain(markers)
            .filter_map(|(key, version)| {
                ObjectIdentifier::builder()
                    .key(key?)
                    .set_version_id(version.map(str::to_owned))
                    .build()
                    .ok()
            })
            .collect();
        if identifiers.is_empty() {
            return Ok(Emptied::Whole);
        }
        delete_identified(s3, bucket, identifiers).await?;
        if Instant::now() >= stop_at {
            return Ok(Emptied::Partly);
        }
    }
}

async fn delete_identified(
    s3: &Client,
    bucket: &BucketName,
    identifiers: Vec<ObjectIdentifier>,
) -> Result<(), AwsError> {
    let operation = || format!("DeleteObjects of {bucket}");
    let answer = s3
        .delete_objects()
        .bucket(bucket.as_str())
        .delete(
            Delete::builder()
                .set_objects(Some(identifiers))
                .quiet(true)
                .build()
                .expect("the objects are set"),
        )
        .send()
        .await
        .map_err(|error| AwsError::new(operation(), &error))?;
    // S3 answers 200 also when single keys could not be deleted.
    if let Some(error) = answer
        .errors()
        .iter()
        .find(|error| error.code() != Some("NoSuchKey"))
    {
        return Err(AwsError {
            operation: operation(),
            code: error.code().unwrap_or("Unknown").to_owned(),
            message: format!(
                "{} (key {})",
                error.message().unwrap_or_default(),
                error.key().unwrap_or_default()
            ),
            class: Class::Unavailable,
        });
    }
    Ok(())
}

async fn abort_uploads(s3: &Client, bucket: &BucketName) -> Result<(), AwsError> {
    loop {
        let page = s3
            .list_multipart_uploads()
            .bucket(bucket.as_str())
            .send()
            .await
            .map_err(|error| AwsError::new(format!("ListMultipartUploads of {bucket}"), &error))?;
        if page.uploads().is_empty() {
            return Ok(());
        }
        for upload in page.uploads() {
            let answer = s3
                .abort_multipart_upload()
                .bucket(bucket.as_str())
                .set_key(upload.key().map(str::to_owned))
                .set_upload_id(upload.upload_id().map(str::to_owned))
                .send()
                .await;
            if let Err(error) = answer {
                let error = AwsError::new(format!("AbortMultipartUpload in {bucket}"), &error);
                if !error.is_missing() {
                    return Err(error);
                }
            }
        }
    }
}
