//! The two machines, as futures: the order of their states, their loops, retries and catches, as in
//! `state-machines/`.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::{LocalBoxFuture, join_all, select_all};
use real_shared::run::DestinationState;
use serde_json::{Value, json};

use crate::Platform;
use crate::tasks::{
    await_inventories, close_run, configure_inventories, create_destination, delete_destination,
    discover_buckets, empty_destination, find_leftovers, initialize, publish_snapshot,
    refresh_statuses, remove_inventories, send_summary,
};
use crate::world::{Broken, Event, Execution, Retries, Token, World, is_passing};

/// Starts an execution of the Harvester.
pub(crate) fn start_harvester(world: &World, platform: &Arc<Platform>, arn: &str, input: Value) {
    let machine = harvester(world.clone(), Arc::clone(platform), arn.to_owned(), input);
    start(world, arn, None, Box::pin(machine));
}

/// Starts an execution of Cleanup.
pub(crate) fn start_cleanup(
    world: &World,
    platform: &Arc<Platform>,
    parent: Option<&str>,
    input: Value,
) -> String {
    let arn = format!("cleanup:{}", world.state().id());
    world.state().note(|| format!("{arn} starts with {input}"));
    let machine = cleanup(world.clone(), Arc::clone(platform), input);
    start(world, &arn, parent, Box::pin(machine));
    arn
}

fn start(
    world: &World,
    arn: &str,
    parent: Option<&str>,
    machine: LocalBoxFuture<'static, Result<(), Broken>>,
) {
    let mut state = world.state();
    let execution = Execution {
        status: "RUNNING",
        error: None,
        parent: parent.map(str::to_owned),
    };
    state.executions.insert(arn.to_owned(), execution);
    state.machine_starts.push((arn.to_owned(), machine));
}

fn broken(error: &str, cause: &str) -> Broken {
    Broken {
        error: error.to_owned(),
        cause: cause.to_owned(),
    }
}

async fn harvester(
    world: World,
    platform: Arc<Platform>,
    arn: String,
    input: Value,
) -> Result<(), Broken> {
    let started_at = world.state().timestamp();
    let input = json!({ "input": input, "execution_arn": &arn, "started_at": started_at });
    let run = world
        .invoke(&platform, "initialize", input, initialize::handle)
        .await?;
    let ended = take_snapshot(&world, &platform, &run).await;
    let failure = ended.err();
    let input = json!({ "run_id": run.run_id, "failure": failure.as_ref().map(told) });
    let nested = start_cleanup(&world, &platform, Some(&arn), input);
    let clean = world
        .until(|state| match state.executions[&nested].status {
            "RUNNING" => None,
            status => Some(status == "SUCCEEDED"),
        })
        .await;
    match failure {
        Some(failure) => Err(failure),
        None if clean => Ok(()),
        None => Err(broken("CleanupIncomplete", "something is left")),
    }
}

async fn take_snapshot(
    world: &World,
    platform: &Arc<Platform>,
    run: &initialize::Output,
) -> Result<(), Broken> {
    let run_id = &run.run_id;
    let discovered = join_all(run.accounts.iter().map(|account| async move {
        let discover = |failure: Value| {
            let input = json!({ "run_id": run_id, "account_id": account, "failure": failure });
            let handle = discover_buckets::handle;
            world.invoke(platform, "discover-buckets", input, handle)
        };
        match discover(Value::Null).await {
            Err(given_up) if is_passing(&given_up.error) => discover(told(&given_up)).await,
            answer => answer,
        }
    }));
    first_error(discovered.await)?;
    // "Look up the Regions" reads the table itself.
    let regions = {
        let state = world.state();
        let item = &state.table.items[&(format!("run#{run_id}"), "run".to_owned())];
        let regions = item.get("regions").and_then(|regions| regions.as_ss().ok());
        regions.cloned().unwrap_or_default()
    };
    let made = join_all(regions.iter().map(|region| async move {
        for polls in 1..=20 {
            let input = json!({ "run_id": run_id, "region": region });
            let handle = create_destination::handle;
            match world
                .invoke(platform, "create-destination", input, handle)
                .await
            {
                // The buckets of the Region are not covered.
                Err(given_up) if is_passing(&given_up.error) => return Ok(()),
                Err(error) => return Err(error),
                Ok(output) if output.state != DestinationState::InProgress => return Ok(()),
                Ok(_) => {}
            }
            world.sleep(60.min(10 * polls)).await;
        }
        Ok(())
    }));
    first_error(made.await)?;
    let configured = join_all(run.accounts.iter().map(|account| async move {
        let configure = |failure: Value| {
            let input = json!({ "run_id": run_id, "account_id": account, "failure": failure });
            let handle = configure_inventories::handle;
            world.invoke(platform, "configure-inventories", input, handle)
        };
        let mut given_up = broken("ConfigurationTooSlow", "not finished after 100 calls");
        for _ in 0..100 {
            match configure(Value::Null).await {
                Ok(output) if output.finished => return Ok(()),
                Ok(_) => {}
                Err(error) if is_passing(&error.error) => {
                    given_up = error;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        configure(told(&given_up)).await.map(|_| ())
    }));
    first_error(configured.await)?;
    wait(world, platform, run).await?;
    let input = json!({ "run_id": run_id });
    world
        .invoke(
            platform,
            "publish-snapshot",
            input,
            publish_snapshot::handle,
        )
        .await?;
    crate::checks::after_publication(&mut world.state(), run_id.as_str());
    let input = json!({ "run_id": run_id, "failure": null });
    let sent = world
        .invoke(platform, "send-summary", input, send_summary::handle)
        .await;
    match sent {
        // Cleanup tries once more.
        Err(error) if is_passing(&error.error) => Ok(()),
        sent => sent.map(|_| ()),
    }
}

/// A failure as an input of tasks tells it.
fn told(failure: &Broken) -> Value {
    json!({ "error": failure.error, "cause": failure.cause })
}

fn first_error<T>(answers: Vec<Result<T, Broken>>) -> Result<(), Broken> {
    answers
        .into_iter()
        .find_map(Result::err)
        .map_or(Ok(()), Err)
}

/// "Wait for the inventory reports": the branch that ends first ends both.
async fn wait(
    world: &World,
    platform: &Arc<Platform>,
    run: &initialize::Output,
) -> Result<(), Broken> {
    {
        let mut state = world.state();
        let now = state.now;
        state.note(|| format!("run {} waits", run.run_id));
        let waiting = state.waits.entry(run.run_id.to_string()).or_default();
        waiting.began_at = Some(now);
    }
    let callback = callback(world, platform, run).boxed_local();
    let refresh = refresh(world, platform, run).boxed_local();
    let (ended, _, _) = select_all([callback, refresh]).await;
    let Err(over) = ended;
    if over.error == "WaitIsOver" {
        crate::checks::after_wait(
            &mut world.state(),
            run.run_id.as_str(),
            run.status_refresh_seconds,
        );
        return Ok(());
    }
    Err(over)
}

async fn callback(
    world: &World,
    platform: &Arc<Platform>,
    run: &initialize::Output,
) -> Result<std::convert::Infallible, Broken> {
    let mut retries = Retries::of_the_callback();
    loop {
        let (token, until) = {
            let mut state = world.state();
            let token = format!("token-{}-{}", run.run_id, state.id());
            state.tokens.insert(token.clone(), Token::Waiting);
            let until = state.now + 1_800;
            state.at(until, Event::Wake);
            (token, until)
        };
        let input = json!({ "run_id": run.run_id, "task_token": token });
        let invocation = world.start(
            platform,
            "await-inventories",
            &input,
            await_inventories::handle,
        );
        let ended = world
            .until(|state| {
                if state.tokens[&token] == Token::Answered {
                    return Some(Ok(()));
                }
                match state.answers.remove(&invocation) {
                    Some(Err(broken)) => return Some(Err(broken)),
                    Some(Ok(_)) => {
                        state.open_invocations.remove(&invocation);
                    }
                    None => {}
                }
                (state.now >= until).then(|| Err(broken("States.Timeout", "")))
            })
            .await;
        {
            let mut state = world.state();
            state.open_invocations.remove(&invocation);
            if ended.is_err() {
                state.tokens.insert(token, Token::GivenUp);
            }
        }
        match ended {
            Ok(()) => return Err(broken("WaitIsOver", "every bucket is settled")),
            Err(over) if over.error == "States.Timeout" => world.sleep(1).await,
            Err(over) if retries.allow(&over.error) => {
                let pause = world.state().rng.i64(1..30);
                world.sleep(pause).await;
            }
            Err(over) => return Err(over),
        }
    }
}

async fn refresh(
    world: &World,
    platform: &Arc<Platform>,
    run: &initialize::Output,
) -> Result<std::convert::Infallible, Broken> {
    let mut cursor: Option<String> = None;
    for calls in 0..1_200_i64 {
        if cursor.is_none() {
            let doubled = 10 * (1 << calls.min(10));
            let pause = i64::from(run.status_refresh_seconds).min(doubled);
            world.sleep(pause.max(2 * calls)).await;
        }
        let input = json!({ "run_id": run.run_id, "cursor": cursor });
        let handle = refresh_statuses::handle;
        let looked = match world
            .invoke(platform, "refresh-statuses", input, handle)
            .await
        {
            Err(error) if is_passing(&error.error) => {
                cursor = None;
                continue;
            }
            looked => looked?,
        };
        cursor = looked.cursor;
        if cursor.is_none() && (looked.settled || looked.deadline_passed) {
            return Err(broken("WaitIsOver", "settled, or the deadline has passed"));
        }
    }
    Err(broken("RefreshedTooOften", ""))
}

async fn cleanup(world: World, platform: Arc<Platform>, asked: Value) -> Result<(), Broken> {
    let asked_run = asked.get("run_id").filter(|id| id.is_string()).cloned();
    let asked_arn = asked
        .get("execution_arn")
        .filter(|arn| arn.is_string())
        .cloned();
    let told = asked
        .get("failure")
        .filter(|failure| failure.is_object())
        .cloned();
    let mut after = Value::Null;
    let mut unclean = 0;
    for _ in 0..500 {
        let input = json!({ "run_id": asked_run, "execution_arn": asked_arn, "after": after });
        let found = world
            .invoke(&platform, "find-leftovers", input, find_leftovers::handle)
            .await;
        let Ok(found) = found else {
            unclean += 1;
            break;
        };
        let Some(run_id) = &found.run_id else { break };
        let left = clean(&world, &platform, &found).await;
        unclean += left;
        if left == 0 {
            let input = json!({ "run_id": run_id });
            let closed = world
                .invoke(&platform, "close-run", input, close_run::handle)
                .await;
            unclean += usize::from(closed.is_err());
        }
        if found.is_summary_due || told.is_some() {
            let failure = match (&told, &found.failure) {
                (Some(told), _) => told.clone(),
                (None, failure) => json!(failure),
            };
            let input = json!({ "run_id": run_id, "failure": failure });
            // A summary that is not sent leaves nothing behind.
            let _ = world
                .invoke(&platform, "send-summary", input, send_summary::handle)
                .await;
        }
        if asked_run.is_some() || asked_arn.is_some() {
            break;
        }
        after = json!(run_id);
    }
    if unclean > 0 {
        return Err(broken("CleanupIncomplete", &unclean.to_string()));
    }
    Ok(())
}

/// Accounts and Regions of which something may be left.
async fn clean(world: &World, platform: &Arc<Platform>, found: &find_leftovers::Output) -> usize {
    let run_id = &found.run_id;
    let accounts = join_all(found.accounts.iter().map(|account| async move {
        for _ in 0..100 {
            let input = json!({ "run_id": run_id, "account_id": account });
            let removed = world
                .invoke(
                    platform,
                    "remove-inventories",
                    input,
                    remove_inventories::handle,
                )
                .await;
            match removed {
                Ok(output) if output.finished => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        false
    }))
    .await;
    let regions = join_all(found.regions.iter().map(|region| {
        remove_destination(
            world,
            platform,
            json!({ "run_id": run_id, "region": region }),
        )
    }))
    .await;
    accounts
        .into_iter()
        .chain(regions)
        .filter(|clean| !clean)
        .count()
}

async fn remove_destination(world: &World, platform: &Arc<Platform>, input: Value) -> bool {
    let (mut calls, mut failures) = (0, 0);
    let mut is_to_be_emptied = true;
    loop {
        if is_to_be_emptied {
            let emptied = world
                .invoke(
                    platform,
                    "empty-destination",
                    input.clone(),
                    empty_destination::handle,
                )
                .await;
            calls += 1;
            match emptied {
                Ok(output) if output.finished => {}
                Ok(_) if calls < 60 => continue,
                _ => return false,
            }
        }
        let deleted = world
            .invoke(
                platform,
                "delete-destination",
                input.clone(),
                delete_destination::handle,
            )
            .await;
        calls += 1;
        let Ok(state) = deleted else { return false };
        if state == delete_destination::Output::Deleted {
            return true;
        }
        if calls >= 60 {
            return false;
        }
        is_to_be_emptied = state == delete_destination::Output::NotEmpty;
        if is_to_be_emptied {
            continue;
        }
        failures += u32::from(state == delete_destination::Output::Failed);
        if failures >= 4 {
            return false;
        }
        world.sleep(60.min(5 * calls)).await;
    }
}
