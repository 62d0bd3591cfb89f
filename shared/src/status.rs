//! Where one source bucket stands in a run, and how that may change.

use serde::{Deserialize, Serialize};

use crate::foreign_text::cut;

/// The inventory status of a source bucket. The first six names are the predecessor's and keep
/// their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InventoryStatus {
    /// Discovered; with a reason: S3 or the account refused the inventory configuration.
    InventoryConfigurationNotCreated,
    /// The configuration is (about to be) in place and the report has not come whole.
    InProgress,
    /// The report matched its manifest, file by file, and all its rows are in the snapshot.
    Done,
    /// No object, no version, no delete marker: S3 delivers no report for such a bucket.
    BucketIsEmpty,
    /// The bucket vanished after it was discovered.
    BucketNotAvailable,
    /// The bucket was closed to us after it was discovered.
    BucketAccessLost,
    /// A report came but is not what its manifest says; no row of it is in the snapshot.
    VerificationFailed,
}

impl InventoryStatus {
    /// All statuses, in the order in which summaries list them.
    pub const ALL: [Self; 7] = [
        Self::Done,
        Self::BucketIsEmpty,
        Self::InProgress,
        Self::InventoryConfigurationNotCreated,
        Self::BucketNotAvailable,
        Self::BucketAccessLost,
        Self::VerificationFailed,
    ];

    /// The name in tables, logs and summaries.
    pub fn name(self) -> &'static str {
        match self {
            Self::InventoryConfigurationNotCreated => "inventory_configuration_not_created",
            Self::InProgress => "in_progress",
            Self::Done => "done",
            Self::BucketIsEmpty => "bucket_is_empty",
            Self::BucketNotAvailable => "bucket_not_available",
            Self::BucketAccessLost => "bucket_access_lost",
            Self::VerificationFailed => "verification_failed",
        }
    }

    /// Whether the snapshot holds everything this bucket holds.
    pub fn is_covered(self) -> bool {
        matches!(self, Self::Done | Self::BucketIsEmpty)
    }

    /// Whether a bucket in this status may take on `next`. A status only moves forward: from
    /// discovered to in progress to one of the ends, and the ends are final. The discovered status
    /// itself is an end once it carries a reason; `has_reason` tells.
    pub fn may_become(self, has_reason: bool, next: Self) -> bool {
        match self {
            Self::InventoryConfigurationNotCreated if !has_reason => next != Self::Done,
            Self::InProgress => next != Self::InProgress,
            _ => false,
        }
    }

    /// What it means, for readers.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "all rows of the verified report are in the snapshot",
            Self::BucketIsEmpty => "no object, version or delete marker, so no report",
            Self::InProgress => "the report has not come whole",
            Self::InventoryConfigurationNotCreated => "S3 was not asked for a report",
            Self::BucketNotAvailable => "vanished after it was discovered",
            Self::BucketAccessLost => "closed to the platform after it was discovered",
            Self::VerificationFailed => "the report is not what its manifest says",
        }
    }
}

impl std::fmt::Display for InventoryStatus {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Why something is not as one would wish: a bucket not covered, an account not read, a
/// destination not made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The AWS error code, or one of ours where AWS said nothing (see `docs/troubleshooting.md`).
    pub code: String,
    /// What AWS, or the check that failed, said. Data from outside: escape it.
    pub message: String,
    /// The IAM action that is missing, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_permission: Option<String>,
}

impl Reason {
    /// Most bytes of a message that are kept: a reason is part of a record, which ends at 400 KB, and of a
    /// list of reasons that somebody reads.
    pub const MAX_MESSAGE_BYTES: usize = 2_000;
    /// The same of a code.
    pub const MAX_CODE_BYTES: usize = 100;

    /// A reason without a known missing permission. What is longer than it may be is cut.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: cut(code.into(), Self::MAX_CODE_BYTES),
            message: cut(message.into(), Self::MAX_MESSAGE_BYTES),
            missing_permission: None,
        }
    }

    /// The same reason with the permission that a refused call would have needed; any other code
    /// than a refusal says nothing about permissions.
    #[must_use]
    pub fn needing(mut self, permission: &str) -> Self {
        if is_refusal(&self.code) {
            self.missing_permission = Some(permission.to_owned());
        }
        self
    }
}

/// Whether an AWS error code says that the caller may not do what it asked for.
pub fn is_refusal(code: &str) -> bool {
    matches!(
        code,
        "AccessDenied"
            | "AccessDeniedException"
            | "AllAccessDisabled"
            | "AuthorizationError"
            | "Forbidden"
            | "UnauthorizedOperation"
            | "403"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_final() {
        for end in InventoryStatus::ALL {
            let open = matches!(
                end,
                InventoryStatus::InProgress | InventoryStatus::InventoryConfigurationNotCreated
            );
            for next in InventoryStatus::ALL {
                assert!(open || !end.may_become(false, next), "{end} became {next}");
                if end == InventoryStatus::InventoryConfigurationNotCreated {
                    assert!(
                        !end.may_become(true, next),
                        "a refused bucket became {next}"
                    );
                }
            }
        }
    }

    #[test]
    fn done_is_reached_from_in_progress_only() {
        for from in InventoryStatus::ALL {
            for has_reason in [false, true] {
                assert_eq!(
                    from.may_become(has_reason, InventoryStatus::Done),
                    from == InventoryStatus::InProgress
                );
            }
        }
    }

    #[test]
    fn names_are_what_is_stored() {
        for status in InventoryStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.name());
        }
    }

    #[test]
    fn a_reason_is_small_whatever_aws_said() {
        let reason = Reason::new("ü".repeat(1_000), "ü".repeat(1_000_000));
        assert_eq!(reason.code, format!("{}…", "ü".repeat(50)));
        assert_eq!(reason.message, format!("{}…", "ü".repeat(1_000)));
        let short = Reason::new("NoSuchBucket", "gone");
        assert_eq!(
            (short.code, short.message),
            ("NoSuchBucket".into(), "gone".into())
        );
    }

    #[test]
    fn only_a_refusal_names_a_permission() {
        let refused = Reason::new("AccessDenied", "no").needing("s3:ListBucketVersions");
        assert_eq!(
            refused.missing_permission.as_deref(),
            Some("s3:ListBucketVersions")
        );
        let gone = Reason::new("NoSuchBucket", "gone").needing("s3:ListBucketVersions");
        assert_eq!(gone.missing_permission, None);
    }
}
