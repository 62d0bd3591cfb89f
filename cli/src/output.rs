//! The one place that writes: data to standard output, everything else to standard error.

use std::io::Write as _;

use anyhow::Result;
use serde::Serialize;

/// Writes text that was asked for.
pub(crate) fn data(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Writes one JSON document that was asked for.
pub(crate) fn json(document: &impl Serialize) -> Result<()> {
    data(&serde_json::to_string_pretty(document)?)
}

/// Tells something beside the data.
pub(crate) fn note(text: &str) {
    // When nobody can read it any more there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Rows in columns, each as wide as its widest entry.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|text| text.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or_default())
        .collect();
    let mut table = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(text, width)| format!("{text:<width$}"))
            .collect();
        table.push_str(cells.join("  ").trim_end());
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_entry() {
        let rows = [["a", "bb", "c"], ["aaa", "", "ü"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "a    bb  c\naaa      ü\n");
        assert_eq!(table(&[]), "");
    }
}
