//! An inventory file in S3, read in ranges that are fetched ahead.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::sync::Mutex;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::ServerSideEncryption;
use bytes::Bytes;
use futures::StreamExt;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::{AwsError, Class, Objects, lock};
use crate::consolidation::ReadAt;
use crate::ids::BucketName;
use crate::manifest::Md5Hash;

/// Bytes of one request. Less would wait for the network, more would only take memory.
const WINDOW: u64 = 4 * 1024 * 1024;

/// Requests under way at a time. With those that are fetched and wait to be read, they bound the
/// memory.
const REQUESTS: usize = 6;

/// Ranges that stand closer than this are one request: the bytes between are cheaper than another.
const MERGE_GAP: u64 = 16 * 1024;

/// Times that a body is asked for anew when it breaks off.
const BODY_ATTEMPTS: u32 = 4;

/// An object in S3 as it was when it was looked at: if it changes meanwhile, reading it fails.
#[derive(Debug)]
pub struct DeliveredFile {
    place: Place,
    size: u64,
    md5: Option<Md5Hash>,
    delivered_at: Option<Timestamp>,
    runtime: Handle,
    ahead: Mutex<Ahead>,
}

/// Where an object is, and which state of it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    client: Client,
    pub(super) bucket: BucketName,
    pub(super) key: String,
    pub(super) e_tag: String,
}

/// What is fetched ahead.
#[derive(Debug, Default)]
struct Ahead {
    /// All of a small file.
    whole: Option<Bytes>,
    announced: HashSet<Range<u64>>,
    fetched: HashMap<Range<u64>, Bytes>,
    coming: Option<mpsc::Receiver<Fetched>>,
}

type Fetched = (Range<u64>, Result<Bytes, AwsError>);

impl Objects {
    /// An object to be read in ranges; `None` when there is none. Must be called where tokio runs,
    /// and read where it may be waited for.
    pub async fn delivered_file(
        &self,
        bucket: &BucketName,
        key: &str,
    ) -> Result<Option<DeliveredFile>, AwsError> {
        let operation = || format!("HeadObject of {bucket}/{key}");
        let answer = self
            .s3
            .head_object()
            .bucket(bucket.as_str())
            .key(key)
            .send()
            .await;
        let head = match answer {
            Ok(head) => head,
            Err(error) => {
                let error = AwsError::new(operation(), &error);
                return if error.is_missing() {
                    Ok(None)
                } else {
                    Err(error)
                };
            }
        };
        let size = head
            .content_length()
            .and_then(|size| u64::try_from(size).ok());
        let (Some(size), Some(e_tag)) = (size, head.e_tag()) else {
            return Err(AwsError {
                operation: operation(),
                code: "RequestFailed".to_owned(),
                message: "the answer has no size or no ETag".to_owned(),
                class: Class::Unavailable,
            });
        };
        // With keys of KMS or the customer's own, an ETag is no MD5.
        let is_plain = matches!(
            head.server_side_encryption(),
            None | Some(ServerSideEncryption::Aes256)
        ) && head.sse_customer_algorithm().is_none();
        let md5 = Md5Hash::parse(e_tag.trim_matches('"')).filter(|_| is_plain);
        Ok(Some(DeliveredFile {
            place: Place {
                client: self.s3.clone(),
                bucket: bucket.clone(),
                key: key.to_owned(),
                e_tag: e_tag.to_owned(),
            },
            size,
            md5,
            delivered_at: head
                .last_modified()
                .and_then(|at| at.to_millis().ok())
                .and_then(|at| Timestamp::from_millisecond(at).ok()),
            runtime: Handle::current(),
            ahead: Mutex::default(),
        }))
    }
}

impl DeliveredFile {
    /// The MD5 of the file, where S3 tells it: the `ETag` of an object that was written in one piece
    /// and is encrypted with S3's own keys. See
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>.
    pub fn md5(&self) -> Option<Md5Hash> {
        self.md5
    }

    /// When it was delivered, if S3 says so.
    pub fn delivered_at(&self) -> Option<Timestamp> {
        self.delivered_at
    }

    /// Where it is.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the file is fetched in one request.
    fn is_small(&self) -> bool {
        self.size <= WINDOW
    }

    fn wait_for(&self, range: &Range<u64>) -> io::Result<Bytes> {
        let mut ahead = lock(&self.ahead);
        if self.is_small() {
            let whole = match ahead.whole.take() {
                Some(whole) => whole,
                None => self
                    .runtime
                    .block_on(self.place.get(0..self.size))
                    .map_err(io::Error::other)?,
            };
            ahead.whole = Some(whole.clone());
            return whole.read(range.clone());
        }
        if let Some(bytes) = ahead.fetched.remove(range) {
            return Ok(bytes);
        }
        while ahead.announced.contains(range)
            && let Some((fetched, bytes)) = ahead
                .coming
                .as_mut()
                .and_then(mpsc::Receiver::blocking_recv)
        {
            ahead.announced.remove(&fetched);
            let bytes = bytes.map_err(io::Error::other)?;
            if fetched == *range {
                return Ok(bytes);
            }
            ahead.fetched.insert(fetched, bytes);
        }
        drop(ahead);
        let fetched = self.runtime.block_on(self.place.get(range.clone()));
        fetched.map_err(io::Error::other)
    }
}

impl ReadAt for DeliveredFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        self.wait_for(&range)
    }

    fn announce(&self, ranges: &[Range<u64>]) {
        if self.is_small() {
            return;
        }
        let (sender, receiver) = mpsc::channel(REQUESTS);
        {
            let mut ahead = lock(&self.ahead);
            ahead.announced = ranges.iter().cloned().collect();
            ahead.fetched.clear();
            ahead.coming = Some(receiver);
        }
        let place = self.place.clone();
        let requests = merge(ranges);
        self.runtime.spawn(async move {
            let mut answers = futures::stream::iter(requests)
                .map(|request| {
                    let place = place.clone();
                    async move { (place.get(request.whole.clone()).await, request) }
                })
                .buffered(REQUESTS);
            while let Some((answer, request)) = answers.next().await {
                for range in request.parts {
                    let part = answer.clone().map(|bytes| {
                        let offset = |place: u64| {
                            // Requests are small.
                            usize::try_from(place - request.whole.start).unwrap_or(usize::MAX)
                        };
                        bytes.slice(offset(range.start)..offset(range.end))
                    });
                    // Nobody listens any more: the file was given up.
                    if sender.send((range, part)).await.is_err() {
                        return;
                    }
                }
            }
        });
    }

    fn window(&self) -> u64 {
        WINDOW
    }
}

/// Ranges that are fetched at once.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    whole: Range<u64>,
    parts: Vec<Range<u64>>,
}

/// Joins neighbours that stand close together.
fn merge(ranges: &[Range<u64>]) -> Vec<Request> {
    let mut requests: Vec<Request> = Vec::new();
    for range in ranges {
        if let Some(last) = requests.last_mut() {
            let is_close = range.start >= last.whole.end
                && range.start - last.whole.end <= MERGE_GAP
                && range.end - last.whole.start <= WINDOW;
            if is_close {
                last.whole.end = range.end;
                last.parts.push(range.clone());
                continue;
            }
        }
        requests.push(Request {
            whole: range.clone(),
            parts: vec![range.clone()],
        });
    }
    requests
}

impl Place {
    /// The bytes of a range that is not empty.
    pub(super) async fn get(&self, range: Range<u64>) -> Result<Bytes, AwsError> {
        let Self { bucket, key, .. } = self;
        let operation = format!("GetObject of {bucket}/{key}");
        let mut attempt = 1;
        loop {
            let answer = self
                .client
                .get_object()
                .bucket(bucket.as_str())
                .key(key)
                .range(format!("bytes={}-{}", range.start, range.end - 1))
                .if_match(&self.e_tag)
                .send()
                .await
                .map_err(|error| AwsError::new(operation.as_str(), &error))?;
            let problem = match answer.body.collect().await {
                Ok(body) => {
                    let bytes = body.into_bytes();
                    if bytes.len() as u64 == range.end - range.start {
                        return Ok(bytes);
                    }
                    format!("{} of {} bytes came", bytes.len(), range.end - range.start)
                }
                Err(error) => error.to_string(),
            };
            if attempt == BODY_ATTEMPTS {
                return Err(AwsError {
                    operation,
                    code: "RequestFailed".to_owned(),
                    message: problem,
                    class: Class::Unavailable,
                });
            }
            attempt += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_fetched_together() {
        let far = MERGE_GAP + 1;
        let requests = merge(&[0..10, 10..20, 20 + MERGE_GAP..30 + MERGE_GAP, 5..7]);
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0].whole, 0..30 + MERGE_GAP);
        assert_eq!(requests[0].parts.len(), 3);
        assert_eq!(merge(&[0..10, 10 + far..20 + far]).len(), 2);
        assert_eq!(merge(&[0..WINDOW, WINDOW..WINDOW + 1]).len(), 2);
    }
}
