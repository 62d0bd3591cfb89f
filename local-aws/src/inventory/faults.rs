//! Faults on purpose: how S3 and its Inventory misbehave for one bucket.

use serde::{Deserialize, Serialize};

/// Faults of one bucket. All of them together are possible; the default is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fault of its own, and any of them go together"
)]
pub struct Faults {
    /// Seconds by which the report comes late, on top of the usual delay.
    pub delay_seconds: f64,
    /// The report waits until this fault is taken off.
    pub hold: bool,
    /// No report comes at all.
    pub never: bool,
    /// A second report follows, with another stamp.
    pub twice: bool,
    /// `manifest.checksum` is delivered before the manifest and the data.
    pub checksum_first: bool,
    /// The manifest gives a wrong MD5 for the first file.
    pub wrong_file_md5: bool,
    /// `manifest.checksum` does not match the manifest.
    pub wrong_manifest_checksum: bool,
    /// The first file lacks its last byte, while the manifest gives its full size.
    pub truncated_file: bool,
    /// The first file is in the manifest and is never delivered.
    pub missing_file: bool,
    /// Rows in one file; one file for everything when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_per_file: Option<std::num::NonZeroUsize>,
    /// The bucket disappears with everything in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vanish: Option<Vanish>,
    /// Inventory configurations are refused with `OperationAborted`: another change of the bucket is under
    /// way, and never ends.
    pub busy: bool,
    /// Requests on the bucket are refused with `SlowDown` now and then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Throttle>,
}

/// When a bucket disappears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vanish {
    /// Before the first inventory configuration is answered, with `NoSuchBucket`.
    OnConfigure,
    /// After the first inventory configuration was accepted.
    AfterConfigure,
}

/// How often requests are refused. The same seed refuses the same requests of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    /// Share of refused requests, from 0 to 1.
    pub rate: f64,
    /// Starts the sequence.
    #[serde(default)]
    pub seed: u64,
}

impl Throttle {
    /// Whether the request with this number is refused.
    #[expect(
        clippy::cast_precision_loss,
        reason = "53 bits are taken, as many as f64 holds"
    )]
    pub(crate) fn refuses(&self, number: u64) -> bool {
        // SplitMix64: a good spread for consecutive numbers.
        let mut mixed = self
            .seed
            .wrapping_add(number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        ((mixed >> 11) as f64) / ((1_u64 << 53) as f64) < self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_refuses_about_the_wanted_share_and_the_same_requests_every_time() {
        let throttle = Throttle { rate: 0.3, seed: 7 };
        let refused: Vec<u64> = (0..10_000)
            .filter(|number| throttle.refuses(*number))
            .collect();
        assert!((2_700..3_300).contains(&refused.len()), "{}", refused.len());
        let again: Vec<u64> = (0..10_000)
            .filter(|number| throttle.refuses(*number))
            .collect();
        assert_eq!(refused, again);
        let other = Throttle { rate: 0.3, seed: 8 };
        assert_ne!(
            refused,
            (0..10_000)
                .filter(|number| other.refuses(*number))
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_fault_that_does_not_exist_is_refused() {
        assert!(serde_json::from_str::<Faults>(r#"{"hold": true, "holdd": true}"#).is_err());
    }
}
