//! `s3insights run …`: the machines and the records of a deployed platform.

mod cleanup;
mod list;
mod start;
mod status;
pub(crate) mod watch;

use anyhow::Result;

use crate::arguments::{RunArguments, RunVerb};
use crate::exit::Exit;
use crate::platform::Platform;
use crate::{output, run_input};

pub(crate) use start::start;
pub(crate) use status::RunStatus;

pub(crate) async fn run(RunArguments { stack, verb }: RunArguments) -> Result<Exit> {
    match verb {
        RunVerb::Start { input, watch, json } => {
            // Before anything is asked of AWS: what is not JSON needs no platform.
            let input = run_input::read(&input)?;
            let platform = Platform::from_environment(&stack).await?;
            start::run(&platform, &input, watch, json).await
        }
        RunVerb::List { json } => list::run(&Platform::from_environment(&stack).await?, json).await,
        RunVerb::Status {
            run_id,
            watch,
            json,
        } => {
            status::run(
                &Platform::from_environment(&stack).await?,
                &run_id,
                watch,
                json,
            )
            .await
        }
        RunVerb::Cleanup { run_id, yes, json } => {
            let platform = Platform::from_environment(&stack).await?;
            cleanup::run(&platform, run_id.as_ref(), yes, json).await
        }
    }
}

/// Does something until it is done or the user has enough of it. `left` tells what goes on then.
pub(crate) async fn interruptible(
    work: impl Future<Output = Result<Exit>>,
    left: impl FnOnce() -> String,
) -> Result<Exit> {
    tokio::select! {
        // First: what the work makes of an interruption is of no interest.
        biased;
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            output::note(&left());
            Ok(Exit::Interrupted)
        }
        done = work => done,
    }
}
