//! Reading a run input. Only whether it is JSON is checked here: `initialize` checks the rest.

use std::io::Read as _;

use anyhow::Result;
use serde_json::Value;

use crate::arguments::InputSource;
use crate::trouble::Trouble;

/// Reads and parses a run input.
pub(crate) fn read(source: &InputSource) -> Result<Value> {
    let (name, bytes) = match source {
        InputSource::Standard => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut bytes);
            ("standard input".to_owned(), read.map(|_| bytes))
        }
        InputSource::File(path) => (path.display().to_string(), std::fs::read(path)),
    };
    let bytes = bytes.map_err(|error| Trouble::misuse(format!("{name}: {error}")))?;
    Ok(parse(&name, &bytes)?)
}

fn parse(name: &str, bytes: &[u8]) -> Result<Value, Trouble> {
    // Editors on Windows like to begin a file with this mark.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(bytes).map_err(|error| {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let said = error.to_string();
        let said = said.strip_suffix(&place).unwrap_or(&said);
        Trouble::misuse(format!(
            "{name}:{}:{}: {said}",
            error.line(),
            error.column()
        ))
        .hint("this is not JSON, so nothing was started")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_json_is_answered_with_file_line_and_column() {
        let cases: [(&[u8], &str); 5] = [
            (
                b"{\n  \"accounts\": [],\n}\n",
                "in.json:3:1: trailing comma",
            ),
            (b"{\"a\": 1 \"b\": 2}", "in.json:1:9: expected `,` or `}`"),
            (b"", "in.json:1:0: EOF while parsing a value"),
            (
                b"{\"a\": \"\xff\"}",
                "in.json:1:8: invalid unicode code point",
            ),
            (b"{} {}", "in.json:1:4: trailing characters"),
        ];
        for (text, message) in cases {
            assert_eq!(parse("in.json", text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn any_json_goes_to_the_platform_as_it_is() {
        let text = b"\xef\xbb\xbf{\"run_id\": \"a-b\", \"unknown\": [1, null]}";
        let expected = serde_json::json!({ "run_id": "a-b", "unknown": [1, null] });
        assert_eq!(parse("in.json", text).unwrap(), expected);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read(&InputSource::File("no/such.json".into()))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("no/such.json: "), "{error}");
    }
}
