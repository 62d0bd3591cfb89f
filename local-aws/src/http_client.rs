//! Small HTTP requests to the services on this machine.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Serialize, de::DeserializeOwned};

/// Sends one request and returns status and body.
pub(crate) async fn send(
    method: Method,
    url: &str,
    body: Option<&impl Serialize>,
) -> Result<(StatusCode, Bytes)> {
    let body = match body {
        Some(value) => serde_json::to_vec(value)?,
        None => Vec::new(),
    };
    let request = Request::builder()
        .method(method)
        .uri(url)
        .body(Full::new(Bytes::from(body)))?;
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build_http();
    let response = client
        .request(request)
        .await
        .with_context(|| format!("requesting {url}"))?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

/// Gets a JSON document; `None` when the answer is 404.
pub(crate) async fn get<T: DeserializeOwned>(url: &str) -> Result<Option<T>> {
    let (status, body) = send(Method::GET, url, None::<&()>).await?;
    if status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    parse(url, status, &body).map(Some)
}

/// Sends a JSON document and reads the JSON answer.
pub(crate) async fn post<T: DeserializeOwned>(url: &str, body: &impl Serialize) -> Result<T> {
    let (status, body) = send(Method::POST, url, Some(body)).await?;
    parse(url, status, &body)
}

fn parse<T: DeserializeOwned>(url: &str, status: StatusCode, body: &[u8]) -> Result<T> {
    if !status.is_success() {
        bail!("{url} answered {status}: {}", String::from_utf8_lossy(body));
    }
    serde_json::from_slice(body).with_context(|| format!("reading the answer of {url}"))
}
