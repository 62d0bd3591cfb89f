//! S3, as far as the buckets are our own or we are allowed to read them.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;
use real_shared::aws::{AwsError, Class, Emptied};
use real_shared::ids::{BucketName, Region};
use real_shared::manifest::Md5Hash;

use super::{Clients, error};
use crate::consolidation::ReadAt;
use crate::inventory;
use crate::world::{State, World};

impl Clients {
    /// The objects of our buckets.
    pub fn objects(&self, _region: &Region) -> Objects {
        Objects {
            world: self.world.clone(),
        }
    }

    /// The Region of a bucket.
    pub async fn region_of_bucket(&self, bucket: &BucketName) -> Result<Region, AwsError> {
        let region = self.region();
        self.world
            .request("HeadBucket", || bucket.to_string(), |_| Ok(region.clone()))
            .await
    }
}

/// The objects of our own buckets.
#[derive(Debug, Clone)]
pub struct Objects {
    world: World,
}

fn place(bucket: &BucketName, key: &str) -> (String, String) {
    (bucket.to_string(), key.to_owned())
}

fn keys(state: &State, bucket: &str, prefix: &str) -> Vec<String> {
    let from = (bucket.to_owned(), prefix.to_owned());
    let found = state.objects.range(from..);
    found
        .take_while(|((of, key), _)| of == bucket && key.starts_with(prefix))
        .map(|((_, key), _)| key.clone())
        .collect()
}

impl Objects {
    /// The whole object.
    pub async fn get(&self, bucket: &BucketName, key: &str) -> Result<Option<Bytes>, AwsError> {
        let place = place(bucket, key);
        self.world
            .request(
                "GetObject",
                || format!("{bucket}/{key}"),
                |state| Ok(state.objects.get(&place).cloned()),
            )
            .await
    }

    /// The same: what is simulated is small.
    pub async fn get_at_most(
        &self,
        bucket: &BucketName,
        key: &str,
        _max_bytes: usize,
    ) -> Result<Option<Bytes>, AwsError> {
        self.get(bucket, key).await
    }

    /// Writes an object.
    pub async fn put(
        &self,
        bucket: &BucketName,
        key: &str,
        _content_type: &str,
        body: Bytes,
    ) -> Result<(), AwsError> {
        self.world
            .request(
                "PutObject",
                || format!("{bucket}/{key}"),
                |state| {
                    state.put_object(bucket.as_str(), key, body.clone());
                    Ok(())
                },
            )
            .await
    }

    /// Writes an object unless there is one.
    pub async fn put_new(
        &self,
        bucket: &BucketName,
        key: &str,
        _content_type: &str,
        body: Bytes,
    ) -> Result<bool, AwsError> {
        let place = place(bucket, key);
        self.world
            .request(
                "PutObject",
                || format!("{bucket}/{key}"),
                |state| {
                    if state.objects.contains_key(&place) {
                        return Ok(false);
                    }
                    Ok(state.put_object(bucket.as_str(), key, body.clone()))
                },
            )
            .await
    }

    /// Keys under a prefix.
    pub async fn list(&self, bucket: &BucketName, prefix: &str) -> Result<Vec<String>, AwsError> {
        self.world
            .request(
                "ListObjectsV2",
                || format!("{bucket}/{prefix}"),
                |state| Ok(keys(state, bucket.as_str(), prefix)),
            )
            .await
    }

    /// Deletes keys.
    pub async fn delete(&self, bucket: &BucketName, keys: &[String]) -> Result<(), AwsError> {
        if keys.is_empty() {
            return Ok(());
        }
        self.world
            .request(
                "DeleteObjects",
                || format!("{bucket} {keys:?}"),
                |state| {
                    for key in keys {
                        state.objects.remove(&place(bucket, key));
                    }
                    Ok(())
                },
            )
            .await
    }

    /// Empties a bucket, a page of two at a time.
    pub async fn empty_bucket(
        &self,
        bucket: &BucketName,
        _stop_at: Instant,
    ) -> Result<Emptied, AwsError> {
        loop {
            let page = self
                .world
                .request(
                    "ListObjectVersions",
                    || bucket.to_string(),
                    |state| Ok(keys(state, bucket.as_str(), "")),
                )
                .await?;
            if page.is_empty() {
                return Ok(Emptied::Whole);
            }
            self.delete(bucket, &page[..page.len().min(2)]).await?;
        }
    }

    /// Whether a bucket holds nothing.
    pub async fn is_empty(&self, bucket: &BucketName) -> Result<bool, AwsError> {
        self.world
            .request(
                "ListObjectVersions",
                || bucket.to_string(),
                |state| Ok(keys(state, bucket.as_str(), "").is_empty()),
            )
            .await
    }

    /// A file to be read.
    pub async fn delivered_file(
        &self,
        bucket: &BucketName,
        key: &str,
    ) -> Result<Option<DeliveredFile>, AwsError> {
        let place = place(bucket, key);
        let world = self.world.clone();
        self.world
            .request(
                "HeadObject",
                || format!("{bucket}/{key}"),
                |state| {
                    let tells = state.rng.bool();
                    let body = state.objects.get(&place);
                    Ok(body.map(|body| DeliveredFile {
                        world: world.clone(),
                        place: place.clone(),
                        e_tag: Md5Hash::of(body),
                        tells_md5: tells,
                    }))
                },
            )
            .await
    }

    /// An object to be written with what is made of a delivered file.
    pub fn upload(
        &self,
        bucket: &BucketName,
        key: &str,
        _content_type: &str,
        _source: Option<&Arc<DeliveredFile>>,
    ) -> ConsolidatedUpload {
        ConsolidatedUpload {
            world: self.world.clone(),
            place: place(bucket, key),
            body: Bytes::new(),
        }
    }
}

/// A file that S3 delivered.
#[derive(Debug)]
pub struct DeliveredFile {
    world: World,
    place: (String, String),
    e_tag: Md5Hash,
    tells_md5: bool,
}

impl DeliveredFile {
    /// Its MD5, where S3 tells it.
    pub fn md5(&self) -> Option<Md5Hash> {
        self.tells_md5.then_some(self.e_tag)
    }

    /// When it was delivered, which only metrics tell.
    pub fn delivered_at(&self) -> Option<Timestamp> {
        None
    }
}

impl ReadAt for DeliveredFile {
    fn content(&self) -> io::Result<Bytes> {
        let failed = |code, class| Err(io::Error::other(error("GetObject", code, class)));
        let mut state = self.world.state();
        inventory::may_be_replaced(&mut state, &self.place);
        match state.objects.get(&self.place) {
            Some(body) if Md5Hash::of(body) == self.e_tag => Ok(body.clone()),
            Some(_) => failed("PreconditionFailed", Class::Other),
            None => failed("NoSuchKey", Class::Missing),
        }
    }
}

/// A file of the snapshot that is being written.
#[derive(Debug)]
pub struct ConsolidatedUpload {
    world: World,
    place: (String, String),
    body: Bytes,
}

impl ConsolidatedUpload {
    pub(crate) fn write(&mut self, body: Bytes) {
        self.body = body;
    }

    /// Bytes written.
    pub fn bytes_written(&self) -> u64 {
        self.body.len() as u64
    }

    /// Bytes copied within S3.
    pub fn bytes_copied(&self) -> u64 {
        0
    }

    /// Makes the object appear.
    pub fn complete(&mut self) -> Result<(), AwsError> {
        let mut state = self.world.state();
        let often = state.chaos.throttled;
        if state.happens(often) {
            return Err(error(
                "CompleteMultipartUpload",
                "SlowDown",
                Class::Throttled,
            ));
        }
        let (bucket, key) = &self.place;
        if state.refuses("CompleteMultipartUpload", || key.clone()) {
            let code = "AccessDenied";
            return Err(error("CompleteMultipartUpload", code, Class::Refused));
        }
        state.note(|| format!("  CompleteMultipartUpload {key}"));
        state.put_object(bucket, key, self.body.clone());
        Ok(())
    }

    /// Gives it up.
    pub fn abort(&mut self) -> Result<(), AwsError> {
        Ok(())
    }
}
