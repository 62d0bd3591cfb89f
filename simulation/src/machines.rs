//! The two machines, as futures. Order and choices of their states are written down here once more;
//! `tests/machines.rs` compares them with `state-machines/`, and every number is read from there.

mod definition;
mod walk;

use std::convert::Infallible;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{LocalBoxFuture, join_all, select_all, try_join_all};
use real_shared::run::DestinationState;
use serde_json::{Value, json};

use crate::Platform;
use crate::tasks::{
    await_inventories, close_run, configure_inventories, create_destination, delete_destination,
    discover_buckets, empty_destination, find_leftovers, initialize, publish_snapshot,
    refresh_statuses, remove_inventories, send_summary,
};
use crate::world::{Broken, Event, Execution, Token, World};

use definition::{END, Retries, TOP};
pub use definition::{How, Machine, Step};
use walk::{Walk, pause};

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
    let mut walk = Walk::begin(&world, &platform, Machine::Harvester, TOP);
    let started_at = world.state().timestamp();
    let input = json!({ "input": input, "execution_arn": &arn, "started_at": started_at });
    let initialized = walk.task("Initialize", input, initialize::handle).await;
    let run = match initialized {
        Ok(run) => run,
        Err(broken) => {
            walk.enter("Refuse the run");
            return Err(broken);
        }
    };
    let mut failure = take_snapshot(&mut walk, &run).await.err();
    walk.enter("Clean up");
    let input = json!({ "run_id": run.run_id, "failure": failure.as_ref().map(told) });
    let nested = start_cleanup(&world, &platform, Some(&arn), input);
    let is_clean = world
        .until(|state| match state.executions[&nested].status {
            "RUNNING" => None,
            status => Some(status == "SUCCEEDED"),
        })
        .await;
    if !is_clean {
        walk.catch();
        failure.get_or_insert_with(|| broken("CleanupIncomplete", "something is left"));
    }
    walk.enter(if failure.is_some() {
        "Run failed"
    } else {
        "Run ended"
    });
    failure.map_or(Ok(()), Err)
}

async fn take_snapshot(walk: &mut Walk<'_>, run: &initialize::Output) -> Result<(), Broken> {
    let run_id = &run.run_id;
    walk.enter("Discover the source buckets");
    let discovered = run.accounts.iter().map(|account| {
        let input = json!({ "run_id": run_id, "account_id": account, "failure": null });
        discover(walk.inside(), input)
    });
    first_error(join_all(discovered).await)?;
    walk.enter("Look up the Regions");
    let regions = {
        let state = walk.world.state();
        let item = &state.table.items[&(format!("run#{run_id}"), "run".to_owned())];
        let regions = item.get("regions").and_then(|regions| regions.as_ss().ok());
        regions.cloned().unwrap_or_default()
    };
    walk.enter("Create the destinations");
    // An inline map: the first item that fails ends it, while the tasks of others go on.
    let made = regions.iter().map(|region| {
        let input = json!({ "run_id": run_id, "region": region });
        create(walk.inside(), input)
    });
    if let Err(broken) = try_join_all(made).await {
        walk.catch();
        return Err(broken);
    }
    walk.enter("Configure the source buckets");
    let configured = run.accounts.iter().map(|account| {
        let input = json!({ "run_id": run_id, "account_id": account, "failure": null });
        configure(walk.inside(), input)
    });
    first_error(join_all(configured).await)?;
    walk.enter("Wait for the inventory reports");
    let waited = wait(walk, run).await;
    walk.catch();
    waited?;
    let input = json!({ "run_id": run_id });
    walk.task("Publish snapshot", input, publish_snapshot::handle)
        .await?;
    crate::checks::after_publication(&mut walk.world.state(), run_id.as_str());
    let input = json!({ "run_id": run_id, "failure": null });
    let sent = walk.task("Send summary", input, send_summary::handle).await;
    match sent {
        // Cleanup tries once more.
        Err(broken) if walk.catcher(&broken)["Assign"].get("failure").is_none() => Ok(()),
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

async fn discover(mut walk: Walk<'_>, mut input: Value) -> Result<(), Broken> {
    const GIVE_UP: &str = "Give up the account";
    let handle = discover_buckets::handle;
    let mut discovered = walk.task("Discover buckets", input.clone(), handle).await;
    if let Err(broken) = &discovered
        && walk.catcher(broken)["Next"] == GIVE_UP
    {
        input["failure"] = told(broken);
        discovered = walk.task(GIVE_UP, input, handle).await;
    }
    walk.enter(if discovered.is_ok() {
        END
    } else {
        "Account not discovered"
    });
    discovered.map(|_| ())
}

async fn create(mut walk: Walk<'_>, input: Value) -> Result<(), Broken> {
    const NOT_COVERED: &str = "Region not covered";
    let most = walk.bound("Destination settled?", "polls");
    let mut polls = 0;
    loop {
        let input = input.clone();
        let output = walk
            .task("Create destination", input, create_destination::handle)
            .await;
        polls += 1;
        match output {
            Ok(output) if output.state != DestinationState::InProgress => {
                walk.enter("Destination settled");
                return Ok(());
            }
            Ok(_) if polls >= most => {
                walk.enter(NOT_COVERED);
                return Ok(());
            }
            Ok(_) => {}
            Err(broken) if walk.catcher(&broken)["Next"] == NOT_COVERED => {
                walk.enter(NOT_COVERED);
                return Ok(());
            }
            Err(broken) => {
                walk.enter("Destination not created");
                return Err(broken);
            }
        }
        walk.wait("Wait for the destination stack", 60.min(10 * polls))
            .await;
    }
}

async fn configure(mut walk: Walk<'_>, mut input: Value) -> Result<(), Broken> {
    const GIVE_UP: &str = "Give up the buckets";
    let most = walk.bound("Every bucket configured?", "calls");
    let handle = configure_inventories::handle;
    let mut calls = 0;
    let given_up = loop {
        let output = walk
            .task("Configure inventories", input.clone(), handle)
            .await;
        calls += 1;
        match output {
            Ok(output) if output.finished => {
                walk.enter("Account configured");
                return Ok(());
            }
            Ok(_) if calls < most => {}
            Ok(_) => break broken("ConfigurationTooSlow", ""),
            Err(broken) if walk.catcher(&broken)["Next"] == GIVE_UP => break broken,
            Err(broken) => {
                walk.enter("Account not configured");
                return Err(broken);
            }
        }
    };
    input["failure"] = told(&given_up);
    let recorded = walk.task(GIVE_UP, input, handle).await;
    walk.enter(if recorded.is_ok() {
        "Account configured"
    } else {
        "Account not configured"
    });
    recorded.map(|_| ())
}

/// "Wait for the inventory reports": the branch that ends first ends both.
async fn wait(walk: &Walk<'_>, run: &initialize::Output) -> Result<(), Broken> {
    {
        let mut state = walk.world.state();
        let now = state.now;
        state.note(|| format!("run {} waits", run.run_id));
        let waiting = state.waits.entry(run.run_id.to_string()).or_default();
        waiting.began_at = Some(now);
    }
    let callback = callback(walk.inside(), run).boxed_local();
    let refresh = refresh(walk.inside(), run).boxed_local();
    let (ended, _, _) = select_all([callback, refresh]).await;
    let Err(over) = ended;
    if over.error == "WaitIsOver" {
        crate::checks::after_wait(
            &mut walk.world.state(),
            run.run_id.as_str(),
            run.status_refresh_seconds,
        );
        return Ok(());
    }
    Err(over)
}

async fn callback(mut walk: Walk<'_>, run: &initialize::Output) -> Result<Infallible, Broken> {
    let name = "Await inventories";
    walk.enter(name);
    let definition = Machine::Harvester.state(name);
    let timeout = definition["TimeoutSeconds"]
        .as_i64()
        .expect("it is a number");
    let mut retries = Retries::of(definition);
    let world = walk.world;
    loop {
        let (token, until) = {
            let mut state = world.state();
            let token = format!("token-{}-{}", run.run_id, state.id());
            state.tokens.insert(token.clone(), Token::Waiting);
            let until = state.now + timeout;
            state.at(until, Event::Wake);
            (token, until)
        };
        let input = json!({ "run_id": run.run_id, "task_token": token });
        let invocation = world.start(walk.platform, name, &input, await_inventories::handle);
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
            Ok(()) => {
                walk.enter("Every bucket is settled");
                return Err(broken("WaitIsOver", "every bucket is settled"));
            }
            Err(over) if pause(world, &mut retries, &over).await => {}
            Err(over) => {
                walk.catch();
                walk.enter("Callback failed");
                return Err(over);
            }
        }
    }
}

async fn refresh(mut walk: Walk<'_>, run: &initialize::Output) -> Result<Infallible, Broken> {
    let most = walk.bound("Anything more to await?", "calls");
    let mut cursor: Option<String> = None;
    let mut calls: i64 = 0;
    loop {
        if cursor.is_none() {
            let doubled = 10 * (1 << calls.min(10));
            let pause = i64::from(run.status_refresh_seconds).min(doubled);
            walk.wait("Wait for the next refresh", pause.max(2 * calls))
                .await;
        }
        let input = json!({ "run_id": run.run_id, "cursor": cursor });
        let looked = walk
            .task("Refresh statuses", input, refresh_statuses::handle)
            .await;
        calls += 1;
        let is_over = match looked {
            Ok(looked) => {
                let mut state = walk.world.state();
                let waiting = state.waits.entry(run.run_id.to_string()).or_default();
                waiting.last_look_failed_at = None;
                cursor = looked.cursor;
                looked.settled || looked.deadline_passed
            }
            Err(broken) if walk.catcher(&broken)["Next"] == "Refresh failed" => {
                walk.enter("Refresh failed");
                return Err(broken);
            }
            // The next look will tell.
            Err(_) => {
                let mut state = walk.world.state();
                let now = state.now;
                let waiting = state.waits.entry(run.run_id.to_string()).or_default();
                waiting.failed_looks += 1;
                waiting.last_look_failed_at = Some(now);
                cursor = None;
                false
            }
        };
        if calls >= most {
            walk.enter("Refreshed too often");
            return Err(broken("RefreshedTooOften", ""));
        }
        if cursor.is_none() && is_over {
            walk.enter("Nothing more to await");
            return Err(broken("WaitIsOver", "settled, or the deadline has passed"));
        }
    }
}

async fn cleanup(world: World, platform: Arc<Platform>, asked: Value) -> Result<(), Broken> {
    let mut walk = Walk::begin(&world, &platform, Machine::Cleanup, TOP);
    let unclean = clean_all(&mut walk, &asked).await;
    if unclean > 0 {
        walk.enter("Something is left");
        return Err(broken("CleanupIncomplete", &unclean.to_string()));
    }
    walk.enter("Clean");
    Ok(())
}

/// Cleans the run that is asked for, or all; gives how much is not clean.
async fn clean_all(walk: &mut Walk<'_>, asked: &Value) -> usize {
    let text = |field: &str| asked.get(field).filter(|text| text.is_string()).cloned();
    let (asked_run, asked_arn) = (text("run_id"), text("execution_arn"));
    let told = asked
        .get("failure")
        .filter(|failure| failure.is_object())
        .cloned();
    let most = walk.bound("Another run?", "runs");
    let mut after = Value::Null;
    let mut unclean = 0;
    let mut runs = 0;
    loop {
        let input = json!({ "run_id": asked_run, "execution_arn": asked_arn, "after": after });
        let found = walk
            .task("Find leftovers", input, find_leftovers::handle)
            .await;
        let Ok(found) = found else {
            return unclean + 1;
        };
        let Some(run_id) = &found.run_id else {
            return unclean;
        };
        runs += 1;
        let left = clean(walk, &found).await;
        unclean += left;
        if left == 0 {
            let input = json!({ "run_id": run_id });
            let closed = walk.task("Close run", input, close_run::handle).await;
            unclean += usize::from(closed.is_err());
        }
        if found.is_summary_due || told.is_some() {
            let failure = match (&told, &found.failure) {
                (Some(told), _) => told.clone(),
                (None, failure) => json!(failure),
            };
            let input = json!({ "run_id": run_id, "failure": failure });
            // A summary that is not sent leaves nothing behind.
            let _ = walk.task("Send summary", input, send_summary::handle).await;
        }
        if asked_run.is_some() || asked_arn.is_some() {
            return unclean;
        }
        if runs >= most {
            return unclean + 1;
        }
        after = json!(run_id);
    }
}

/// Accounts and Regions of which something may be left.
async fn clean(walk: &mut Walk<'_>, found: &find_leftovers::Output) -> usize {
    let run_id = &found.run_id;
    walk.enter("Remove the inventory configurations");
    let accounts = found.accounts.iter().map(|account| {
        let input = json!({ "run_id": run_id, "account_id": account });
        remove_configurations(walk.inside(), input)
    });
    let accounts = join_all(accounts).await;
    walk.enter("Remove the destinations");
    let regions = found.regions.iter().map(|region| {
        let input = json!({ "run_id": run_id, "region": region });
        remove_destination(walk.inside(), input)
    });
    let regions = join_all(regions).await;
    accounts
        .into_iter()
        .chain(regions)
        .filter(|is_clean| !is_clean)
        .count()
}

async fn remove_configurations(mut walk: Walk<'_>, input: Value) -> bool {
    let most = walk.bound("Every configuration removed?", "calls");
    let mut calls = 0;
    loop {
        let input = input.clone();
        let removed = walk
            .task("Remove inventories", input, remove_inventories::handle)
            .await;
        calls += 1;
        match removed {
            Ok(output) if output.finished => {
                walk.enter("Configurations removed");
                return true;
            }
            Ok(_) if calls < most => {}
            _ => {
                walk.enter("Configurations left");
                return false;
            }
        }
    }
}

async fn remove_destination(mut walk: Walk<'_>, input: Value) -> bool {
    let is_removed = empty_and_delete(&mut walk, input).await;
    walk.enter(if is_removed {
        "Destination removed"
    } else {
        "Destination left"
    });
    is_removed
}

async fn empty_and_delete(walk: &mut Walk<'_>, input: Value) -> bool {
    let most = walk.bound("Destination empty?", "calls");
    let most_deleted = walk.bound("Destination deleted?", "calls");
    let most_failures = walk.bound("Destination deleted?", "failures");
    let (mut calls, mut failures) = (0, 0);
    let mut is_to_be_emptied = true;
    loop {
        if is_to_be_emptied {
            let input = input.clone();
            let emptied = walk
                .task("Empty destination", input, empty_destination::handle)
                .await;
            calls += 1;
            match emptied {
                Ok(output) if output.finished => {}
                Ok(_) if calls < most => continue,
                _ => return false,
            }
        }
        let input = input.clone();
        let deleted = walk
            .task("Delete destination", input, delete_destination::handle)
            .await;
        calls += 1;
        let Ok(state) = deleted else { return false };
        if state == delete_destination::Output::Deleted {
            return true;
        }
        failures += i64::from(state == delete_destination::Output::Failed);
        if calls >= most_deleted {
            return false;
        }
        is_to_be_emptied = state == delete_destination::Output::NotEmpty;
        if is_to_be_emptied {
            continue;
        }
        if failures >= most_failures {
            return false;
        }
        walk.wait("Wait for the stack to go", 60.min(5 * calls))
            .await;
    }
}
