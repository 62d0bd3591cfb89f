//! The gate that every request of a function passes, whatever the service: here it meets the faults
//! of a plan. Without a plan it goes through untouched.
//!
//! Calls that stay inside of MiniStack do not pass it. What the plan says of those of state machines, of
//! notifications and of messages happens in `launcher.py`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::net::TcpListener;

mod caller;
mod plan;
mod request;

pub use plan::{FaultKind, FaultPlan, FaultRule, MachineFaults, NotificationFaults};

use self::{plan::Decisions, request::Asked};
use crate::{
    http_client, http_server,
    inventory::{Body, Service, full},
};

/// How old an answer may be that DynamoDB gives to a read that does not ask for consistency.
const STALE: Duration = Duration::from_secs(2);

/// The faults at work.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    decisions: Mutex<Decisions>,
    /// The last answers to reads that may be stale, and when they were given, by what was asked.
    reads: Mutex<HashMap<Bytes, (Instant, Response<Bytes>)>>,
}

/// The connection is to end without an answer.
#[derive(Debug)]
struct Dropped;

impl std::fmt::Display for Dropped {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("dropped on purpose")
    }
}

impl std::error::Error for Dropped {}

impl Gate {
    fn decisions(&self) -> MutexGuard<'_, Decisions> {
        self.decisions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn reads(&self) -> MutexGuard<'_, HashMap<Bytes, (Instant, Response<Bytes>)>> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, read: Bytes, answer: &Response<Bytes>) {
        let mut reads = self.reads();
        reads.retain(|_, (at, _)| at.elapsed() < STALE);
        // The first one of a while, so that it can be as old as may be.
        reads
            .entry(read)
            .or_insert_with(|| (Instant::now(), answer.clone()));
    }

    fn earlier(&self, read: &Bytes) -> Option<Response<Bytes>> {
        let reads = self.reads();
        let (at, answer) = reads.get(read)?;
        (at.elapsed() < STALE).then(|| answer.clone())
    }

    pub(crate) fn set(&self, plan: FaultPlan) {
        *self.decisions() = Decisions::new(plan);
    }

    pub(crate) fn clear(&self) {
        self.decisions().clear();
    }

    pub(crate) fn injected(&self) -> BTreeMap<String, u64> {
        self.decisions().injected.clone()
    }
}

/// Serves until it is dropped.
pub(crate) async fn serve(service: Arc<Service>, listener: TcpListener) {
    let own = listener.local_addr().map_or(0, |address| address.port());
    http_server::serve(listener, move |request, peer| {
        let service = Arc::clone(&service);
        async move { answer(&service, request, (peer, own)).await }
    })
    .await;
}

async fn answer(
    service: &Arc<Service>,
    request: Request<Body>,
    (peer, own): (u16, u16),
) -> Result<Response<Body>, Dropped> {
    if !service.gate.decisions().any() {
        return Ok(pass(service, request).await);
    }
    let (head, body) = request.into_parts();
    let (body, said) = if request::says_more_in_its_body(&head) {
        let said = body.collect().await.map_err(|_| Dropped)?.to_bytes();
        (full(said.clone()), said)
    } else {
        (body, Bytes::new())
    };
    let asked = Asked::of(&head, &said);
    let fault = service
        .gate
        .decisions()
        .next(&asked.service, &asked.operation);
    let request = Request::from_parts(head, body);
    let read = asked.may_be_stale(&said).then_some(said);
    let Some(fault) = fault else {
        return read_or_pass(service, request, read).await;
    };
    let group = service.settings.ministack_pid;
    // A fault that cannot happen is left for another request, and this one goes through.
    let happens = |happens: bool| {
        let mut decisions = service.gate.decisions();
        if happens {
            decisions.count(fault);
        } else {
            decisions.spare(fault);
        }
        happens
    };
    match fault.kind {
        FaultKind::Throttle => {
            happens(true);
            Ok(refuse(request, asked.throttled()).await)
        }
        FaultKind::Error500 => {
            happens(true);
            Ok(refuse(request, asked.broken(StatusCode::INTERNAL_SERVER_ERROR)).await)
        }
        FaultKind::Error503 => {
            happens(true);
            Ok(refuse(request, asked.broken(StatusCode::SERVICE_UNAVAILABLE)).await)
        }
        FaultKind::Delay(milliseconds) => {
            happens(true);
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            Ok(pass(service, request).await)
        }
        FaultKind::DropBefore => {
            happens(true);
            Err(Dropped)
        }
        FaultKind::DropAfter => {
            happens(true);
            let _ = finish(service, request).await;
            Err(Dropped)
        }
        FaultKind::Silence => {
            happens(true);
            // Until the caller ends the connection, which ends this too.
            std::future::pending().await
        }
        FaultKind::KillBefore => {
            if happens(caller::kill(peer, own, group)) {
                return Err(Dropped);
            }
            Ok(pass(service, request).await)
        }
        FaultKind::KillAfter => {
            let answer = finish(service, request).await;
            if happens(caller::kill(peer, own, group)) {
                return Err(Dropped);
            }
            answer
        }
        FaultKind::HangAfter => {
            let answer = finish(service, request).await;
            happens(caller::hang(peer, own, group));
            answer
        }
        FaultKind::StaleRead => {
            let stale = read.as_ref().and_then(|read| service.gate.earlier(read));
            if happens(stale.is_some())
                && let Some(stale) = stale
            {
                return Ok(refuse(request, stale).await);
            }
            read_or_pass(service, request, read).await
        }
    }
}

/// Passes a request; the answer to one that may be stale is kept, for the same one a moment later.
async fn read_or_pass(
    service: &Arc<Service>,
    request: Request<Body>,
    read: Option<Bytes>,
) -> Result<Response<Body>, Dropped> {
    let Some(read) = read else {
        return Ok(pass(service, request).await);
    };
    let answer = whole(pass(service, request).await).await?;
    service.gate.keep(read, &answer);
    Ok(answer.map(full))
}

/// An answer with its body as a whole.
async fn whole(answer: Response<Body>) -> Result<Response<Bytes>, Dropped> {
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(|_| Dropped)?.to_bytes();
    Ok(Response::from_parts(head, body))
}

async fn pass(service: &Arc<Service>, request: Request<Body>) -> Response<Body> {
    let s3 = request
        .headers()
        .get(http::header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("/s3/aws4_request"));
    if s3 {
        crate::inventory::answer(Arc::clone(service), request).await
    } else {
        service.proxy.pass(request).await
    }
}

/// Answers when the request has arrived as a whole, as a service does.
async fn refuse(request: Request<Body>, response: Response<Bytes>) -> Response<Body> {
    let _ = request.into_body().collect().await;
    response.map(full)
}

/// Has a request done before its answer begins.
async fn finish(service: &Arc<Service>, request: Request<Body>) -> Result<Response<Body>, Dropped> {
    whole(pass(service, request).await)
        .await
        .map(|answer| answer.map(full))
}

impl crate::LocalAws {
    /// Has requests of functions, and of all that use [`crate::LocalAws::gate_url`], meet faults.
    /// Replaces an earlier plan and its counts.
    pub async fn set_fault_plan(&self, plan: &FaultPlan) -> Result<()> {
        let url = format!("{}/_s3insights/fault-plan", self.s3_endpoint_url);
        let (status, body) = http_client::send(Method::PUT, &url, Some(plan)).await?;
        let said = String::from_utf8_lossy(&body);
        ensure!(status.is_success(), "the fault plan: {said}");
        let url = format!("{}/_s3insights/fault-plan", self.endpoint_url);
        let _: serde_json::Value = http_client::post(&url, plan).await?;
        Ok(())
    }

    /// Ends the faults of the plan; its counts stay.
    pub async fn clear_fault_plan(&self) -> Result<()> {
        let url = format!("{}/_s3insights/fault-plan", self.s3_endpoint_url);
        http_client::send(Method::DELETE, &url, None::<&()>).await?;
        let url = format!("{}/_s3insights/fault-plan", self.endpoint_url);
        let _: serde_json::Value = http_client::post(&url, &serde_json::json!({})).await?;
        Ok(())
    }

    /// How many faults the plan has caused, by [`FaultKind::name`]; the others are
    /// `notification_lost`, `notification_duplicated`, `notification_late`, `machine_refused`,
    /// `machine_answer_lost` and `message_received_twice`.
    pub async fn faults_injected(&self) -> Result<BTreeMap<String, u64>> {
        let url = format!("{}/_s3insights/fault-plan", self.s3_endpoint_url);
        let mut counts: BTreeMap<String, u64> = http_client::get(&url).await?.unwrap_or_default();
        let url = format!("{}/_s3insights/fault-plan", self.endpoint_url);
        let others: BTreeMap<String, u64> = http_client::get(&url).await?.unwrap_or_default();
        counts.extend(others);
        Ok(counts)
    }
}
