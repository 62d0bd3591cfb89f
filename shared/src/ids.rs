//! Identifiers. Each is checked once, where it enters, and is then carried as its type.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::foreign_text::excerpt;

/// An identifier that does not keep its rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not {expected}", excerpt(found))]
pub struct InvalidId {
    /// The offending text.
    pub found: String,
    /// What is accepted, as the end of a sentence.
    pub expected: &'static str,
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// What is accepted, as the end of a sentence.
            pub const EXPECTED: &'static str = $expected;

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                let accepts: fn(&str) -> bool = $accepts;
                if accepts(&text) {
                    Ok(Self(text))
                } else {
                    Err(InvalidId { found: text, expected: Self::EXPECTED })
                }
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidId;

            fn try_from(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

fn lower_alphanumeric(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

identifier!(
    /// Identifies a run. It goes into bucket names, which end at 63 characters; hence its length.
    RunId,
    "1 to 16 of a-z and 0-9",
    |text| (1..=16).contains(&text.len()) && lower_alphanumeric(text)
);

identifier!(
    /// Tells installations of the platform in one account apart; part of every physical name.
    DeploymentName,
    "4 to 15 of a-z and 0-9",
    |text| (4..=15).contains(&text.len()) && lower_alphanumeric(text)
);

identifier!(
    /// An AWS account.
    AccountId,
    "an account id of 12 digits",
    |text| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
);

identifier!(
    /// An AWS Region by its code, such as `eu-west-1`. That it exists and is enabled is checked
    /// against the account, not here.
    Region,
    "a Region code such as eu-west-1",
    |text| {
        let parts: Vec<&str> = text.split('-').collect();
        parts.len() >= 3
            && text.len() <= 24
            && parts.iter().all(|part| !part.is_empty() && lower_alphanumeric(part))
            && parts.last().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
    }
);

identifier!(
    /// The name of an S3 bucket. Names older than the rules of today may hold upper case and `_`
    /// and be up to 255 long, so only what would break a path or a policy is refused.
    BucketName,
    "a bucket name (3 to 255 of letters, digits, '.', '-', '_')",
    |text| (3..=255).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        && !text.starts_with('.')
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_accept_what_they_say_and_nothing_else() {
        type Case<'a> = (fn(&str) -> bool, &'a [&'a str], &'a [&'a str]);
        let cases: &[Case<'_>] = &[
            (
                |text| RunId::try_from(text).is_ok(),
                &["a", "0", "nightly", "abcdefghij012345"],
                &["", "abcdefghij0123456", "a-b", "A", "ä", "a b", "a/b"],
            ),
            (
                |text| DeploymentName::try_from(text).is_ok(),
                &["abcd", "s3insights", "abcdefghij01234"],
                &["abc", "abcdefghij012345", "s3-insights"],
            ),
            (
                |text| AccountId::try_from(text).is_ok(),
                &["123456789012"],
                &[
                    "12345678901",
                    "1234567890123",
                    "12345678901a",
                    "",
                    "１23456789012",
                ],
            ),
            (
                |text| Region::try_from(text).is_ok(),
                &["eu-west-1", "us-gov-west-1", "ap-southeast-3"],
                &[
                    "",
                    "eu",
                    "eu-west",
                    "eu-west-1a",
                    "eu_west_1",
                    "EU-WEST-1",
                    "--1",
                    "eu-west-1/..",
                ],
            ),
            (
                |text| BucketName::try_from(text).is_ok(),
                &["abc", "my.bucket-1", "Old_Bucket"],
                &["", "ab", "a/b/c", "../..", "a b c", "bücket"],
            ),
        ];
        for (accepts, good, bad) in cases {
            for text in *good {
                assert!(accepts(text), "{text:?} should be accepted");
            }
            for text in *bad {
                assert!(!accepts(text), "{text:?} should be refused");
            }
        }
    }
}
