//! Condition and update expressions of DynamoDB, as far as the run table uses them. What is not known
//! here panics, so that no expression passes without being evaluated.

use std::collections::HashMap;

use real_dynamodb::types::AttributeValue;

/// Attributes by name.
pub type Item = HashMap<String, AttributeValue>;

/// What the placeholders of an expression stand for.
#[derive(Clone, Copy)]
pub(crate) struct Placeholders<'a> {
    pub(crate) names: Option<&'a HashMap<String, String>>,
    pub(crate) values: Option<&'a Item>,
}

impl<'a> Placeholders<'a> {
    fn name(self, token: &'a str) -> &'a str {
        if !token.starts_with('#') {
            return token;
        }
        self.names
            .and_then(|names| names.get(token))
            .unwrap_or_else(|| panic!("{token} stands for no name"))
    }

    fn value(self, token: &str) -> &'a AttributeValue {
        self.values
            .and_then(|values| values.get(token))
            .unwrap_or_else(|| panic!("{token} stands for no value"))
    }
}

/// Whether a condition holds for an item; `None` is one that does not exist.
pub(crate) fn holds(condition: &str, item: Option<&Item>, given: Placeholders<'_>) -> bool {
    let mut tokens = Tokens::of(condition);
    let holds = any(&mut tokens, item, given);
    assert!(tokens.next().is_none(), "not understood: {condition}");
    holds
}

fn any(tokens: &mut Tokens<'_>, item: Option<&Item>, given: Placeholders<'_>) -> bool {
    let mut holds = all(tokens, item, given);
    while tokens.take_if("OR") {
        holds |= all(tokens, item, given);
    }
    holds
}

fn all(tokens: &mut Tokens<'_>, item: Option<&Item>, given: Placeholders<'_>) -> bool {
    let mut holds = one(tokens, item, given);
    while tokens.take_if("AND") {
        holds &= one(tokens, item, given);
    }
    holds
}

fn one(tokens: &mut Tokens<'_>, item: Option<&Item>, given: Placeholders<'_>) -> bool {
    let attribute = |token: &str| {
        let name = placeholder(given, token);
        item.and_then(|item| item.get(name))
    };
    match tokens.must() {
        "(" => {
            let holds = any(tokens, item, given);
            tokens.must_be(")");
            holds
        }
        "attribute_exists" => {
            let name = tokens.argument();
            attribute(name).is_some()
        }
        "attribute_not_exists" => {
            let name = tokens.argument();
            attribute(name).is_none()
        }
        name => {
            let operator = tokens.must();
            let value = given.value(tokens.must());
            let Some(found) = attribute(name) else {
                return false;
            };
            match operator {
                "=" => found == value,
                ">" => number(found) > number(value),
                _ => panic!("not understood: {name} {operator}"),
            }
        }
    }
}

fn placeholder<'a>(given: Placeholders<'a>, token: &'a str) -> &'a str {
    given.name(token)
}

/// What an item is after an update. All values are those from before it.
pub(crate) fn updated(expression: &str, before: &Item, given: Placeholders<'_>) -> Item {
    let mut after = before.clone();
    let mut tokens = Tokens::of(expression);
    let mut clause = "";
    while let Some(token) = tokens.next() {
        let name = match token {
            "SET" | "ADD" | "REMOVE" => {
                clause = token;
                tokens.must()
            }
            "," => tokens.must(),
            _ => panic!("not understood: {expression}"),
        };
        let name = given.name(name).to_owned();
        match clause {
            "SET" => {
                tokens.must_be("=");
                let value = match tokens.must() {
                    "if_not_exists" => {
                        tokens.must_be("(");
                        let other = given.name(tokens.must());
                        tokens.must_be(",");
                        let fallback = given.value(tokens.must());
                        tokens.must_be(")");
                        before.get(other).unwrap_or(fallback)
                    }
                    value => given.value(value),
                };
                after.insert(name, value.clone());
            }
            "ADD" => {
                let added = given.value(tokens.must());
                let sum = match (before.get(&name), added) {
                    (None, added) => added.clone(),
                    (Some(AttributeValue::Ss(known)), AttributeValue::Ss(more)) => {
                        let mut union = known.clone();
                        union.extend(more.iter().filter(|one| !known.contains(one)).cloned());
                        AttributeValue::Ss(union)
                    }
                    (Some(known), added) => {
                        AttributeValue::N((number(known) + number(added)).to_string())
                    }
                };
                after.insert(name, sum);
            }
            "REMOVE" => {
                after.remove(&name);
            }
            _ => panic!("not understood: {expression}"),
        }
    }
    after
}

fn number(value: &AttributeValue) -> i64 {
    value
        .as_n()
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{value:?} is no whole number"))
}

struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn of(expression: &'a str) -> Self {
        Self { rest: expression }
    }

    fn peek(&self) -> Option<(&'a str, &'a str)> {
        let text = self.rest.trim_start();
        let first = text.chars().next()?;
        let end = if "(),=>".contains(first) {
            1
        } else {
            text.find(|c: char| c.is_whitespace() || "(),=>".contains(c))
                .unwrap_or(text.len())
        };
        Some(text.split_at(end))
    }

    fn next(&mut self) -> Option<&'a str> {
        let (token, rest) = self.peek()?;
        self.rest = rest;
        Some(token)
    }

    fn must(&mut self) -> &'a str {
        self.next().expect("the expression goes on")
    }

    fn must_be(&mut self, expected: &str) {
        assert_eq!(self.must(), expected, "before {:?}", self.rest);
    }

    fn take_if(&mut self, expected: &str) -> bool {
        match self.peek() {
            Some((token, rest)) if token == expected => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// The one argument of a function.
    fn argument(&mut self) -> &'a str {
        self.must_be("(");
        let argument = self.must();
        self.must_be(")");
        argument
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(value: i64) -> AttributeValue {
        AttributeValue::N(value.to_string())
    }

    fn given<'a>(names: &'a HashMap<String, String>, values: &'a Item) -> Placeholders<'a> {
        Placeholders {
            names: Some(names),
            values: Some(values),
        }
    }

    #[test]
    fn conditions_hold_as_dynamodb_says() {
        let names = HashMap::from([("#status".to_owned(), "status".to_owned())]);
        let values = Item::from([(":one".to_owned(), n(1)), (":two".to_owned(), n(2))]);
        let item = Item::from([("status".to_owned(), n(2))]);
        let cases = [
            ("attribute_exists(pk)", false),
            ("attribute_not_exists(pk)", true),
            ("#status = :two", true),
            ("#status = :one", false),
            ("#status > :one AND attribute_not_exists(reason)", true),
            ("#status > :two", false),
            // An attribute that is not there compares with nothing.
            ("pending = :one", false),
            (
                "#status = :two AND (attribute_not_exists(report) OR report = :one)",
                true,
            ),
            (
                "#status = :one AND (attribute_not_exists(report) OR report = :one)",
                false,
            ),
            ("#status = :one OR #status = :two", true),
        ];
        for (condition, expected) in cases {
            let given = given(&names, &values);
            assert_eq!(
                holds(condition, Some(&item), given),
                expected,
                "{condition}"
            );
            if condition.starts_with("attribute_not_exists") {
                assert!(holds(condition, None, given));
            }
        }
    }

    #[test]
    fn updates_read_what_was_there_before_them() {
        let names = HashMap::from([("#rows".to_owned(), "rows".to_owned())]);
        let values = Item::from([
            (":one".to_owned(), n(1)),
            (":minus".to_owned(), n(-1)),
            (":regions".to_owned(), AttributeValue::Ss(vec!["b".into()])),
        ]);
        let before = Item::from([
            ("rows".to_owned(), n(5)),
            ("regions".to_owned(), AttributeValue::Ss(vec!["a".into()])),
        ]);
        let given = given(&names, &values);
        let after = updated(
            "SET first = if_not_exists(first, :one), kept = if_not_exists(#rows, :one) \
             ADD #rows :minus, regions :regions",
            &before,
            given,
        );
        assert_eq!(after["first"], n(1));
        assert_eq!(after["kept"], n(5));
        assert_eq!(after["rows"], n(4));
        assert_eq!(
            after["regions"],
            AttributeValue::Ss(vec!["a".into(), "b".into()])
        );
        assert!(!updated("REMOVE #rows", &before, given).contains_key("rows"));
        assert_eq!(updated("ADD fresh :one", &before, given)["fresh"], n(1));
    }
}
