//! The first rows of a query's result, small enough to be kept with the record of the query.

use serde::{Deserialize, Serialize};

use crate::foreign_text;

/// How many rows are kept.
pub const MAX_ROWS: usize = 10;
/// How many columns are kept.
pub const MAX_COLUMNS: usize = 24;
/// How many bytes of a value are kept. The longest key has 1,024; a sample is there to show what
/// was found, and the whole of it is in the result.
pub const MAX_VALUE_BYTES: usize = 300;

/// The first rows of a result. Every text in it comes from outside: escape it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Values by row and column; `None` is SQL's NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

impl Sample {
    /// Keeps the first of the given columns and rows. A value that is cut ends with `…`.
    pub fn of(
        columns: impl IntoIterator<Item = String>,
        rows: impl IntoIterator<Item = Vec<Option<String>>>,
    ) -> Self {
        let cut = |value| foreign_text::cut(value, MAX_VALUE_BYTES);
        Self {
            columns: columns.into_iter().take(MAX_COLUMNS).map(cut).collect(),
            rows: rows
                .into_iter()
                .take(MAX_ROWS)
                .map(|row| {
                    let values = row.into_iter().take(MAX_COLUMNS);
                    values.map(|value| value.map(cut)).collect()
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_results_are_kept_as_they_are() {
        let row = vec![Some("a".to_owned()), None, Some(String::new())];
        let columns = ["key", "size", "e_tag"].map(str::to_owned);
        let sample = Sample::of(columns.clone(), [row.clone()]);
        assert_eq!((sample.columns, sample.rows), (columns.to_vec(), vec![row]));
    }

    #[test]
    fn large_results_are_cut_in_every_direction() {
        let long = "ü".repeat(MAX_VALUE_BYTES);
        let row = vec![Some(long); MAX_COLUMNS + 1];
        let columns = (0..=MAX_COLUMNS).map(|column| column.to_string());
        let sample = Sample::of(columns, vec![row; MAX_ROWS + 1]);
        assert_eq!(
            (sample.columns.len(), sample.rows.len()),
            (MAX_COLUMNS, MAX_ROWS)
        );
        let value = sample.rows[0][0].as_deref().unwrap();
        assert_eq!(value, format!("{}…", "ü".repeat(MAX_VALUE_BYTES / 2)));
        assert!(sample.rows.iter().all(|row| row.len() == MAX_COLUMNS));
    }
}
