//! Waiting for an execution to end, and showing what it does meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use jiff::Timestamp;
use shared::aws::{AwsError, Execution};
use shared::ids::RunId;

use crate::platform::Platform;
use crate::progress::{Display, Standing};

/// Time between two looks, at least.
pub(crate) const PACE: Duration = Duration::from_secs(1);
/// The same, at most.
const SLOWEST: Duration = Duration::from_mins(1);
/// Looks in a row that may fail for a passing reason: a run takes days, a network does not stand
/// still for so long.
const FAILURES: u32 = 20;

/// Shows how a run goes on until its execution has ended.
pub(crate) async fn watch(platform: &Platform, run_id: &RunId, execution_arn: &str) -> Result<()> {
    let look = async |_: &Execution| {
        let states = platform.clients.entered_states(execution_arn).await?;
        let buckets = platform.runs().buckets(run_id).await?;
        let state = states.last().map(|entry| entry.state.clone());
        Ok(Standing::new(state, &buckets).line())
    };
    wait(platform, execution_arn, look).await.map(|_| ())
}

/// Waits until an execution has ended, and shows a line about it with every look.
pub(crate) async fn wait(
    platform: &Platform,
    execution_arn: &str,
    line: impl AsyncFn(&Execution) -> Result<String, AwsError>,
) -> Result<Execution> {
    let mut display = None;
    let mut failures = 0;
    loop {
        let began = Instant::now();
        let looked = async {
            let Some(execution) = platform.execution(execution_arn).await? else {
                return Ok(None);
            };
            let line = line(&execution).await?;
            Ok::<_, AwsError>(Some((execution, line)))
        };
        match looked.await {
            Ok(Some((execution, line))) => {
                failures = 0;
                display
                    .get_or_insert_with(|| Display::new(elapsed(&execution, Timestamp::now())))
                    .show(&line);
                if !execution.is_running() {
                    return Ok(execution);
                }
            }
            Ok(None) => bail!("Step Functions does not know the execution {execution_arn}"),
            Err(error) if error.is_passing() && failures < FAILURES => failures += 1,
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(pause(began.elapsed(), failures)).await;
    }
}

/// The time until the next look: looking at a large run takes a while and reads much, so it is
/// done less often.
fn pause(look: Duration, failures: u32) -> Duration {
    let pause = (look * 4).max(PACE * (failures + 1));
    pause.min(SLOWEST)
}

fn elapsed(execution: &Execution, now: Timestamp) -> Duration {
    execution
        .started_at
        .and_then(|started_at| Duration::try_from(now.duration_since(started_at)).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_runs_and_troubles_are_looked_at_less_often() {
        let milliseconds = Duration::from_millis;
        assert_eq!(pause(milliseconds(20), 0), PACE);
        assert_eq!(pause(milliseconds(2_000), 0), milliseconds(8_000));
        assert_eq!(pause(milliseconds(20), 4), PACE * 5);
        assert_eq!(pause(milliseconds(90_000), 0), SLOWEST);
    }

    #[test]
    fn clocks_that_disagree_do_no_harm() {
        let now: Timestamp = "2026-01-05T04:00:10Z".parse().unwrap();
        let mut execution = Execution {
            arn: String::new(),
            status: "RUNNING".into(),
            output: None,
            error: None,
            cause: None,
            started_at: Some("2026-01-05T04:00:00Z".parse().unwrap()),
            ended_at: None,
        };
        assert_eq!(elapsed(&execution, now), Duration::from_secs(10));
        execution.started_at = Some("2026-01-05T04:00:11Z".parse().unwrap());
        assert_eq!(elapsed(&execution, now), Duration::ZERO);
    }
}
