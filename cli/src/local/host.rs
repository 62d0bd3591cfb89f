//! The embedded AWS with the platform in it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context as _, Result};
use local_aws::{LocalAws, StartOptions};
use shared::aws::Clients;

use super::{DEPLOYMENT, repository};
use crate::platform::Platform;
use crate::progress::Display;

/// The command that serves the Inventory of an embedded AWS that stays. To be asked for before
/// anything is built: that may replace this program, and then nobody knows its name any more.
pub(super) fn serve_command(root: &Path) -> Result<Vec<OsString>> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = vec![program.into_os_string()];
    command.extend(["local", "serve-inventory", "--root"].map(OsString::from));
    command.push(root.as_os_str().to_owned());
    Ok(command)
}

/// Starts an embedded AWS that stays when this command ends.
pub(super) async fn start_to_stay(
    root: &Path,
    serve: &[OsString],
    display: &Display,
) -> Result<LocalAws> {
    LocalAws::start_detached(StartOptions::new(root), serve, |step| display.show(step)).await
}

/// Starts an embedded AWS that ends with this command, however that ends.
pub(super) async fn start(root: &Path, display: &Display) -> Result<LocalAws> {
    LocalAws::start(StartOptions::new(root), |step| display.show(step)).await
}

/// Deploys the platform, or brings it up to date, and gives the outputs of its stack.
/// Without an external id the one of an earlier deployment stays: members ask for it.
pub(super) async fn deploy(
    aws: &LocalAws,
    functions: &Path,
    external_id: Option<&str>,
) -> Result<BTreeMap<String, String>> {
    let clients = clients(aws);
    let deployed = clients.stack(&clients.region(), DEPLOYMENT).await?;
    let earlier = deployed.and_then(|mut stack| stack.parameters.remove("ExternalId"));
    let mut parameters = BTreeMap::new();
    if let Some(external_id) = external_id.map(str::to_owned).or(earlier) {
        parameters.insert("ExternalId".to_owned(), external_id);
    }
    aws.deploy(DEPLOYMENT, repository(), functions, &parameters)
        .await
        .context("deploying the platform")
}

/// The platform in the embedded AWS.
pub(super) async fn platform(aws: &LocalAws) -> Result<Platform> {
    Platform::find(clients(aws), DEPLOYMENT).await
}

fn clients(aws: &LocalAws) -> Clients {
    Clients::from_config(&aws.sdk_config(&aws.host_account_id, &aws.region))
}
