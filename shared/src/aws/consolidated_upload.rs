//! A consolidated file on its way into S3: bytes of the delivered file are copied within S3, the
//! others are uploaded.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures::StreamExt;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::delivered_file::Place;
use super::{AwsError, Class, DeliveredFile, Objects};
use crate::consolidation::{Output, ReadAt as _};
use crate::ids::BucketName;

/// The least that S3 takes for a part that is not the last.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const LEAST_PART: u64 = 5 * 1024 * 1024;

/// Bytes of an uploaded part: up to 10,000 of them are an object.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// The most bytes of a copied part. S3 takes 5 GiB, but several smaller ones are copied at a time.
const COPY_BYTES: u64 = 256 * 1024 * 1024;

/// Parts copied at a time.
const COPIES: usize = 8;

/// An object that is written part by part. Nothing is there until it is completed.
#[derive(Debug)]
pub struct ConsolidatedUpload {
    client: Client,
    bucket: BucketName,
    key: String,
    content_type: &'static str,
    source: Option<Arc<DeliveredFile>>,
    runtime: Handle,
    upload_id: Option<String>,
    parts: Vec<CompletedPart>,
    /// The part that is on its way.
    under_way: Option<JoinHandle<Result<CompletedPart, AwsError>>>,
    next_part: i32,
    buffer: Vec<u8>,
    bytes_written: u64,
    bytes_copied: u64,
}

impl Objects {
    /// Begins an object, of which the first bytes may be copied from a delivered file. Must be
    /// called where tokio runs, and written to where it may be waited for.
    pub fn upload(
        &self,
        bucket: &BucketName,
        key: &str,
        content_type: &'static str,
        source: Option<&Arc<DeliveredFile>>,
    ) -> ConsolidatedUpload {
        ConsolidatedUpload {
            client: self.s3.clone(),
            bucket: bucket.clone(),
            key: key.to_owned(),
            content_type,
            source: source.map(Arc::clone),
            runtime: Handle::current(),
            upload_id: None,
            parts: Vec::new(),
            under_way: None,
            next_part: 1,
            buffer: Vec::new(),
            bytes_written: 0,
            bytes_copied: 0,
        }
    }
}

impl ConsolidatedUpload {
    /// Bytes made by this process.
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    /// Bytes moved within S3.
    pub fn bytes_copied(&self) -> u64 {
        self.bytes_copied
    }

    /// Makes the object. Blocks.
    ///
    /// # Errors
    /// When S3 refuses; then nothing is there, but parts that [`Self::abort`] takes back.
    pub fn complete(&mut self) -> Result<(), AwsError> {
        let runtime = self.runtime.clone();
        runtime.block_on(async {
            if self.upload_id.is_none() {
                let body = Bytes::from(std::mem::take(&mut self.buffer));
                return self.put(body).await;
            }
            if !self.buffer.is_empty() {
                self.send_part().await?;
            }
            self.settle_part().await?;
            let mut parts = std::mem::take(&mut self.parts);
            parts.sort_by_key(CompletedPart::part_number);
            let parts = CompletedMultipartUpload::builder()
                .set_parts(Some(parts))
                .build();
            self.client
                .complete_multipart_upload()
                .bucket(self.bucket.as_str())
                .key(&self.key)
                .set_upload_id(self.upload_id.clone())
                .multipart_upload(parts)
                .send()
                .await
                .map_err(|error| self.failed("CompleteMultipartUpload", &error))?;
            self.upload_id = None;
            Ok(())
        })
    }

    /// Takes back what was uploaded so far. Blocks.
    ///
    /// # Errors
    /// When S3 refuses. The parts are then left to the bucket's lifecycle rule.
    pub fn abort(&mut self) -> Result<(), AwsError> {
        let runtime = self.runtime.clone();
        runtime.block_on(async {
            if let Some(part) = self.under_way.take() {
                // It would come back after the upload is gone.
                let _ = part.await;
            }
            self.parts.clear();
            self.buffer.clear();
            self.next_part = 1;
            let Some(upload_id) = self.upload_id.take() else {
                return Ok(());
            };
            self.client
                .abort_multipart_upload()
                .bucket(self.bucket.as_str())
                .key(&self.key)
                .upload_id(upload_id)
                .send()
                .await
                .map_err(|error| self.failed("AbortMultipartUpload", &error))?;
            Ok(())
        })
    }

    async fn put(&self, body: Bytes) -> Result<(), AwsError> {
        self.client
            .put_object()
            .bucket(self.bucket.as_str())
            .key(&self.key)
            .content_type(self.content_type)
            .body(ByteStream::from(body))
            .send()
            .await
            .map_err(|error| self.failed("PutObject", &error))?;
        Ok(())
    }

    async fn upload_id(&mut self) -> Result<String, AwsError> {
        if let Some(upload_id) = &self.upload_id {
            return Ok(upload_id.clone());
        }
        let answer = self
            .client
            .create_multipart_upload()
            .bucket(self.bucket.as_str())
            .key(&self.key)
            .content_type(self.content_type)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .send()
            .await
            .map_err(|error| self.failed("CreateMultipartUpload", &error))?;
        let upload_id = answer
            .upload_id()
            .ok_or_else(|| self.odd("CreateMultipartUpload", "the answer has no upload id"))?;
        self.upload_id = Some(upload_id.to_owned());
        Ok(upload_id.to_owned())
    }

    /// Sends the buffer as the next part, while it is filled anew.
    async fn send_part(&mut self) -> Result<(), AwsError> {
        let upload_id = self.upload_id().await?;
        self.settle_part().await?;
        let body = Bytes::from(std::mem::take(&mut self.buffer));
        let number = self.next_part;
        self.next_part += 1;
        let (client, bucket, key) = (self.client.clone(), self.bucket.clone(), self.key.clone());
        self.under_way = Some(tokio::spawn(async move {
            let answer = client
                .upload_part()
                .bucket(bucket.as_str())
                .key(&key)
                .upload_id(upload_id)
                .part_number(number)
                .checksum_algorithm(ChecksumAlgorithm::Crc32)
                .body(ByteStream::from(body))
                .send()
                .await
                .map_err(|error| AwsError::new(format!("UploadPart of {bucket}/{key}"), &error))?;
            Ok(CompletedPart::builder()
                .part_number(number)
                .set_e_tag(answer.e_tag().map(str::to_owned))
                .set_checksum_crc32(answer.checksum_crc32().map(str::to_owned))
                .build())
        }));
        Ok(())
    }

    async fn settle_part(&mut self) -> Result<(), AwsError> {
        if let Some(part) = self.under_way.take() {
            let part = part.await;
            self.parts
                .push(part.map_err(|error| self.odd("UploadPart", &error.to_string()))??);
        }
        Ok(())
    }

    async fn copy_parts(&mut self, source: &Place, length: u64) -> Result<(), AwsError> {
        let upload_id = self.upload_id().await?;
        let from = copy_source(&source.bucket, &source.key);
        let ranges = split(length);
        let count = ranges.len();
        let numbered = ranges.into_iter().zip(self.next_part..);
        let copies = futures::stream::iter(numbered).map(|(range, number)| {
            let answer = self
                .client
                .upload_part_copy()
                .bucket(self.bucket.as_str())
                .key(&self.key)
                .upload_id(&upload_id)
                .part_number(number)
                .copy_source(&from)
                .copy_source_range(format!("bytes={}-{}", range.start, range.end - 1))
                .copy_source_if_match(&source.e_tag)
                .send();
            async move { (number, answer.await) }
        });
        // All of them end before one's error is told: an upload is aborted when nothing is under way.
        let answers: Vec<_> = copies.buffer_unordered(COPIES).collect().await;
        let parts = answers
            .into_iter()
            .map(|(number, answer)| {
                let answer = answer.map_err(|error| self.failed("UploadPartCopy", &error))?;
                let result = answer
                    .copy_part_result()
                    .ok_or_else(|| self.odd("UploadPartCopy", "the answer has no result"))?;
                Ok(CompletedPart::builder()
                    .part_number(number)
                    .set_e_tag(result.e_tag().map(str::to_owned))
                    .set_checksum_crc32(result.checksum_crc32().map(str::to_owned))
                    .build())
            })
            .collect::<Result<Vec<CompletedPart>, AwsError>>()?;
        self.next_part += i32::try_from(count).unwrap_or(i32::MAX);
        self.parts.extend(parts);
        Ok(())
    }

    fn failed<E>(
        &self,
        operation: &str,
        error: &aws_sdk_s3::error::SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
    ) -> AwsError
    where
        E: std::error::Error + aws_sdk_s3::error::ProvideErrorMetadata + 'static,
    {
        AwsError::new(
            format!("{operation} of {}/{}", self.bucket, self.key),
            error,
        )
    }

    fn odd(&self, operation: &str, message: &str) -> AwsError {
        AwsError {
            operation: format!("{operation} of {}/{}", self.bucket, self.key),
            code: "RequestFailed".to_owned(),
            message: message.to_owned(),
            class: Class::Unavailable,
        }
    }
}

impl Write for ConsolidatedUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        self.bytes_written += bytes.len() as u64;
        if self.buffer.len() >= PART_BYTES {
            let runtime = self.runtime.clone();
            runtime
                .block_on(self.send_part())
                .map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }

    /// Does nothing: the object is whole when it is completed.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for ConsolidatedUpload {
    fn copy_delivered(&mut self, length: u64) -> io::Result<()> {
        let Some(source) = self.source.clone() else {
            return Err(io::Error::other("there is no delivered file to copy from"));
        };
        if length < LEAST_PART {
            // Too small for a part of its own.
            let bytes = source.read(0..length)?;
            self.buffer.extend_from_slice(&bytes);
            self.bytes_written += length;
        } else {
            let runtime = self.runtime.clone();
            let copied = runtime.block_on(self.copy_parts(source.place(), length));
            copied.map_err(io::Error::other)?;
            self.bytes_copied += length;
        }
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.abort().map_err(io::Error::other)?;
        self.bytes_written = 0;
        self.bytes_copied = 0;
        Ok(())
    }
}

/// The ranges that so many bytes are copied in: all of about the same size, so that none is too small.
fn split(length: u64) -> Vec<Range<u64>> {
    let count = length.div_ceil(COPY_BYTES);
    let place = |index: u64| {
        let place = u128::from(length) * u128::from(index) / u128::from(count);
        u64::try_from(place).unwrap_or(length)
    };
    (0..count)
        .map(|index| place(index)..place(index + 1))
        .collect()
}

/// The header that names the source of a copy: its key is URL-encoded.
fn copy_source(bucket: &BucketName, key: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    format!("{bucket}/{}", utf8_percent_encode(key, KEPT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_the_limits_of_s3() {
        const GIB: u64 = 1 << 30;
        for length in [
            LEAST_PART,
            COPY_BYTES,
            COPY_BYTES + 1,
            5 * GIB + 7,
            2_000 * GIB,
        ] {
            let ranges = split(length);
            assert_eq!(ranges.first().map(|range| range.start), Some(0));
            assert_eq!(ranges.last().map(|range| range.end), Some(length));
            for [one, next] in ranges.array_windows() {
                assert_eq!(one.end, next.start);
            }
            for range in &ranges {
                let bytes = range.end - range.start;
                assert!(
                    (LEAST_PART..=5 * GIB).contains(&bytes),
                    "{range:?} of {length}"
                );
            }
            assert!(ranges.len() < 10_000, "room for the parts that follow");
        }
    }

    #[test]
    fn keys_are_encoded_in_the_source_of_a_copy() {
        let bucket = BucketName::try_from("reports").unwrap();
        assert_eq!(
            copy_source(&bucket, "a b/ü+%.parquet"),
            "reports/a%20b/%C3%BC%2B%25.parquet"
        );
    }
}
