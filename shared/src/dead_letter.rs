//! Dead letters: messages that failed until their queue gave them up, as they are kept in the
//! consolidated bucket. One JSON document each, with the reason and with what became of it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::ids::{AccountId, BucketName, DeploymentName, RunId};
use crate::manifest::ReportLocation;
use crate::protocol;
use crate::s3_event::Notification;
use crate::status::Reason;

#[cfg(test)]
mod tests;

/// Where dead letters are in the consolidated bucket.
pub const PREFIX: &str = "dead-letters/";
/// The version of the document that this code writes, and the only one that it reads.
pub const FORMAT_VERSION: u32 = 1;
/// Receives after which a queue gives a message up (`maxReceiveCount` in `cfn/host.yaml`).
pub const RECEIVES_BEFORE_DEATH: u32 = 20;
/// Message attribute of a replay: the id of the message that it repeats.
pub const REPLAY_OF: &str = "replay_of";

/// A queue whose messages the platform works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Queue {
    /// Notifications of S3, and messages about reports that existed before their run.
    Notifications,
    /// One message for each inventory file.
    Files,
}

impl Queue {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Notifications, Self::Files];

    /// The name in keys and tables; what follows the deployment's in the queue's own.
    pub fn name(self) -> &'static str {
        match self {
            Self::Notifications => "notifications",
            Self::Files => "files",
        }
    }

    /// The task that the queue feeds.
    pub fn task(self) -> &'static str {
        match self {
            Self::Notifications => "inventory-object-processor",
            Self::Files => "inventory-file-consolidator",
        }
    }

    /// The queue that a dead-letter queue of the deployment, named by its ARN, takes messages from.
    pub fn of_dead_letters(deployment: &DeploymentName, arn: &str) -> Option<Self> {
        let name = arn.rsplit(':').next()?;
        Self::ALL
            .into_iter()
            .find(|queue| name == format!("{deployment}-{queue}-dead"))
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Why a message went back to its queue, as the function that worked on it records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageFailure {
    /// Name of the error as code, what it says, and the permission that is missing where that is
    /// known.
    pub reason: Reason,
    /// How often the message had been received.
    pub receives: u32,
    /// When.
    pub failed_at: Timestamp,
}

impl MessageFailure {
    /// Of an error.
    pub fn new(error: &TaskError, receives: u32, now: Timestamp) -> Self {
        let message = error.to_string();
        let missing_permission = match error {
            TaskError::AccessDenied(message) => permission_needed(message),
            _ => None,
        };
        Self {
            reason: Reason {
                missing_permission,
                ..Reason::new(error.name(), message)
            },
            receives,
            failed_at: now,
        }
    }

    /// Whether it is worth a record that the message failed: most that are received a few times only
    /// wait for a file that is not there yet.
    pub fn is_recorded(receives: u32) -> bool {
        receives >= protocol::RECEIVES_BEFORE_MISSING
    }
}

/// The IAM action that a refused request needed: AWS says it in most of its refusals; otherwise it is
/// that of the operation, which begins the message, where there is only one it can be.
fn permission_needed(message: &str) -> Option<String> {
    if let Some((_, said)) = message.split_once("not authorized to perform: ") {
        let is_part = |c: &char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-');
        let action: String = said.chars().take_while(is_part).collect();
        if action.contains(':') {
            return Some(action);
        }
    }
    let action = match message.split([' ', ':']).next()? {
        "GetObject" | "HeadObject" => "s3:GetObject",
        "PutObject" | "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload" => {
            "s3:PutObject"
        }
        "DeleteObjects" => "s3:DeleteObject",
        "SendMessageBatch" => "sqs:SendMessage",
        "GetItem" => "dynamodb:GetItem",
        "PutItem" => "dynamodb:PutItem",
        "UpdateItem" | "TransactWriteItems" => "dynamodb:UpdateItem",
        _ => return None,
    };
    Some(action.to_owned())
}

/// A message as it is found in a dead-letter queue.
#[derive(Debug, Clone, Copy)]
pub struct DeadMessage<'a> {
    /// Its id, which it keeps when it is moved.
    pub id: &'a str,
    /// What was sent.
    pub body: &'a str,
    /// SQS's own attributes.
    pub attributes: &'a BTreeMap<String, String>,
    /// The id of the message that it repeats, if it is a replay.
    pub replay_of: Option<&'a str>,
}

/// A dead letter, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Id of the message.
    pub message_id: String,
    /// The queue that gave it up.
    pub queue: Queue,
    /// The task that failed on it.
    pub task: String,
    /// Why: what the task recorded last, or that it recorded nothing.
    pub reason: Reason,
    /// How often the message had been received when it failed for this reason; absent when the task
    /// recorded nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at_receive: Option<u32>,
    /// When it failed for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
    /// When it was sent, by SQS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// When it was received for the first time, by SQS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_received_at: Option<Timestamp>,
    /// When it was kept.
    pub kept_at: Timestamp,
    /// The run it is about; absent, like the four that follow, when its body does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// Owner of the source bucket it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<AccountId>,
    /// The source bucket it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<BucketName>,
    /// The file it is about: of a notification the key, otherwise the name it is recorded under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What was sent, to the byte.
    pub body: String,
    /// SQS's own attributes.
    pub attributes: BTreeMap<String, String>,
    /// The id of the message that it repeats: a replay that died again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_of: Option<String>,
    /// When it was replayed.
    #[serde(default)]
    pub replayed_at: Vec<Timestamp>,
}

impl DeadLetter {
    /// Of a message that a queue gave up, with what its task recorded last.
    pub fn new(
        deployment: &DeploymentName,
        queue: Queue,
        message: DeadMessage<'_>,
        failure: Option<MessageFailure>,
        now: Timestamp,
    ) -> Self {
        let time = |name: &str| {
            let milliseconds = message.attributes.get(name)?.parse().ok()?;
            Timestamp::from_millisecond(milliseconds).ok()
        };
        let subject = Subject::of(deployment, message.body);
        Self {
            format_version: FORMAT_VERSION,
            message_id: message.id.to_owned(),
            queue,
            task: queue.task().to_owned(),
            failed_at_receive: failure.as_ref().map(|failure| failure.receives),
            failed_at: failure.as_ref().map(|failure| failure.failed_at),
            reason: reason(queue, failure),
            sent_at: time("SentTimestamp"),
            first_received_at: time("ApproximateFirstReceiveTimestamp"),
            kept_at: now,
            run_id: subject.run_id,
            account_id: subject.account_id,
            bucket: subject.bucket,
            file: subject.file,
            body: message.body.to_owned(),
            attributes: message.attributes.clone(),
            replay_of: message.replay_of.map(str::to_owned),
            replayed_at: Vec::new(),
        }
    }

    /// Reads a stored document.
    ///
    /// # Errors
    /// When it is no dead letter, or one of another version.
    pub fn parse(document: &[u8]) -> Result<Self, UnreadableLetter> {
        let letter: Self = serde_json::from_slice(document)
            .map_err(|error| UnreadableLetter(error.to_string()))?;
        if letter.format_version != FORMAT_VERSION {
            return Err(UnreadableLetter(format!(
                "it has the format version {}, and only {FORMAT_VERSION} is known",
                letter.format_version
            )));
        }
        Ok(letter)
    }

    /// As it is stored.
    pub fn document(&self) -> Vec<u8> {
        let mut document = serde_json::to_vec_pretty(self).expect("texts, numbers and times");
        document.push(b'\n');
        document
    }

    /// Where it is stored. The same message has the same key, whenever and however often it is kept.
    pub fn key(&self) -> String {
        let day = self.sent_at.map_or_else(
            || "undated".to_owned(),
            |sent_at| sent_at.strftime("%Y-%m-%d").to_string(),
        );
        format!("{PREFIX}{}/{day}/{}.json", self.queue, self.message_id)
    }

    /// Whether it was replayed.
    pub fn is_replayed(&self) -> bool {
        !self.replayed_at.is_empty()
    }
}

/// Why a document is not taken for a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a dead letter: {0}")]
pub struct UnreadableLetter(String);

fn reason(queue: Queue, failure: Option<MessageFailure>) -> Reason {
    let ended = "killed, out of memory or out of time, or it could not be started";
    let Some(mut failure) = failure else {
        let message = format!(
            "{} recorded no error: it was {ended}; its log tells more",
            queue.task()
        );
        return Reason::new("NoErrorRecorded", message);
    };
    if failure.receives < RECEIVES_BEFORE_DEATH {
        failure.reason.message = format!(
            "{} (receive {} of {RECEIVES_BEFORE_DEATH}; later the function was {ended})",
            failure.reason.message, failure.receives
        );
    }
    failure.reason
}

/// What a message is about.
#[derive(Debug, Default)]
struct Subject {
    run_id: Option<RunId>,
    account_id: Option<AccountId>,
    bucket: Option<BucketName>,
    file: Option<String>,
}

impl Subject {
    fn of(deployment: &DeploymentName, body: &str) -> Self {
        /// Messages of our own.
        #[derive(Deserialize)]
        struct Own {
            run_id: RunId,
            account_id: AccountId,
            bucket: BucketName,
            file: Option<String>,
        }
        if let Ok(own) = serde_json::from_str::<Own>(body) {
            return Self {
                run_id: Some(own.run_id),
                account_id: Some(own.account_id),
                bucket: Some(own.bucket),
                file: own.file,
            };
        }
        let Notification::ObjectsCreated(objects) = Notification::parse(body) else {
            return Self::default();
        };
        let of_report = |key: &str| {
            let location = ReportLocation::parse(key)?;
            protocol::report_of(deployment, &location)
        };
        objects
            .into_iter()
            .find_map(|object| {
                let (run_id, account_id, bucket) = of_report(&object.key)?;
                Some(Self {
                    run_id: Some(run_id),
                    account_id: Some(account_id),
                    bucket: Some(bucket),
                    file: Some(object.key),
                })
            })
            .unwrap_or_default()
    }
}

/// Which dead letters are meant: those with one value in one place, as in `run=nightly`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    place: Place,
    value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Id,
    Run,
    Queue,
    Account,
    Bucket,
    Reason,
}

impl Place {
    const ALL: [(&'static str, Self); 6] = [
        ("id", Self::Id),
        ("run", Self::Run),
        ("queue", Self::Queue),
        ("account", Self::Account),
        ("bucket", Self::Bucket),
        ("reason", Self::Reason),
    ];
}

/// Why a text is no [`Filter`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilter {
    /// It has no `=` and what belongs before and behind it.
    #[error("it has to be KEY=VALUE; keys are {keys}", keys = keys())]
    Shape,
    /// There is no such key.
    #[error("there is no key {0:?}; accepted are {keys}", keys = keys())]
    Key(String),
    /// There is no such queue.
    #[error("there is no queue {0:?}; accepted are {queues}", queues = Queue::ALL.map(Queue::name).join(", "))]
    Queue(String),
}

fn keys() -> String {
    Place::ALL.map(|(name, _)| name).join(", ")
}

impl FromStr for Filter {
    type Err = InvalidFilter;

    fn from_str(text: &str) -> Result<Self, InvalidFilter> {
        let (key, value) = text.split_once('=').ok_or(InvalidFilter::Shape)?;
        if value.is_empty() {
            return Err(InvalidFilter::Shape);
        }
        let (_, place) = Place::ALL
            .into_iter()
            .find(|(name, _)| *name == key)
            .ok_or_else(|| InvalidFilter::Key(key.to_owned()))?;
        if place == Place::Queue && Queue::ALL.iter().all(|queue| queue.name() != value) {
            return Err(InvalidFilter::Queue(value.to_owned()));
        }
        Ok(Self {
            place,
            value: value.to_owned(),
        })
    }
}

impl Filter {
    fn fits(&self, letter: &DeadLetter) -> bool {
        let found = match self.place {
            Place::Id => Some(letter.message_id.as_str()),
            Place::Run => letter.run_id.as_ref().map(RunId::as_str),
            Place::Queue => Some(letter.queue.name()),
            Place::Account => letter.account_id.as_ref().map(AccountId::as_str),
            Place::Bucket => letter.bucket.as_ref().map(BucketName::as_str),
            Place::Reason => Some(letter.reason.code.as_str()),
        };
        found == Some(self.value.as_str())
    }
}

/// Whether the filters mean a letter: of those with the same key one has to fit, of every key that is
/// named. No filter means all.
pub fn are_meant(filters: &[Filter], letter: &DeadLetter) -> bool {
    filters.iter().all(|filter| {
        filters
            .iter()
            .any(|other| other.place == filter.place && other.fits(letter))
    })
}
