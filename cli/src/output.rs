//! The one place that writes: data to standard output, everything else to standard error.
//!
//! Names, keys, messages and records come from others, and a terminal does what characters tell it to. So
//! nothing leaves that moves a cursor, sets a title or turns the direction of writing: in words it is spelled
//! out, in JSON it is escaped.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Result;
use serde::Serialize;
use shared::foreign_text::{is_invisible, visible};

/// Writes text that was asked for.
pub(crate) fn data(text: &str) -> Result<()> {
    write(&lines_visible(text))
}

/// Writes one JSON document that was asked for.
pub(crate) fn json(document: &impl Serialize) -> Result<()> {
    write(&escaped(&serde_json::to_string_pretty(document)?))
}

fn write(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Tells something beside the data.
pub(crate) fn note(text: &str) {
    // When nobody can read it any more there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{}", lines_visible(text));
}

/// A text from outside in which only line breaks do what they do.
pub(crate) fn lines_visible(text: &str) -> String {
    text.lines().map(visible).collect::<Vec<_>>().join("\n")
}

/// JSON in which what is invisible is escaped, which means the same: JSON itself only asks for it below
/// U+0020. Between its texts there are line breaks and blanks alone.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if character == '\n' || !is_invisible(character) {
            escaped.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    escaped
}

/// Rows in columns, each as wide as its widest entry. An entry is one line, whatever it holds.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|entry| visible(entry)).collect())
        .collect();
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
    for row in &rows {
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

    /// What would clear a screen, set a title, begin a line, hide or turn what follows.
    const HOSTILE: [&str; 7] = [
        "\u{1b}[2J\u{1b}[H",
        "\u{1b}]0;title\u{7}",
        "\u{9b}2J",
        "\u{7f}\u{8}\u{8}",
        "\r\nok: all is well",
        "gpj.\u{202e}exe\u{202c}",
        "\u{e0041}\u{feff}\u{200b}",
    ];

    #[test]
    fn no_text_of_others_does_anything_to_a_terminal() {
        for hostile in HOSTILE {
            let text = lines_visible(&format!("before {hostile} after"));
            assert!(
                !text.chars().any(|c| c != '\n' && is_invisible(c)),
                "{text:?}"
            );
            let row = vec!["a".to_owned(), hostile.to_owned(), "b".to_owned()];
            let rows = table(&[row.clone(), row]);
            assert_eq!(rows.lines().count(), 2, "{rows:?}");
            assert!(
                !rows.chars().any(|c| c != '\n' && is_invisible(c)),
                "{rows:?}"
            );
        }
    }

    #[test]
    fn what_is_visible_stays_as_it_is() {
        let text = "Grüße, 写真 \u{1f469}\u{200d}\u{1f4bb}\n  \\u{1b} C:\\n";
        assert_eq!(lines_visible(text), text);
        assert_eq!(
            escaped("{\n  \"a\": \"写真\"\n}"),
            "{\n  \"a\": \"写真\"\n}"
        );
    }

    #[test]
    fn json_is_escaped_and_means_the_same() {
        for hostile in HOSTILE {
            let document = serde_json::json!({ hostile: [hostile, 1] });
            let written = escaped(&serde_json::to_string_pretty(&document).unwrap());
            assert!(
                !written.chars().any(|c| c != '\n' && is_invisible(c)),
                "{written:?}"
            );
            let read: serde_json::Value = serde_json::from_str(&written).unwrap();
            assert_eq!(read, document);
        }
    }
}
