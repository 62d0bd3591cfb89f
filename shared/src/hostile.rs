//! What the tests of parsers are given: any JSON, texts that mean something elsewhere, and valid documents
//! with some of it put in.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value};

/// Texts that are commands, paths, markup or headers elsewhere.
pub(crate) const TEXTS: [&str; 20] = [
    "",
    " ",
    "'; DROP TABLE inventory; --",
    "\" OR \"\"=\"",
    "{ATHENA_TABLE}",
    "${jndi:ldap://x}",
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "{{ 7*7 }}{% raw %}",
    "a@example.com\r\nBcc: b@example.com",
    "a\nSubject: b",
    "\0",
    "\u{1b}[2J\u{9b}2J",
    "gpj.\u{202e}exe",
    "../../../etc/passwd",
    "%2e%2e%2f",
    "..\\..",
    "写真 \u{1f5c3}\u{fe0f} e\u{301}",
    "1e999",
    "__proto__",
];

/// A text that others may have written.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(&TEXTS[..]).prop_map(str::to_owned),
        any::<String>(),
        "[a-z0-9._@/*-]{0,20}",
        (prop::sample::select(&TEXTS[..]), 1_usize..2_000).prop_map(|(text, n)| text.repeat(n)),
    ]
}

/// Any JSON.
pub(crate) fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((text(), inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A valid document in which up to three places are something else, are missing, or have a neighbour.
pub(crate) fn mutated(valid: Value) -> impl Strategy<Value = Value> {
    let change = (any::<prop::sample::Index>(), 0_u8..3, text(), json());
    vec(change, 0..4).prop_map(move |changes| {
        let mut document = valid.clone();
        for (place, kind, name, value) in changes {
            let places = pointers(&document);
            let pointer = place.get(&places);
            match (kind, pointer.rsplit_once('/')) {
                (0, Some((parent, name))) => {
                    let parent = document.pointer_mut(parent);
                    if let Some(Value::Object(fields)) = parent {
                        fields.remove(name);
                    }
                }
                (1, _) => match document.pointer_mut(pointer) {
                    Some(Value::Object(fields)) => drop(fields.insert(name, value)),
                    Some(Value::Array(elements)) => elements.push(value),
                    _ => {}
                },
                _ => {
                    if let Some(found) = document.pointer_mut(pointer) {
                        *found = value;
                    }
                }
            }
        }
        document
    })
}

/// Every place of a document whose path has no escapes; the document itself is the first.
fn pointers(document: &Value) -> Vec<String> {
    let mut pointers = vec![String::new()];
    let mut next = 0;
    while let Some(pointer) = pointers.get(next).cloned() {
        match document.pointer(&pointer) {
            Some(Value::Object(fields)) => {
                let names = fields.keys().filter(|name| !name.contains(['~', '/']));
                pointers.extend(names.map(|name| format!("{pointer}/{name}")));
            }
            Some(Value::Array(elements)) => {
                pointers.extend((0..elements.len()).map(|index| format!("{pointer}/{index}")));
            }
            _ => {}
        }
        next += 1;
    }
    pointers
}
