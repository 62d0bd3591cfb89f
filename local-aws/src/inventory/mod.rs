//! S3 Inventory for the embedded S3: a service in front of MiniStack's S3.
//!
//! It answers `?inventory` requests on buckets itself, with S3's own checks and errors, and passes
//! everything else through, streaming and unchanged. For every accepted configuration it delivers one report of what is really in the bucket, laid out as S3 does.
//! Faults on purpose are set per bucket through [`Faults`] at `/_s3insights/faults/<bucket>`.
//!
//! Whether a caller may do what it asks is MiniStack's to say: the caller's own signed request is
//! forwarded with a mark, and the launcher of MiniStack lets it pass authentication and
//! authorisation, and nothing else.

use std::{net::TcpListener, path::Path, time::Duration};

use anyhow::{Context, Result};
use tokio::sync::oneshot;

mod api;
mod configuration;
mod delivery;
mod error;
mod faults;
mod listing;
mod policy;
mod proxy;
mod report;
mod service;
mod upstream;

pub use faults::{Faults, Throttle, Vanish};

pub(crate) use error::S3Error;
pub(crate) use proxy::{Body, full};
pub(crate) use service::{Service, answer};

use crate::{State, http_client};

/// What the service needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Port of MiniStack.
    pub ministack_port: u16,
    /// Process group of MiniStack and the functions.
    pub ministack_pid: u32,
    /// Time from an accepted configuration to its report.
    pub report_delay: Duration,
}

/// A service in threads of this process. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts the service on threads and a runtime of its own: it outlives the runtime of the caller,
/// which in tests is that of the first test.
pub(crate) fn start(
    settings: Settings,
    listener: TcpListener,
    gate_listener: TcpListener,
) -> Result<Running> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .thread_name("s3-inventory")
        .build()
        .context("starting the S3 Inventory service")?;
    listener.set_nonblocking(true)?;
    gate_listener.set_nonblocking(true)?;
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("s3-inventory".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let (Ok(listener), Ok(gate_listener)) = (
                    tokio::net::TcpListener::from_std(listener),
                    tokio::net::TcpListener::from_std(gate_listener),
                ) else {
                    return;
                };
                tokio::select! {
                    () = service::serve(settings, listener, gate_listener) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_timeout(Duration::from_millis(200));
        })?;
    Ok(Running {
        stop: Some(stop),
        thread: Some(thread),
    })
}

/// Serves the detached embedded AWS under `root` until the process is told to end. This is what
/// the program given to [`crate::LocalAws::start_detached`] has to call.
pub async fn serve(root: &Path) -> Result<()> {
    let state = State::read(root)?
        .with_context(|| format!("no embedded AWS was started in {}", root.display()))?;
    let settings = Settings {
        ministack_port: port_of(&state.endpoint_url)?,
        ministack_pid: state.ministack_pid,
        report_delay: Duration::from_millis(state.report_delay_ms),
    };
    let port = port_of(&state.s3_endpoint_url)?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .with_context(|| format!("port {port}, meant for the S3 endpoint, is taken"))?;
    let port = port_of(&state.gate_url)?;
    let gate_listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .with_context(|| format!("port {port}, meant for the gate, is taken"))?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        () = service::serve(settings, listener, gate_listener) => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn port_of(url: &str) -> Result<u16> {
    let port = url.rsplit(':').next().unwrap_or_default();
    port.parse().with_context(|| format!("{url} has no port"))
}

impl crate::LocalAws {
    /// Sets the faults of a bucket, which need not be there yet; replaces those it had.
    pub async fn set_faults(&self, bucket: &str, faults: &Faults) -> Result<()> {
        let url = format!("{}/_s3insights/faults/{bucket}", self.s3_endpoint_url);
        let (status, body) = http_client::send(http::Method::PUT, &url, Some(faults)).await?;
        anyhow::ensure!(
            status.is_success(),
            "faults of {bucket}: {}",
            String::from_utf8_lossy(&body)
        );
        Ok(())
    }

    /// Takes all faults off a bucket; a report that was held is delivered.
    pub async fn clear_faults(&self, bucket: &str) -> Result<()> {
        let url = format!("{}/_s3insights/faults/{bucket}", self.s3_endpoint_url);
        http_client::send(http::Method::DELETE, &url, None::<&()>).await?;
        Ok(())
    }

    /// What the service did for the configurations of a bucket, oldest first: for tests and for
    /// people who wonder why no report came. Also at `/_s3insights/deliveries/<bucket>`.
    pub async fn deliveries(&self, bucket: &str) -> Result<Vec<Delivery>> {
        let url = format!("{}/_s3insights/deliveries/{bucket}", self.s3_endpoint_url);
        Ok(http_client::get(&url).await?.unwrap_or_default())
    }
}

/// What became of one accepted configuration.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Delivery {
    /// Id of the configuration.
    pub configuration_id: String,
    /// Keys of what was delivered, in the order of delivery; empty when nothing was.
    pub keys: Vec<String>,
    /// Why nothing (more) was delivered; absent when the report is complete.
    pub reason: Option<String>,
}
