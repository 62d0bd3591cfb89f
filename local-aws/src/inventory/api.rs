//! `?inventory` requests on a bucket: put, get, list and delete of inventory configurations.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use quick_xml::escape::escape;

use super::{
    configuration::{Configuration, NAMESPACE, invalid_destination},
    delivery,
    error::{S3Error, request_id, xml},
    faults::Vanish,
    proxy::{Body, full},
    service::{Configurations, Service, Stored},
    upstream::Bucket,
};

/// Configurations a bucket may have.
const MOST: usize = 1_000;
/// Configurations on one page of a listing.
const PAGE: usize = 100;

/// Answers a request that MiniStack must never see as it is.
pub(crate) async fn answer(
    service: &Arc<Service>,
    bucket: &str,
    query: &BTreeMap<String, String>,
    head: &http::request::Parts,
    body: Bytes,
) -> Response<Body> {
    let is_put = head.method == Method::PUT;
    if is_put && service.faults(bucket).vanish == Some(Vanish::OnConfigure) {
        vanish(service, bucket).await;
    }
    if let Err(refusal) = service.proxy.authorise(head, body.clone()).await {
        return *refusal;
    }
    if is_put && service.faults(bucket).busy {
        return S3Error::busy().response(bucket).map(full);
    }
    let response = match handle(service, bucket, query, &head.method, &body).await {
        Ok(response) => response,
        Err(error) => error.response(bucket),
    };
    if is_put
        && response.status().is_success()
        && service.faults(bucket).vanish == Some(Vanish::AfterConfigure)
    {
        vanish(service, bucket).await;
    }
    response.map(full)
}

async fn vanish(service: &Arc<Service>, bucket: &str) {
    if let Err(error) = delivery::delete_bucket(&service.upstream, bucket).await {
        eprintln!("{bucket} was to vanish and did not: {error:#}");
    }
}

async fn handle(
    service: &Arc<Service>,
    bucket: &str,
    query: &BTreeMap<String, String>,
    method: &Method,
    body: &Bytes,
) -> Result<Response<Bytes>, S3Error> {
    let found = service
        .upstream
        .bucket(bucket)
        .await
        .map_err(|error| S3Error::internal(&error))?;
    let Some(bucket) = found else {
        return Err(S3Error::new(
            StatusCode::NOT_FOUND,
            "NoSuchBucket",
            "The specified bucket does not exist",
        ));
    };
    let id = query.get("id").map(String::as_str);
    if let Some(id) = id {
        Configuration::check_id(id)?;
    }
    match (method, id) {
        (&Method::PUT, Some(id)) => put(service, &bucket, id, body).await,
        (&Method::GET, Some(id)) => get(service, &bucket, id),
        (&Method::GET, None) => list(
            service,
            &bucket,
            query.get("continuation-token").map(String::as_str),
        ),
        (&Method::DELETE, Some(id)) => delete(service, &bucket, id),
        (&Method::PUT | &Method::DELETE, None) => {
            Err(S3Error::invalid_argument("Missing required parameter: id"))
        }
        _ => Err(S3Error::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "The specified method is not allowed against this resource.",
        )),
    }
}

async fn put(
    service: &Arc<Service>,
    source: &Bucket,
    id: &str,
    body: &[u8],
) -> Result<Response<Bytes>, S3Error> {
    let configuration = Configuration::parse(body, id)?;
    let name = configuration.destination_bucket()?;
    let destination = service
        .upstream
        .bucket(name)
        .await
        .map_err(|error| S3Error::internal(&error))?
        .ok_or_else(|| invalid_destination("The destination bucket does not exist"))?;
    if destination.region != source.region {
        return Err(invalid_destination(
            "The destination bucket must be in the same Region as the source bucket",
        ));
    }
    if configuration
        .destination
        .bucket
        .account_id
        .as_ref()
        .is_some_and(|owner| *owner != destination.account_id)
    {
        return Err(invalid_destination(
            "The destination bucket is not owned by the account that was named",
        ));
    }
    let generation = {
        let mut state = service.state();
        state.last_generation += 1;
        let generation = state.last_generation;
        let configurations = state
            .buckets
            .entry(source.name.clone())
            .and_modify(|known| {
                if known.bucket_created != source.created {
                    *known = none_yet(source);
                }
            })
            .or_insert_with(|| none_yet(source));
        if configurations.by_id.len() >= MOST && !configurations.by_id.contains_key(id) {
            return Err(S3Error::new(
                StatusCode::BAD_REQUEST,
                "TooManyConfigurations",
                "You are attempting to create a new configuration but have already reached the 1,000-configuration limit.",
            ));
        }
        let stored = Stored {
            configuration,
            generation,
        };
        configurations.by_id.insert(id.to_owned(), stored);
        generation
    };
    service.changed.notify_waiters();
    tokio::spawn(delivery::deliver(
        Arc::clone(service),
        source.clone(),
        id.to_owned(),
        generation,
    ));
    Ok(xml(StatusCode::OK, &request_id(), String::new()))
}

fn get(service: &Service, bucket: &Bucket, id: &str) -> Result<Response<Bytes>, S3Error> {
    let state = service.state();
    let stored = configurations(&state.buckets, bucket).and_then(|known| known.by_id.get(id));
    let document = stored
        .ok_or_else(no_such_configuration)?
        .configuration
        .xml();
    let document = document.replacen(
        "<InventoryConfiguration>",
        &format!("<InventoryConfiguration xmlns=\"{NAMESPACE}\">"),
        1,
    );
    Ok(xml(
        StatusCode::OK,
        &request_id(),
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{document}"),
    ))
}

fn list(
    service: &Service,
    bucket: &Bucket,
    token: Option<&str>,
) -> Result<Response<Bytes>, S3Error> {
    let start = match token {
        None => String::new(),
        Some(token) => hex::decode(token)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| {
                S3Error::invalid_argument("The continuation token provided is incorrect")
            })?,
    };
    let state = service.state();
    let known = configurations(&state.buckets, bucket);
    // The token is the first id of its page, so that a page stays right when others are deleted.
    let mut rest = known
        .into_iter()
        .flat_map(|known| known.by_id.range(start.clone()..));
    let page: String = rest
        .by_ref()
        .take(PAGE)
        .map(|(_, stored)| stored.configuration.xml())
        .collect();
    let next = rest.next().map(|(id, _)| hex::encode(id));
    let mut document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListInventoryConfigurationsResult xmlns=\"{NAMESPACE}\">{page}\
         <IsTruncated>{}</IsTruncated>",
        next.is_some()
    );
    if let Some(token) = token {
        let _ = write!(
            document,
            "<ContinuationToken>{}</ContinuationToken>",
            escape(token)
        );
    }
    if let Some(next) = next {
        let _ = write!(
            document,
            "<NextContinuationToken>{next}</NextContinuationToken>"
        );
    }
    document += "</ListInventoryConfigurationsResult>";
    Ok(xml(StatusCode::OK, &request_id(), document))
}

fn delete(service: &Service, bucket: &Bucket, id: &str) -> Result<Response<Bytes>, S3Error> {
    let mut state = service.state();
    let known = state
        .buckets
        .get_mut(&bucket.name)
        .filter(|known| known.bucket_created == bucket.created);
    known
        .and_then(|known| known.by_id.remove(id))
        .ok_or_else(no_such_configuration)?;
    drop(state);
    service.changed.notify_waiters();
    Ok(xml(StatusCode::NO_CONTENT, &request_id(), String::new()))
}

fn none_yet(bucket: &Bucket) -> Configurations {
    Configurations {
        bucket_created: bucket.created.clone(),
        by_id: BTreeMap::new(),
    }
}

fn configurations<'a>(
    known: &'a std::collections::HashMap<String, Configurations>,
    bucket: &Bucket,
) -> Option<&'a Configurations> {
    known
        .get(&bucket.name)
        .filter(|known| known.bucket_created == bucket.created)
}

fn no_such_configuration() -> S3Error {
    S3Error::new(
        StatusCode::NOT_FOUND,
        "NoSuchConfiguration",
        "The specified configuration does not exist.",
    )
}
