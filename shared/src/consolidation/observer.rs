//! What is made of every batch of rows, whatever the format: the derived columns and the totals.
//!
//! [`crate::derived`] says what the values mean, and `Totals::observe` what is counted; this does the
//! same for millions of rows a second. It asks for each distinct text once, and adds into arrays.

use super::ConsolidationError;
use super::hybrid::run_end;
use super::rows::{NULL, Rows, Values, place};
use crate::derived::{self, Category};
use crate::ids::BucketName;
use crate::totals::Totals;

mod counting;
mod deriving;

use counting::Counted;
use deriving::Derived;

/// Derives and counts.
#[derive(Debug)]
pub(super) struct Observer {
    source_bucket: BucketName,
    /// The derived columns of the last batch.
    pub(super) derived: Derived,
    counted: Counted,
    rows: u64,
}

impl Observer {
    pub(super) fn new(source_bucket: &BucketName) -> Self {
        Self {
            source_bucket: source_bucket.clone(),
            derived: Derived::new(),
            counted: Counted::new(),
            rows: 0,
        }
    }

    /// Takes a batch, whose keys have to be text.
    pub(super) fn observe(&mut self, rows: &Rows) -> Result<(), ConsolidationError> {
        self.check_bucket(rows)?;
        let Values::Texts(keys) = &rows.columns[place::KEY] else {
            return Err(ConsolidationError::MissingColumn {
                column: "key".to_owned(),
            });
        };
        let without_key = |row: usize| ConsolidationError::MissingKey {
            row: rows.first + row as u64,
        };
        self.derived.derive(keys).map_err(without_key)?;
        self.counted.count(rows, keys, &self.derived);
        self.rows += rows.len as u64;
        Ok(())
    }

    /// The rows seen, and what they add up to.
    pub(super) fn finish(self) -> (u64, Totals) {
        (self.rows, self.counted.finish(&self.source_bucket))
    }

    fn check_bucket(&self, rows: &Rows) -> Result<(), ConsolidationError> {
        let expected = self.source_bucket.as_str().as_bytes();
        let foreign = match &rows.columns[place::BUCKET] {
            Values::Coded(buckets) => {
                let own = buckets
                    .codes
                    .first()
                    .copied()
                    .filter(|code| *code != NULL && buckets.dictionary.get(*code) == expected);
                // An epoch has one code for a text, so that all others are foreign.
                if own.is_some() && run_end(&buckets.codes, 0) == buckets.codes.len() {
                    return Ok(());
                }
                (0..rows.len)
                    .find(|row| buckets.get(*row) != Some(expected))
                    .map(|row| (row, buckets.get(row)))
            }
            _ => Some((0, None)),
        };
        let Some((row, found)) = foreign else {
            return Ok(());
        };
        Err(ConsolidationError::ForeignRow {
            row: rows.first + row as u64,
            expected: self.source_bucket.to_string(),
            found: found.map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        })
    }
}

fn category_of(key: &[u8]) -> Category {
    derived::category(&String::from_utf8_lossy(key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::consolidation::rows::{Coded, Span, Texts};

    /// Derives from keys that stand one behind the other, and compares that with the rules.
    fn check(keys: &[String], derived: &mut Derived) {
        let mut texts = Texts::default();
        let mut buffer = Vec::new();
        for key in keys {
            texts.spans.push(Span::new(buffer.len(), key.len()));
            buffer.extend_from_slice(key.as_bytes());
        }
        texts.buffer = buffer.into();
        assert_eq!(derived.derive(&texts), Ok(()));
        assert!(derived.are_texts);
        for (row, key) in keys.iter().enumerate() {
            let expected = derived::Derived::of(key);
            let text = |coded: &Coded| coded.get(row).map(<[u8]>::to_vec);
            let category = expected.category.as_str().as_bytes().to_vec();
            assert_eq!(text(&derived.category), Some(category), "{key:?}");
            let extension = expected.extension.map(|text| text.as_bytes().to_vec());
            assert_eq!(text(&derived.extension), extension, "{key:?}");
            let top_prefix = expected.top_prefix.map(|text| text.as_bytes().to_vec());
            assert_eq!(text(&derived.top_prefix), top_prefix, "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn dots_and_slashes_are_found_anywhere(
            keys in prop::collection::vec("[a-z0-9é]{0,70}([./]{1,2}[a-z0-9]{0,70}){0,4}(\\.(log|gz|jpg|1))?", 1..20)
        ) {
            check(&keys, &mut Derived::new());
        }
    }

    #[test]
    fn what_is_derived_is_what_the_rules_say() {
        let parts = [
            "",
            "x",
            "photo",
            "access",
            "id_rsa",
            "credentials",
            "terraform",
            "env",
            ".env",
            "log",
            "sql",
            "jpg",
            "unknown",
            "tar",
            "gz",
            "zip",
            "1",
            "20240131",
            "bak",
            "tfstate",
            "JPG",
            "日本",
            "\u{fffd}",
            "abcdefghijklmnopqrstuvwxy",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ];
        // With enough before and behind it that a name is found in either way.
        let check = |name: &str, derived: &mut Derived| {
            let padding = "a folder. that is longer than what is looked through at once, and more/";
            check(
                &[
                    name.to_owned(),
                    format!("{padding}{name}"),
                    format!("p/{name}"),
                ],
                derived,
            );
        };
        let mut derived = Derived::new();
        for first in parts {
            check(first, &mut derived);
            for second in parts {
                check(&format!("{first}.{second}"), &mut derived);
                for third in parts {
                    let name = format!("{first}.{second}.{third}");
                    check(&name, &mut derived);
                    check(&format!("{name}.gz"), &mut derived);
                }
            }
        }
    }
}
