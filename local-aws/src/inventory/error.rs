//! Errors as S3 answers them.

use bytes::Bytes;
use http::{Response, StatusCode};
use quick_xml::escape::escape;

/// An error answer of S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct S3Error {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl S3Error {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    /// Another change of the same bucket is under way.
    pub(crate) fn busy() -> Self {
        let message = "A conflicting conditional operation is currently in progress against this \
                       resource. Try again.";
        Self::new(StatusCode::CONFLICT, "OperationAborted", message)
    }

    pub(crate) fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidArgument", message)
    }

    /// S3's own words, and then what S3 does not tell.
    pub(crate) fn malformed_xml(detail: &dyn std::fmt::Display) -> Self {
        let message = "The XML you provided was not well-formed or did not validate against our published schema";
        Self::new(
            StatusCode::BAD_REQUEST,
            "MalformedXML",
            format!("{message} ({detail})"),
        )
    }

    pub(crate) fn internal(error: &anyhow::Error) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            format!("{error:#}"),
        )
    }

    pub(crate) fn response(&self, bucket: &str) -> Response<Bytes> {
        let request_id = request_id();
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}</Message>\
             <Resource>/{}</Resource><RequestId>{request_id}</RequestId></Error>",
            self.code,
            escape(&self.message),
            escape(bucket),
        );
        xml(self.status, &request_id, body)
    }
}

/// An answer with a document.
pub(crate) fn xml(status: StatusCode, request_id: &str, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/xml"),
    );
    if let Ok(id) = http::HeaderValue::from_str(request_id) {
        headers.insert("x-amz-request-id", id);
    }
    response
}

pub(crate) fn request_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..16].to_uppercase()
}
