//! What AWS answered when it did not do what it was asked.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::error::TaskError;
use crate::foreign_text::cut;
use crate::status::{Reason, is_refusal};

/// A failed request, after the SDK's own retries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {code}: {message}")]
pub struct AwsError {
    /// What was asked for and of what, such as `ListBuckets of 123456789012`.
    pub operation: String,
    /// AWS's error code, or the status of an answer without one; `RequestFailed` when there was no
    /// answer.
    pub code: String,
    /// What AWS said.
    pub message: String,
    /// What may be done about it.
    pub class: Class,
}

/// What may be done about a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Wait longer, then try again.
    Throttled,
    /// Try again later.
    Unavailable,
    /// Another writer was first.
    Conflict,
    /// A permission is missing.
    Refused,
    /// What was asked for does not exist.
    Missing,
    /// It exists already.
    Exists,
    /// It is larger than what is taken into memory.
    TooLarge,
    /// Anything else.
    Other,
}

/// Most bytes that are kept of each text of an error: a load balancer may answer with a whole page, and
/// what was asked for may have been named by others.
const MAX_BYTES: usize = 4_000;

impl AwsError {
    /// From the SDK's error; `operation` names what was asked for and of what.
    pub fn new<E>(operation: impl Into<String>, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        Self::of(operation.into(), error).bounded()
    }

    fn bounded(self) -> Self {
        Self {
            operation: cut(self.operation, MAX_BYTES),
            code: cut(self.code, Reason::MAX_CODE_BYTES),
            message: cut(self.message, MAX_BYTES),
            class: self.class,
        }
    }

    fn of<E>(operation: String, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let Some(service) = error.as_service_error() else {
            // Credentials of the member role are fetched inside the request, so a refused
            // AssumeRole arrives as a request that could not be sent.
            let message = chain(error);
            let refused = message.contains("AccessDenied");
            return Self {
                operation,
                code: if refused {
                    "AccessDenied"
                } else {
                    "RequestFailed"
                }
                .to_owned(),
                class: if refused {
                    Class::Refused
                } else {
                    Class::Unavailable
                },
                message,
            };
        };
        let status = error
            .raw_response()
            .map_or(0, |answer| answer.status().as_u16());
        let code = service
            .code()
            .map_or_else(|| status.to_string(), str::to_owned);
        let message = service
            .message()
            .map_or_else(|| service.to_string(), str::to_owned);
        let class = match classify(&code, &message) {
            // What stands between us and the service has no codes of its own.
            Class::Other if status == 429 => Class::Throttled,
            Class::Other if status >= 500 => Class::Unavailable,
            class => class,
        };
        Self {
            operation,
            code,
            message,
            class,
        }
    }

    /// From a code that came in a successful answer.
    pub fn told(operation: impl Into<String>, code: &str, message: &str) -> Self {
        Self {
            operation: operation.into(),
            code: code.to_owned(),
            message: message.to_owned(),
            class: classify(code, message),
        }
        .bounded()
    }

    /// The same fact as the reason of one bucket, account or Region.
    pub fn reason(&self) -> Reason {
        Reason::new(self.code.clone(), self.message.clone())
    }

    /// Whether what was asked for does not exist.
    pub fn is_missing(&self) -> bool {
        self.class == Class::Missing
    }

    /// Whether the request may well succeed later: never a reason to give up on a bucket.
    pub fn is_passing(&self) -> bool {
        matches!(
            self.class,
            Class::Throttled | Class::Unavailable | Class::Conflict
        )
    }
}

impl From<AwsError> for TaskError {
    fn from(error: AwsError) -> Self {
        let message = error.to_string();
        match error.class {
            Class::Throttled => Self::Throttled(message),
            Class::Unavailable => Self::Unavailable(message),
            Class::Conflict => Self::Conflict(message),
            Class::Refused => Self::AccessDenied(message),
            Class::Missing | Class::Exists | Class::TooLarge | Class::Other => {
                Self::Internal(message)
            }
        }
    }
}

/// What an error and its causes say, without what a cause only repeats.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !said.iter().any(|earlier| earlier.contains(&text)) {
            said.push(text);
        }
        next = error.source();
    }
    said.join(": ")
}

fn classify(code: &str, message: &str) -> Class {
    match code {
        _ if is_refusal(code) => Class::Refused,
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "ProvisionedThroughputExceededException"
        | "SlowDown" => Class::Throttled,
        "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "InternalServerException"
        | "InternalServiceException"
        | "RequestTimeout" => Class::Unavailable,
        "ConditionalCheckFailedException"
        | "TransactionCanceledException"
        | "TransactionConflictException"
        | "TransactionInProgressException"
        | "OperationAborted"
        | "ConcurrentModificationException" => Class::Conflict,
        "NoSuchBucket"
        | "NoSuchKey"
        | "NoSuchUpload"
        | "NoSuchConfiguration"
        | "NotFound"
        | "NotFoundException"
        | "ResourceNotFoundException"
        | "EntityNotFoundException"
        | "TaskDoesNotExist" => Class::Missing,
        "AlreadyExistsException" | "AlreadyExists" | "TokenAlreadyExistsException" => Class::Exists,
        // CloudFormation has no error of its own for a stack that is not there.
        "ValidationError" if message.contains("does not exist") => Class::Missing,
        _ => Class::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_names_the_machines_know() {
        let cases = [
            ("SlowDown", "", "Throttled"),
            ("ThrottlingException", "", "Throttled"),
            ("InternalError", "", "Unavailable"),
            ("TransactionConflictException", "", "Conflict"),
            ("AccessDenied", "", "AccessDenied"),
            ("MalformedXML", "", "Internal"),
            (
                "ValidationError",
                "Stack with id x does not exist",
                "Internal",
            ),
        ];
        for (code, message, name) in cases {
            let error = AwsError {
                operation: "Op".into(),
                code: code.into(),
                message: message.into(),
                class: classify(code, message),
            };
            assert_eq!(TaskError::from(error).name(), name, "{code}");
        }
    }

    #[test]
    fn an_answer_of_any_length_is_a_small_error() {
        let error = AwsError::told(
            "Op".repeat(10_000),
            &"C".repeat(10_000),
            &"m".repeat(1 << 20),
        );
        assert!(error.to_string().len() < 3 * MAX_BYTES);
        assert!(error.reason().message.len() < MAX_BYTES);
        // Classified by all of it.
        let late = format!("{} does not exist", "a".repeat(1 << 20));
        assert_eq!(
            AwsError::told("DescribeStacks", "ValidationError", &late).class,
            Class::Missing
        );
    }

    #[test]
    fn a_stack_that_is_not_there_is_missing() {
        assert_eq!(
            classify("ValidationError", "Stack [a] does not exist"),
            Class::Missing
        );
        assert_eq!(classify("ValidationError", "Template error"), Class::Other);
    }
}
