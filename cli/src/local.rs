//! `s3insights local …`: the platform on the embedded AWS.

mod functions;
mod harvest;
mod host;
mod up;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use local_aws::LocalAws;

use crate::arguments::{LocalArguments, LocalVerb};
use crate::exit::Exit;
use crate::output;

/// Name of the deployment, and of the platform's stack.
const DEPLOYMENT: &str = "s3insights";

pub(crate) async fn local(LocalArguments { folder, verb }: LocalArguments) -> Result<Exit> {
    match verb {
        LocalVerb::Up { json } => up::run(&root(folder)?, json).await,
        LocalVerb::Harvest {
            estate,
            input,
            keep,
            json,
        } => {
            let plan = harvest::Plan::new(estate.as_deref(), input.as_ref())?;
            harvest::run(&root(folder)?, &plan, keep, json).await
        }
        LocalVerb::Down => {
            let ended = LocalAws::stop_detached(root(folder)?).await?;
            output::note(if ended {
                "the embedded AWS has ended"
            } else {
                "nothing was running"
            });
            Ok(Exit::Done)
        }
        LocalVerb::ServeInventory { root } => {
            local_aws::inventory::serve(&root).await?;
            Ok(Exit::Done)
        }
    }
}

/// The repository this program was built in: its templates and machines are deployed from there.
fn repository() -> &'static Path {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().unwrap_or(crate_folder)
}

/// The folder of the embedded AWS, made when absent.
fn root(folder: Option<PathBuf>) -> Result<PathBuf> {
    let folder = folder.unwrap_or_else(|| repository().join(".local"));
    std::fs::create_dir_all(&folder)
        .and_then(|()| folder.canonicalize())
        .with_context(|| format!("making the folder {}", folder.display()))
}
