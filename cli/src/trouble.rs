//! What goes wrong, and what the user can do about it.

use shared::aws::{AwsError, Class};

use crate::exit::Exit;
use crate::output::{self, lines_visible};

/// An error with a hint.
#[derive(Debug)]
pub(crate) struct Trouble {
    message: String,
    hint: Option<String>,
    exit: Exit,
}

impl Trouble {
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            exit: Exit::Failed,
        }
    }

    pub(crate) fn misuse(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            exit: Exit::Misuse,
        }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Trouble {}

/// Tells what went wrong.
pub(crate) fn report(error: &anyhow::Error) -> Exit {
    let (text, exit) = describe(error);
    output::note(&text);
    exit
}

fn describe(error: &anyhow::Error) -> (String, Exit) {
    let trouble = error.downcast_ref::<Trouble>();
    let aws = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<AwsError>());
    let message = match aws {
        Some(aws) => format!("{error:#}").replace(&aws.message, plain_message(aws)),
        None => format!("{error:#}"),
    };
    let hint = trouble
        .and_then(|trouble| trouble.hint.clone())
        .or_else(|| aws.and_then(aws_hint).map(str::to_owned));
    let mut text = format!("error: {}", lines_visible(&message));
    if let Some(hint) = hint {
        text.push_str("\nhint: ");
        text.push_str(&hint);
    }
    (text, trouble.map_or(Exit::Failed, |trouble| trouble.exit))
}

/// What AWS said, without the dump of the SDK's own values that follows when nobody answered.
fn plain_message(error: &AwsError) -> &str {
    let is_dump = |rest: &str| rest[" (".len()..].starts_with(|c: char| c.is_ascii_uppercase());
    error
        .message
        .match_indices(" (")
        .find(|(start, _)| error.code == "RequestFailed" && is_dump(&error.message[*start..]))
        .map_or(error.message.as_str(), |(start, _)| &error.message[..start])
}

fn aws_hint(error: &AwsError) -> Option<&'static str> {
    match (error.code.as_str(), error.class) {
        ("RequestFailed", _) if error.message.contains("redentials") => Some(
            "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or sign in with `aws sso login`",
        ),
        ("RequestFailed", _) => Some("check the network, AWS_REGION and AWS_ENDPOINT_URL"),
        ("ExpiredToken" | "ExpiredTokenException" | "RequestExpired", _) => {
            Some("the credentials have expired; renew them, for instance with `aws sso login`")
        }
        (
            "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidSignatureException",
            _,
        ) => Some("check AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (_, Class::Refused) => Some(
            "the credentials in use may not do that; `aws sts get-caller-identity` tells whose they are",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    fn aws(code: &str, class: Class, message: &str) -> AwsError {
        AwsError {
            operation: "DescribeStacks of s3insights in eu-west-1".into(),
            code: code.into(),
            message: message.into(),
            class,
        }
    }

    #[test]
    fn a_trouble_brings_its_own_hint_and_exit_code() {
        let misuse = anyhow::Error::new(Trouble::misuse("a.json:1:2: no").hint("look there"));
        assert_eq!(
            describe(&misuse),
            (
                "error: a.json:1:2: no\nhint: look there".into(),
                Exit::Misuse
            )
        );
        let plain = anyhow::anyhow!("inner").context("outer");
        assert_eq!(
            describe(&plain),
            ("error: outer: inner".into(), Exit::Failed)
        );
    }

    #[test]
    fn missing_credentials_are_said_in_a_line_with_what_to_set() {
        let said = "dispatch failure: other: no providers in chain provided credentials (DispatchFailure(DispatchFailure { source: … }))";
        let error: Result<(), _> = Err(aws("RequestFailed", Class::Unavailable, said));
        let (text, exit) = describe(&error.context("looking for the platform").unwrap_err());
        assert_eq!(exit, Exit::Failed);
        assert_eq!(
            text.lines().next().unwrap(),
            "error: looking for the platform: DescribeStacks of s3insights in eu-west-1: RequestFailed: \
             dispatch failure: other: no providers in chain provided credentials"
        );
        assert!(text.contains("\nhint: set AWS_PROFILE"), "{text}");
    }

    #[test]
    fn a_refusal_and_a_dead_end_have_different_hints() {
        let hint = |code, class| aws_hint(&aws(code, class, "no"));
        assert!(
            hint("AccessDenied", Class::Refused)
                .unwrap()
                .contains("may not")
        );
        assert!(
            hint("ExpiredToken", Class::Other)
                .unwrap()
                .contains("expired")
        );
        assert!(
            hint("RequestFailed", Class::Unavailable)
                .unwrap()
                .contains("AWS_ENDPOINT_URL")
        );
        assert_eq!(hint("ValidationError", Class::Other), None);
    }

    #[test]
    fn what_aws_says_cannot_move_the_cursor() {
        let (text, _) = describe(&anyhow::anyhow!("one\u{1b}[2J\ntwo"));
        assert_eq!(text, "error: one\\u{1b}[2J\ntwo");
    }
}
