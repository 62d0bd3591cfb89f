//! What the snapshot holds by storage class and the like: the largest parts of its totals.

use serde::{Deserialize, Serialize};

use crate::totals::{Breakdown, Tally, Totals};

/// Parts listed of one breakdown.
const MAX_PARTS: usize = 8;

/// The totals of a snapshot, broken down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breakdowns {
    /// By storage class.
    pub storage_classes: Parts,
    /// By encryption status.
    pub encryption: Parts,
    /// By category.
    pub categories: Parts,
    /// By extension.
    pub extensions: Parts,
}

/// The parts of one breakdown, those with the most bytes first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// At most eight.
    pub largest: Vec<Part>,
    /// How many values more there are that are known by name.
    pub others: u64,
    /// What everything that is not among the largest adds up to.
    pub rest: Tally,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The value; empty where the report has none.
    pub value: String,
    /// What it adds up to.
    pub tally: Tally,
}

impl Breakdowns {
    /// Breaks totals down.
    pub fn of(totals: &Totals) -> Self {
        Self {
            storage_classes: Parts::of(&totals.by_storage_class),
            encryption: Parts::of(&totals.by_encryption_status),
            categories: Parts::of(&totals.by_category),
            extensions: Parts::of(&totals.by_extension),
        }
    }
}

impl Parts {
    fn of(breakdown: &Breakdown) -> Self {
        let mut parts: Vec<Part> = breakdown
            .values
            .iter()
            .map(|(value, tally)| Part {
                value: value.clone(),
                tally: *tally,
            })
            .collect();
        parts.sort_by(|a, b| {
            let weight = |part: &Part| (part.tally.version_bytes, part.tally.versions);
            weight(b)
                .cmp(&weight(a))
                .then_with(|| a.value.cmp(&b.value))
        });
        let others = parts.split_off(parts.len().min(MAX_PARTS));
        let mut rest = breakdown.other;
        for part in &others {
            rest.add(part.tally);
        }
        Self {
            largest: parts,
            others: others.len() as u64,
            rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_parts_are_listed_and_the_rest_is_added_up() {
        let tally = |bytes| Tally {
            objects: 1,
            object_bytes: bytes,
            versions: 1,
            version_bytes: bytes,
        };
        let mut breakdown = Breakdown::default();
        for bytes in 1..=10 {
            breakdown.add(&format!("v{bytes}"), tally(bytes));
        }
        breakdown.other = tally(100);
        let parts = Parts::of(&breakdown);
        let listed: Vec<&str> = parts
            .largest
            .iter()
            .map(|part| part.value.as_str())
            .collect();
        assert_eq!(listed, ["v10", "v9", "v8", "v7", "v6", "v5", "v4", "v3"]);
        assert_eq!(
            (parts.others, parts.rest.version_bytes, parts.rest.versions),
            (2, 103, 3)
        );
        assert_eq!(Parts::of(&Breakdown::default()), Parts::default());
    }
}
