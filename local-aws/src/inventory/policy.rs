//! May S3 deliver into a bucket? Reads the destination bucket's policy as IAM does, for the one
//! principal and the one action that matter here.

use std::collections::BTreeMap;

use serde_json::Value;

/// The service that delivers reports.
const SERVICE: &str = "s3.amazonaws.com";
const ACTION: &str = "s3:PutObject";

/// The facts of one delivery, by lower-case condition key.
pub(crate) struct Delivery<'a> {
    pub(crate) source_account_id: &'a str,
    pub(crate) source_bucket: &'a str,
    /// ARN of an object that is to be written.
    pub(crate) resource: &'a str,
}

impl Delivery<'_> {
    fn keys(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("aws:sourceaccount", self.source_account_id.to_owned()),
            (
                "aws:sourcearn",
                format!("arn:aws:s3:::{}", self.source_bucket),
            ),
            ("s3:x-amz-acl", "bucket-owner-full-control".to_owned()),
            ("aws:securetransport", "true".to_owned()),
            ("aws:principalisawsservice", "true".to_owned()),
            ("aws:principalservicename", SERVICE.to_owned()),
        ])
    }
}

/// Whether the policy (a JSON document) lets S3 write the report: allowed somewhere, refused nowhere.
pub(crate) fn allows(policy: &str, delivery: &Delivery<'_>) -> bool {
    let Ok(document) = serde_json::from_str::<Value>(policy) else {
        return false;
    };
    let statements = many(&document["Statement"]);
    let keys = delivery.keys();
    let applies = |statement: &&Value, effect: &str| {
        statement["Effect"] == effect
            && names_service(statement)
            && names_action(statement)
            && names_resource(statement, delivery.resource)
            && conditions_hold(&statement["Condition"], &keys, effect == "Deny")
    };
    !statements
        .iter()
        .any(|statement| applies(statement, "Deny"))
        && statements
            .iter()
            .any(|statement| applies(statement, "Allow"))
}

fn names_service(statement: &Value) -> bool {
    let named = |principal: &Value| {
        principal == "*"
            || many(&principal["Service"])
                .iter()
                .any(|service| *service == SERVICE)
            || many(&principal["AWS"]).iter().any(|who| *who == "*")
    };
    match (statement.get("Principal"), statement.get("NotPrincipal")) {
        (Some(principal), _) => named(principal),
        (None, Some(excepted)) => !named(excepted),
        (None, None) => false,
    }
}

fn names_action(statement: &Value) -> bool {
    let named = |actions: &Value| {
        strings(actions).any(|pattern| like(&pattern.to_lowercase(), &ACTION.to_lowercase()))
    };
    match (statement.get("Action"), statement.get("NotAction")) {
        (Some(actions), _) => named(actions),
        (None, Some(excepted)) => !named(excepted),
        (None, None) => false,
    }
}

fn names_resource(statement: &Value, resource: &str) -> bool {
    let named = |resources: &Value| strings(resources).any(|pattern| like(pattern, resource));
    match (statement.get("Resource"), statement.get("NotResource")) {
        (Some(resources), _) => named(resources),
        (None, Some(excepted)) => !named(excepted),
        (None, None) => false,
    }
}

/// `unknown` is the answer for an operator that is not known here: a refusal then counts and a
/// permission does not.
fn conditions_hold(
    conditions: &Value,
    keys: &BTreeMap<&'static str, String>,
    unknown: bool,
) -> bool {
    let Value::Object(operators) = conditions else {
        return true;
    };
    operators.iter().all(|(operator, wanted)| {
        let Value::Object(wanted) = wanted else {
            return unknown;
        };
        wanted.iter().all(|(key, values)| {
            let actual = keys.get(key.to_lowercase().as_str()).map(String::as_str);
            condition_holds(operator, actual, values).unwrap_or(unknown)
        })
    })
}

fn condition_holds(operator: &str, actual: Option<&str>, values: &Value) -> Option<bool> {
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    let any = |matches: &dyn Fn(&str, &str) -> bool| {
        actual.map(|actual| {
            strings_or_scalars(values)
                .iter()
                .any(|value| matches(value, actual))
        })
    };
    let equal = |value: &str, actual: &str| value == actual;
    let equal_fold = |value: &str, actual: &str| value.eq_ignore_ascii_case(actual);
    let (found, negated) = match operator {
        "StringEquals" => (any(&equal), false),
        "StringNotEquals" => (any(&equal), true),
        "StringEqualsIgnoreCase" | "Bool" => (any(&equal_fold), false),
        "StringNotEqualsIgnoreCase" => (any(&equal_fold), true),
        "StringLike" => (any(&like), false),
        "StringNotLike" => (any(&like), true),
        "ArnLike" | "ArnEquals" => (any(&arn_like), false),
        "ArnNotLike" | "ArnNotEquals" => (any(&arn_like), true),
        "Null" => {
            let absent = if actual.is_none() { "true" } else { "false" };
            return Some(
                strings_or_scalars(values)
                    .iter()
                    .any(|value| value == absent),
            );
        }
        _ => return None,
    };
    Some(match found {
        Some(found) => found != negated,
        // An absent key meets the negated operators and every `…IfExists`.
        None => negated || if_exists,
    })
}

/// ARNs match part by part: a `*` does not reach over a colon, except in the last part.
fn arn_like(pattern: &str, arn: &str) -> bool {
    let pattern: Vec<&str> = pattern.splitn(6, ':').collect();
    let arn: Vec<&str> = arn.splitn(6, ':').collect();
    pattern.len() == arn.len()
        && pattern
            .iter()
            .zip(&arn)
            .all(|(pattern, part)| like(pattern, part))
}

/// `*` stands for any run of characters, `?` for one.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star_at, taken)) = star {
            star = Some((star_at, taken + 1));
            p = star_at + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

fn many(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    many(value).into_iter().filter_map(Value::as_str)
}

fn strings_or_scalars(value: &Value) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    many(value).into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DELIVERY: Delivery<'static> = Delivery {
        source_account_id: "222222222222",
        source_bucket: "acme-logs",
        resource: "arn:aws:s3:::dest/222222222222/acme-logs/id/data/x.parquet",
    };

    #[expect(clippy::needless_pass_by_value, reason = "called with literals")]
    fn statement(conditions: Value) -> Value {
        json!({"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "s3:PutObject",
            "Resource": ["arn:aws:s3:::dest/*"], "Condition": conditions})
    }

    fn check(statements: &[Value]) -> bool {
        allows(
            &json!({"Version": "2012-10-17", "Statement": statements}).to_string(),
            &DELIVERY,
        )
    }

    #[test]
    fn the_statement_of_the_user_guide_allows_a_delivery_from_exactly_what_it_names() {
        let of = |account: Value, arn: &str| {
            check(&[statement(
                json!({"StringEquals": {"aws:SourceAccount": account,
                "s3:x-amz-acl": "bucket-owner-full-control"}, "ArnLike": {"aws:SourceArn": arn}}),
            )])
        };
        assert!(of(json!("222222222222"), "arn:aws:s3:::acme-logs"));
        assert!(of(
            json!(["111111111111", "222222222222"]),
            "arn:aws:s3:::*"
        ));
        assert!(!of(json!("333333333333"), "arn:aws:s3:::*"));
        assert!(!of(json!("222222222222"), "arn:aws:s3:::other"));
    }

    #[test]
    fn principal_action_and_resource_must_fit() {
        let changed = |field: &str, value: Value| {
            let mut statement = statement(json!({}));
            statement[field] = value;
            check(&[statement])
        };
        assert!(check(&[statement(json!({}))]));
        assert!(changed("Principal", json!("*")));
        assert!(changed("Action", json!(["s3:Put*", "s3:GetObject"])));
        assert!(!changed(
            "Principal",
            json!({"Service": "sns.amazonaws.com"})
        ));
        assert!(!changed(
            "Principal",
            json!({"AWS": "arn:aws:iam::222222222222:root"})
        ));
        assert!(!changed("Action", json!("s3:GetObject")));
        assert!(!changed("Resource", json!("arn:aws:s3:::dest")));
    }

    #[test]
    fn a_refusal_wins_unless_its_condition_does_not_hold() {
        let refusal = |condition: Value| {
            json!({"Effect": "Deny", "Principal": "*", "Action": "s3:*",
                "Resource": ["arn:aws:s3:::dest", "arn:aws:s3:::dest/*"], "Condition": condition})
        };
        let allow = || statement(json!({}));
        assert!(check(&[
            allow(),
            refusal(json!({"Bool": {"aws:SecureTransport": "false"}}))
        ]));
        assert!(check(&[
            allow(),
            refusal(json!({"Bool": {"aws:SecureTransport": false}}))
        ]));
        assert!(!check(&[
            allow(),
            refusal(json!({"StringNotEquals": {"aws:SourceVpc": "vpc-1"}}))
        ]));
        assert!(!check(&[
            allow(),
            refusal(json!({"NobodyKnows": {"aws:SourceVpc": "vpc-1"}}))
        ]));
    }

    #[test]
    fn a_permission_with_an_unknown_or_absent_condition_does_not_count() {
        assert!(!check(&[statement(
            json!({"NobodyKnows": {"aws:SourceAccount": "222222222222"}})
        )]));
        assert!(!check(&[statement(
            json!({"StringEquals": {"aws:SourceOrgID": "o-1"}})
        )]));
        assert!(check(&[statement(
            json!({"StringEqualsIfExists": {"aws:SourceOrgID": "o-1"}})
        )]));
        assert!(!check(&[]));
        assert!(!allows("not json", &DELIVERY));
    }

    #[test]
    fn wildcards_match_as_in_policies() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("**x", "aax", true),
            ("a*b*c", "a1b2b3c", true),
            ("", "a", false),
        ] {
            assert_eq!(like(pattern, text), expected, "{pattern} on {text}");
        }
    }
}
