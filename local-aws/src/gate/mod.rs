//! The gate that every request of a function passes, whatever the service: here it meets the faults
//! of a plan. Without a plan it goes through untouched.
//!
//! Calls that stay inside of MiniStack do not pass it: those of state machines to functions and to
//! DynamoDB, and those of event source mappings.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Result, ensure};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::net::TcpListener;

mod caller;
mod plan;
mod request;

pub use plan::{FaultKind, FaultPlan, FaultRule, NotificationFaults};

use self::{plan::Decisions, request::Asked};
use crate::{
    http_client, http_server,
    inventory::{Body, Service, full},
};

/// The faults at work.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    decisions: Mutex<Decisions>,
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
    let (body, form) = if request::is_form(&head) {
        let form = body.collect().await.map_err(|_| Dropped)?.to_bytes();
        (full(form.clone()), form)
    } else {
        (body, bytes::Bytes::new())
    };
    let asked = Asked::of(&head, &form);
    let kind = service
        .gate
        .decisions()
        .next(&asked.service, &asked.operation);
    let request = Request::from_parts(head, body);
    let Some(kind) = kind else {
        return Ok(pass(service, request).await);
    };
    let kill = || caller::kill(peer, own, service.settings.ministack_pid);
    let count = || service.gate.decisions().count(kind);
    match kind {
        FaultKind::Throttle => {
            count();
            Ok(refuse(request, asked.throttled()).await)
        }
        FaultKind::Error500 => {
            count();
            Ok(refuse(request, asked.broken(StatusCode::INTERNAL_SERVER_ERROR)).await)
        }
        FaultKind::Error503 => {
            count();
            Ok(refuse(request, asked.broken(StatusCode::SERVICE_UNAVAILABLE)).await)
        }
        FaultKind::Delay(milliseconds) => {
            count();
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            Ok(pass(service, request).await)
        }
        FaultKind::DropBefore => {
            count();
            Err(Dropped)
        }
        FaultKind::DropAfter => {
            count();
            finish(service, request).await;
            Err(Dropped)
        }
        FaultKind::KillBefore => {
            if kill() {
                count();
                return Err(Dropped);
            }
            Ok(pass(service, request).await)
        }
        FaultKind::KillAfter => {
            finish(service, request).await;
            if kill() {
                count();
            }
            Err(Dropped)
        }
    }
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
async fn refuse(request: Request<Body>, response: Response<bytes::Bytes>) -> Response<Body> {
    let _ = request.into_body().collect().await;
    response.map(full)
}

/// Has a request done and throws its answer away.
async fn finish(service: &Arc<Service>, request: Request<Body>) {
    let _ = pass(service, request).await.into_body().collect().await;
}

impl crate::LocalAws {
    /// Has requests of functions, and of all that use [`crate::LocalAws::gate_url`], meet faults.
    /// Replaces an earlier plan and its counts.
    pub async fn set_fault_plan(&self, plan: &FaultPlan) -> Result<()> {
        let url = format!("{}/_s3insights/fault-plan", self.s3_endpoint_url);
        let (status, body) = http_client::send(Method::PUT, &url, Some(plan)).await?;
        let said = String::from_utf8_lossy(&body);
        ensure!(status.is_success(), "the fault plan: {said}");
        let url = format!("{}/_s3insights/notification-faults", self.endpoint_url);
        let faults = serde_json::json!({"seed": plan.seed, "faults": plan.notifications});
        let _: serde_json::Value = http_client::post(&url, &faults).await?;
        Ok(())
    }

    /// Ends the faults of the plan; its counts stay.
    pub async fn clear_fault_plan(&self) -> Result<()> {
        let url = format!("{}/_s3insights/fault-plan", self.s3_endpoint_url);
        http_client::send(Method::DELETE, &url, None::<&()>).await?;
        let url = format!("{}/_s3insights/notification-faults", self.endpoint_url);
        let _: serde_json::Value = http_client::post(&url, &serde_json::json!({})).await?;
        Ok(())
    }

    /// How many faults the plan has caused, by [`FaultKind::name`]; those of notifications are
    /// `notification_lost`, `notification_duplicated` and `notification_late`.
    pub async fn faults_injected(&self) -> Result<BTreeMap<String, u64>> {
        let url = format!("{}/_s3insights/fault-plan", self.s3_endpoint_url);
        let mut counts: BTreeMap<String, u64> = http_client::get(&url).await?.unwrap_or_default();
        let url = format!("{}/_s3insights/notification-faults", self.endpoint_url);
        let others: BTreeMap<String, u64> = http_client::get(&url).await?.unwrap_or_default();
        counts.extend(others);
        Ok(counts)
    }
}
