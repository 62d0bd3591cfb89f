//! The service: tells inventory requests from everything else, and keeps the
//! configurations and faults.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use percent_encoding::percent_decode_str;
use tokio::sync::Notify;

use crate::{
    gate::{self, Gate},
    http_server,
};

use super::{
    Delivery, Faults, Settings, api,
    configuration::Configuration,
    error::S3Error,
    proxy::{Body, Proxy, full},
    upstream::Upstream,
};

/// Everything the service knows.
pub(crate) struct Service {
    pub(crate) settings: Settings,
    pub(crate) proxy: Proxy,
    pub(crate) upstream: Upstream,
    pub(crate) gate: Gate,
    state: Mutex<State>,
    /// Told whenever faults or configurations change.
    pub(crate) changed: Notify,
}

#[derive(Default)]
pub(crate) struct State {
    /// By name of the source bucket.
    pub(crate) buckets: HashMap<String, Configurations>,
    pub(crate) faults: HashMap<String, Faults>,
    /// Requests seen per bucket that is throttled.
    requests: HashMap<String, u64>,
    pub(crate) deliveries: HashMap<String, Vec<Delivery>>,
    pub(crate) last_generation: u64,
}

/// The configurations of one bucket.
pub(crate) struct Configurations {
    /// When the bucket was made: a new bucket of the same name has none of them.
    pub(crate) bucket_created: String,
    pub(crate) by_id: BTreeMap<String, Stored>,
}

/// A configuration and which putting of it this is.
pub(crate) struct Stored {
    pub(crate) configuration: Configuration,
    pub(crate) generation: u64,
}

impl Service {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock leaves it half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self, bucket: &str) -> Faults {
        self.state().faults.get(bucket).cloned().unwrap_or_default()
    }

    fn throttles(&self, bucket: &str) -> bool {
        let mut state = self.state();
        let Some(throttle) = state.faults.get(bucket).and_then(|faults| faults.throttle) else {
            return false;
        };
        let number = state.requests.entry(bucket.to_owned()).or_default();
        *number += 1;
        throttle.refuses(*number)
    }
}

/// Serves S3 and the gate until it is dropped.
pub(crate) async fn serve(
    settings: Settings,
    listener: tokio::net::TcpListener,
    gate_listener: tokio::net::TcpListener,
) {
    let upstream = Upstream::new(settings.ministack_port);
    let service = Arc::new(Service {
        settings,
        proxy: Proxy::new(upstream.authority()),
        upstream,
        gate: Gate::default(),
        state: Mutex::default(),
        changed: Notify::new(),
    });
    let s3 = Arc::clone(&service);
    tokio::join!(
        http_server::serve(listener, move |request, _| {
            let service = Arc::clone(&s3);
            async move { Ok::<_, Infallible>(answer(service, request).await) }
        }),
        gate::serve(service, gate_listener)
    );
}

/// Answers a request to S3.
pub(crate) async fn answer(service: Arc<Service>, request: Request<Body>) -> Response<Body> {
    let path = request.uri().path();
    if let Some(rest) = path.strip_prefix("/_s3insights/") {
        let rest = rest.to_owned();
        return administer(&service, &rest, request).await.map(full);
    }
    let (bucket, key) = bucket_and_key(path);
    if service.throttles(&bucket) {
        let error = S3Error::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "SlowDown",
            "Please reduce your request rate.",
        );
        return error.response(&bucket).map(full);
    }
    let query = parse_query(request.uri().query().unwrap_or_default());
    if key.is_empty() && !bucket.is_empty() && query.contains_key("inventory") {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else {
            return S3Error::invalid_argument("The body ended early")
                .response(&bucket)
                .map(full);
        };
        return api::answer(&service, &bucket, &query, &head, body.to_bytes()).await;
    }
    service.proxy.pass(request).await
}

fn bucket_and_key(path: &str) -> (String, &str) {
    let path = path.trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    (
        percent_decode_str(bucket).decode_utf8_lossy().into_owned(),
        key,
    )
}

fn parse_query(query: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| {
        percent_decode_str(&text.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// The service's own paths, for the program that started it.
async fn administer(service: &Arc<Service>, path: &str, request: Request<Body>) -> Response<Bytes> {
    let method = request.method().clone();
    let (what, bucket) = path.split_once('/').unwrap_or((path, ""));
    match (method, what) {
        (Method::GET, "identity") => json(
            StatusCode::OK,
            &serde_json::json!({"pid": std::process::id()}),
        ),
        (Method::GET, "faults") => match service.state().faults.get(bucket) {
            Some(faults) => json(StatusCode::OK, faults),
            None => json(StatusCode::NOT_FOUND, &serde_json::Value::Null),
        },
        (Method::PUT, "faults") => {
            let Ok(body) = request.into_body().collect().await else {
                return json(StatusCode::BAD_REQUEST, &"the body ended early");
            };
            match serde_json::from_slice::<Faults>(&body.to_bytes()) {
                Ok(faults) => {
                    service.state().faults.insert(bucket.to_owned(), faults);
                    service.changed.notify_waiters();
                    json(StatusCode::OK, &serde_json::Value::Null)
                }
                Err(error) => json(StatusCode::BAD_REQUEST, &error.to_string()),
            }
        }
        (Method::DELETE, "faults") => {
            service.state().faults.remove(bucket);
            service.changed.notify_waiters();
            json(StatusCode::OK, &serde_json::Value::Null)
        }
        (Method::GET, "fault-plan") => json(StatusCode::OK, &service.gate.injected()),
        (Method::PUT, "fault-plan") => {
            let Ok(body) = request.into_body().collect().await else {
                return json(StatusCode::BAD_REQUEST, &"the body ended early");
            };
            match serde_json::from_slice(&body.to_bytes()) {
                Ok(plan) => {
                    service.gate.set(plan);
                    json(StatusCode::OK, &serde_json::Value::Null)
                }
                Err(error) => json(StatusCode::BAD_REQUEST, &error.to_string()),
            }
        }
        (Method::DELETE, "fault-plan") => {
            service.gate.clear();
            json(StatusCode::OK, &serde_json::Value::Null)
        }
        (Method::GET, "deliveries") => json(
            StatusCode::OK,
            &service
                .state()
                .deliveries
                .get(bucket)
                .map_or(&[][..], Vec::as_slice),
        ),
        _ => json(StatusCode::NOT_FOUND, &serde_json::Value::Null),
    }
}

fn json(status: StatusCode, value: &(impl serde::Serialize + ?Sized)) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(serde_json::to_vec(value).unwrap_or_default()));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_taken_apart() {
        assert_eq!(bucket_and_key("/bucket"), ("bucket".to_owned(), ""));
        assert_eq!(bucket_and_key("/bucket/"), ("bucket".to_owned(), ""));
        assert_eq!(bucket_and_key("/bucket/a/b"), ("bucket".to_owned(), "a/b"));
        let query = parse_query("inventory&id=a%2Eb&x-id=PutBucketInventoryConfiguration");
        assert_eq!(query["id"], "a.b");
        assert!(query.contains_key("inventory"));
    }
}
