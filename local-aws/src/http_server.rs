//! Serving HTTP on a port of this machine.

use std::{error::Error, future::Future, time::Duration};

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::inventory::Body;

/// Answers requests until it is dropped; `answer` is told the caller's port too. An error ends the
/// connection without an answer.
pub(crate) async fn serve<A, F, E>(listener: TcpListener, answer: A)
where
    A: Fn(Request<Body>, u16) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<Body>, E>> + Send + 'static,
    E: Error + Send + Sync + 'static,
{
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of file handles; some become free as connections end.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let answer = answer.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request: Request<Incoming>| {
                answer(request.map(BodyExt::boxed), peer.port())
            });
            // A connection that breaks is the caller's to notice.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .max_headers(200)
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}
