//! What a request asks for, and how its service says that it cannot.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use percent_encoding::percent_decode_str;

use crate::inventory::S3Error;

/// How a service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// JSON with `X-Amz-Target`.
    Json,
    /// Forms with `Action`, answered in XML.
    Query,
    S3,
    RestJson,
}

/// A request's service and operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// As in the signature; empty for an unsigned request.
    pub(crate) service: String,
    pub(crate) operation: String,
    protocol: Protocol,
}

/// Whether the body is needed to know what is asked for.
pub(crate) fn says_more_in_its_body(head: &Parts) -> bool {
    is_form(head) || header_of(head, "x-amz-target").starts_with("DynamoDB")
}

/// Whether the operation stands in the body.
fn is_form(head: &Parts) -> bool {
    header_of(head, "content-type").starts_with("application/x-www-form-urlencoded")
}

impl Asked {
    /// `body` is looked at for forms only.
    pub(crate) fn of(head: &Parts, body: &[u8]) -> Self {
        let service = service(header_of(head, "authorization"));
        let target = header_of(head, "x-amz-target");
        let (protocol, operation) = if service == "s3" {
            (Protocol::S3, None)
        } else if !target.is_empty() {
            let name = target.rsplit('.').next().unwrap_or(target);
            (Protocol::Json, Some(name.to_owned()))
        } else if is_form(head) {
            (Protocol::Query, action(body))
        } else {
            (Protocol::RestJson, None)
        };
        let operation = operation.unwrap_or_else(|| format!("{} {}", head.method, head.uri.path()));
        Self {
            service,
            operation,
            protocol,
        }
    }

    /// Whether it reads from DynamoDB and takes an answer that is not the latest.
    pub(crate) fn may_be_stale(&self, body: &[u8]) -> bool {
        let reads = ["GetItem", "Query", "Scan"].contains(&self.operation.as_str());
        let asked = || serde_json::from_slice::<serde_json::Value>(body).unwrap_or_default();
        self.service == "dynamodb" && reads && asked()["ConsistentRead"] != true
    }

    /// Too many requests.
    pub(crate) fn throttled(&self) -> Response<Bytes> {
        let code = match self.service.as_str() {
            "sqs" => "RequestThrottled",
            "dynamodb" | "states" | "glue" => "ThrottlingException",
            _ => "TooManyRequestsException",
        };
        match self.protocol {
            Protocol::S3 => s3(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
            Protocol::Query => query(StatusCode::BAD_REQUEST, "Throttling"),
            Protocol::Json => json(StatusCode::BAD_REQUEST, code),
            Protocol::RestJson => rest_json(StatusCode::TOO_MANY_REQUESTS, code),
        }
    }

    /// A status of 500 or 503.
    pub(crate) fn broken(&self, status: StatusCode) -> Response<Bytes> {
        let unavailable = status == StatusCode::SERVICE_UNAVAILABLE;
        let code = match (unavailable, self.protocol) {
            (true, _) => "ServiceUnavailable",
            (false, Protocol::S3) => "InternalError",
            (false, Protocol::Query) => "InternalFailure",
            (false, _) => "InternalServerError",
        };
        match self.protocol {
            Protocol::S3 => s3(status, code),
            Protocol::Query => query(status, code),
            Protocol::Json => json(status, code),
            Protocol::RestJson => rest_json(status, code),
        }
    }
}

/// `Credential=KEY/DATE/REGION/SERVICE/aws4_request` of a signature.
fn service(authorization: &str) -> String {
    let credential = authorization
        .split_once("Credential=")
        .map_or("", |(_, rest)| rest);
    credential
        .split([',', ' '])
        .next()
        .and_then(|scope| scope.split('/').nth(3))
        .unwrap_or_default()
        .to_owned()
}

fn action(body: &[u8]) -> Option<String> {
    let body = std::str::from_utf8(body).ok()?;
    let value = body
        .split('&')
        .find_map(|pair| pair.strip_prefix("Action="))?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

fn header_of<'a>(head: &'a Parts, name: &str) -> &'a str {
    head.headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

const MESSAGE: &str = "A fault on purpose.";

fn s3(status: StatusCode, code: &'static str) -> Response<Bytes> {
    S3Error::new(status, code, MESSAGE).response("")
}

fn query(status: StatusCode, code: &str) -> Response<Bytes> {
    let sender = if status.is_server_error() {
        "Receiver"
    } else {
        "Sender"
    };
    let body = format!(
        "<ErrorResponse><Error><Type>{sender}</Type><Code>{code}</Code><Message>{MESSAGE}</Message>\
         </Error><RequestId>fault</RequestId></ErrorResponse>"
    );
    answer(status, "text/xml", body)
}

fn json(status: StatusCode, code: &str) -> Response<Bytes> {
    let body = serde_json::json!({"__type": code, "message": MESSAGE});
    answer(status, "application/x-amz-json-1.0", body.to_string())
}

fn rest_json(status: StatusCode, code: &'static str) -> Response<Bytes> {
    let body = serde_json::json!({"message": MESSAGE});
    let mut response = answer(status, "application/json", body.to_string());
    response
        .headers_mut()
        .insert("x-amzn-errortype", HeaderValue::from_static(code));
    response
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(
        service: &str,
        headers: &[(&str, &str)],
        method: &str,
        uri: &str,
        body: &str,
    ) -> Asked {
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential=ASIA1/20261120/eu-west-1/{service}/aws4_request, SignedHeaders=host"
        );
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header("authorization", scope);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        Asked::of(&head, body.as_bytes())
    }

    #[test]
    fn only_reads_of_dynamodb_that_allow_it_may_be_stale() {
        for (operation, body, may) in [
            ("GetItem", r#"{"Key": {}}"#, true),
            ("Query", r#"{"ConsistentRead": false}"#, true),
            ("Query", r#"{"ConsistentRead": true}"#, false),
            ("UpdateItem", "{}", false),
        ] {
            let target = format!("DynamoDB_20120810.{operation}");
            let target = [("x-amz-target", target.as_str())];
            let found = asked("dynamodb", &target, "POST", "/", body);
            assert_eq!(
                found.may_be_stale(body.as_bytes()),
                may,
                "{operation} {body}"
            );
        }
        let form = [("content-type", "application/x-www-form-urlencoded")];
        assert!(!asked("sqs", &form, "POST", "/", "Action=Query").may_be_stale(b""));
    }

    #[test]
    fn every_protocol_names_its_operation_in_its_own_place() {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let target = [("x-amz-target", "DynamoDB_20120810.UpdateItem")];
        for (found, service, operation) in [
            (
                asked("dynamodb", &target, "POST", "/", "{}"),
                "dynamodb",
                "UpdateItem",
            ),
            (
                asked("sts", &form, "POST", "/", "Action=AssumeRole&Version=1"),
                "sts",
                "AssumeRole",
            ),
            (
                asked("s3", &[], "PUT", "/b/k%2F1?uploadId=x", ""),
                "s3",
                "PUT /b/k%2F1",
            ),
            (
                asked("ses", &[], "POST", "/v2/email/outbound-emails", ""),
                "ses",
                "POST /v2/email/outbound-emails",
            ),
        ] {
            assert_eq!(found.service, service);
            assert_eq!(found.operation, operation);
        }
    }
}
