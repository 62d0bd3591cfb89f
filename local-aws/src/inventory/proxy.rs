//! Passing requests on to MiniStack, and answers back: streaming, with the caller's own headers.

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::error::S3Error;

/// Body of an answer.
pub(crate) type Body = BoxBody<Bytes, hyper::Error>;

/// Marks a request that is to be authenticated and authorised, and then to do nothing.
const AUTHORISE_HEADER: &str = "x-s3insights-authorise";

/// The way to MiniStack. Connections are kept alive.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    client: Client<HttpConnector, Body>,
    authority: String,
}

impl Proxy {
    pub(crate) fn new(authority: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            authority: authority.to_owned(),
        }
    }

    /// Passes a request on. What MiniStack cannot answer is answered as S3 does when it is down.
    pub(crate) async fn pass(&self, request: Request<Body>) -> Response<Body> {
        match self.forward(request).await {
            Ok(response) => response.map(BodyExt::boxed),
            Err(error) => {
                let message = format!("MiniStack does not answer: {error:#}");
                let error = S3Error::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "ServiceUnavailable",
                    message,
                );
                error.response("").map(full)
            }
        }
    }

    /// Lets MiniStack authenticate and authorise an `?inventory` request, and look for the bucket.
    /// The error is the answer to give instead.
    pub(crate) async fn authorise(
        &self,
        head: &http::request::Parts,
        body: Bytes,
    ) -> Result<(), Box<Response<Body>>> {
        let mut request = Request::new(full(body));
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = head.uri.clone();
        *request.headers_mut() = head.headers.clone();
        request
            .headers_mut()
            .insert(AUTHORISE_HEADER, http::HeaderValue::from_static("1"));
        match self.forward(request).await {
            Ok(response) if response.status() == StatusCode::OK => {
                // Read to the end, for the connection to be used again.
                let _ = response.into_body().collect().await;
                Ok(())
            }
            Ok(response) => Err(Box::new(response.map(BodyExt::boxed))),
            Err(error) => Err(Box::new(S3Error::internal(&error).response("").map(full))),
        }
    }

    async fn forward(&self, mut request: Request<Body>) -> Result<Response<Incoming>> {
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        *request.uri_mut() = Uri::builder()
            .scheme("http")
            .authority(self.authority.as_str())
            .path_and_query(path)
            .build()?;
        drop_hop_by_hop(request.headers_mut());
        // The body follows at once: there is nothing to ask for first.
        request.headers_mut().remove(header::EXPECT);
        let mut response = self.client.request(request).await?;
        drop_hop_by_hop(response.headers_mut());
        Ok(response)
    }
}

/// Headers that belong to one connection. The Host header stays: signatures cover it.
fn drop_hop_by_hop(headers: &mut HeaderMap) {
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::TE,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

/// A body that is there as a whole.
pub(crate) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}
