//! One schedule: an estate, one run or two, and what the seed has happen in which order.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::future::LocalBoxFuture;
use real_shared::error::TaskError;
use real_shared::ids::{AccountId, BucketName, DeploymentName};
use real_shared::settings::Settings;
use serde_json::json;

use crate::estate::{CONSOLIDATED, DEPLOYMENT, HOST, estate};
use crate::mutation::Mutation;
use crate::queues::{self, FILES, NOTIFICATIONS, Replay};
use crate::samples::Sample;
use crate::services::Clients;
use crate::services::destination_stack::{stack_deleted, stack_made};
use crate::tasks::queue::{SqsBatchResponse, SqsEvent};
use crate::tasks::{dead_letter_keeper, inventory_file_consolidator, inventory_object_processor};
use crate::world::{Broken, Chaos, Event, Fate, Figures, Source, Start, State, World, poll};
use crate::{Platform, checks, inventory, machines};

/// After so many steps a schedule counts as one that does not end.
const STEPS: u32 = 60_000;
/// Seconds a function may run.
const FUNCTION_TIME: i64 = 900;

/// What a schedule came to.
#[derive(Debug, Clone, Default)]
pub struct Simulated {
    /// What happened how often.
    pub figures: Figures,
    /// What must hold and did not.
    pub violations: Vec<String>,
    /// What happened, if it was asked for.
    pub trace: Vec<String>,
    /// The steps that the machines took.
    pub steps: BTreeSet<machines::Step>,
}

/// Runs the schedule of a seed.
pub fn simulate(seed: u64, mutation: Option<Mutation>, with_trace: bool) -> Simulated {
    let mut state = run(State {
        rng: fastrand::Rng::with_seed(seed),
        mutation,
        trace: with_trace.then(Vec::new),
        ..State::default()
    });
    state.figures.schedules = 1;
    Simulated {
        figures: state.figures,
        violations: state.violations,
        trace: state.trace.unwrap_or_default(),
        steps: state.steps,
    }
}

/// A sample of every kind of write that is sent to the run table in the schedules of some seeds.
pub fn run_table_samples(seeds: Range<u64>) -> Vec<Sample> {
    let mut samples = Some(BTreeMap::new());
    for seed in seeds {
        let state = run(State {
            rng: fastrand::Rng::with_seed(seed),
            samples,
            ..State::default()
        });
        samples = state.samples;
    }
    samples
        .into_iter()
        .flatten()
        .map(|(_, sample)| sample)
        .collect()
}

fn run(state: State) -> State {
    let world = World::new(state);
    // What a broken protocol makes of a record may be too much for the code that reads it.
    let panicked = catch_unwind(AssertUnwindSafe(|| Simulation::new(&world).run())).err();
    let mut state = std::mem::take(&mut *world.state());
    if let Some(panic) = panicked {
        let what = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|what| (*what).to_owned()))
            .unwrap_or_default();
        state.violated(format!("panicked: {what}"));
    }
    state
}

/// A task that runs.
struct Task {
    name: &'static str,
    invocation: Option<u64>,
    messages: Option<(&'static str, Vec<u64>)>,
    future: LocalBoxFuture<'static, Result<Box<dyn Any>, TaskError>>,
    began_at: i64,
    stalled_until: i64,
}

type Machine = (String, LocalBoxFuture<'static, Result<(), Broken>>);

struct Simulation {
    world: World,
    platform: Arc<Platform>,
    tasks: BTreeMap<u32, Task>,
    machines: Vec<Machine>,
    next_task: u32,
    steps: u32,
    /// Whether a task ended since nothing was under way.
    was_busy: bool,
    /// Whether something happened that a machine may wait for.
    is_news: bool,
}

impl Simulation {
    fn new(world: &World) -> Self {
        let settings = Settings {
            deployment: DeploymentName::try_from(DEPLOYMENT).expect("it keeps the rules"),
            host_account: AccountId::try_from(HOST).expect("it keeps the rules"),
            run_table: "runs".to_owned(),
            consolidated_bucket: BucketName::try_from(CONSOLIDATED).expect("it keeps the rules"),
            notification_queue_arn: "arn:aws:sqs:us-east-1:999999999999:notifications".to_owned(),
            notification_queue_url: NOTIFICATIONS.to_owned(),
            file_queue_url: FILES.to_owned(),
            work_group: "insights".to_owned(),
            member_role: "member".to_owned(),
            external_id: None,
        };
        #[expect(
            clippy::arc_with_non_send_sync,
            reason = "tasks take an Arc, and here they stay on one thread"
        )]
        let platform = Arc::new(Platform {
            settings,
            clients: Clients::new(world.clone()),
        });
        Self {
            world: world.clone(),
            platform,
            tasks: BTreeMap::new(),
            machines: Vec::new(),
            next_task: 1,
            steps: 0,
            was_busy: false,
            is_news: true,
        }
    }

    fn run(mut self) {
        let inputs = {
            let mut state = self.world.state();
            estate(&mut state)
        };
        for (number, (after, input)) in inputs.into_iter().enumerate() {
            let arn = format!("harvester:{number}");
            self.play_until(after);
            self.world.state().figures.runs += 1;
            self.world
                .state()
                .note(|| format!("{arn} starts with {input}"));
            machines::start_harvester(&self.world, &self.platform, &arn, input);
        }
        self.play_until(i64::MAX);
        self.see_what_is_left();
        crate::world::finish(&self.world);
    }

    /// Whoever finds that a Cleanup could not do all, has it done again.
    fn see_what_is_left(&mut self) {
        {
            let mut state = self.world.state();
            for run in checks::runs(&state) {
                let left = checks::leftovers(&state, run.run_id.as_str());
                if run.cleaned_up_at.is_some() && !left.is_empty() && !state.broken_after_end {
                    state.violated(format!(
                        "run {} is clean, and there is {left:?}",
                        run.run_id
                    ));
                }
            }
            state.chaos = Chaos::default();
            state.refusal = None;
            state.table.settle();
        }
        let input = json!({ "manual_cleanup": true });
        machines::start_cleanup(&self.world, &self.platform, None, input);
        self.play_until(i64::MAX);
        if self.world.state().broken_after_end {
            let runs = checks::runs(&self.world.state());
            for run in runs {
                let input = json!({ "run_id": run.run_id });
                machines::start_cleanup(&self.world, &self.platform, None, input);
            }
            self.play_until(i64::MAX);
        }
        let mut state = self.world.state();
        for run in checks::runs(&state) {
            let left = checks::leftovers(&state, run.run_id.as_str());
            if !left.is_empty() {
                state.violated(format!("Cleanup left {left:?} of run {}", run.run_id));
            }
        }
        drop(state);
        self.replay_what_is_over();
    }

    /// Somebody replays everything, and every run is over.
    fn replay_what_is_over(&mut self) {
        let before = {
            let mut state = self.world.state();
            if state.dead.bodies.is_empty() {
                return;
            }
            let before = checks::kept(&state);
            queues::replay(&mut state, Replay::All);
            before
        };
        self.play_until(i64::MAX);
        let mut state = self.world.state();
        if checks::kept(&state) != before {
            state.violated("a replay changed a run that is over".to_owned());
        }
    }

    /// Lets things happen until a time, or until nothing happens any more.
    fn play_until(&mut self, time: i64) {
        loop {
            self.steps += 1;
            if self.steps > STEPS {
                self.world.state().violated("it does not end".to_owned());
                return;
            }
            self.begin_what_is_to_begin();
            if std::mem::take(&mut self.is_news) {
                self.poll_machines();
                continue;
            }
            if !self.world.state().violations.is_empty() {
                return;
            }
            if !self.step(time) {
                return;
            }
        }
    }

    fn begin_what_is_to_begin(&mut self) {
        let (starts, machines) = {
            let mut state = self.world.state();
            let machines = std::mem::take(&mut state.machine_starts);
            (std::mem::take(&mut state.starts), machines)
        };
        self.is_news |= !machines.is_empty();
        self.machines.extend(machines);
        for start in starts {
            self.begin(start);
        }
    }

    fn begin(&mut self, start: Start) {
        let Start {
            invocation,
            name,
            future,
            messages,
        } = start;
        let id = self.next_task;
        self.next_task += 1;
        let began_at = {
            let mut state = self.world.state();
            state.figures.tasks += 1;
            state.note(|| format!("task {id}: {name} begins"));
            state.now
        };
        let task = Task {
            name,
            invocation: messages.is_none().then_some(invocation),
            messages,
            future,
            began_at,
            stalled_until: 0,
        };
        self.tasks.insert(id, task);
        self.go_on(id);
    }

    /// Lets a task go on until it waits for its next turn.
    fn go_on(&mut self, id: u32) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        self.world.state().current = id;
        if let Some(answer) = poll(&mut task.future) {
            self.end(
                id,
                answer.map_err(|error| Broken {
                    error: error.name().to_owned(),
                    cause: error.to_string(),
                }),
            );
        }
    }

    fn end(&mut self, id: u32, answer: Result<Box<dyn Any>, Broken>) {
        let Some(task) = self.tasks.remove(&id) else {
            return;
        };
        let Task {
            name,
            invocation,
            messages,
            future,
            ..
        } = task;
        drop(future);
        self.is_news = true;
        self.was_busy = true;
        let mut state = self.world.state();
        state.note(|| match &answer {
            Ok(_) => format!("task {id}: {name} ends"),
            Err(broken) => format!(
                "task {id}: {name} fails: {}: {}",
                broken.error, broken.cause
            ),
        });
        state.ended(id);
        if let (Some((queue, ids)), Ok(output)) = (&messages, &answer) {
            let response: &SqsBatchResponse = output
                .downcast_ref()
                .expect("all functions of queues answer so");
            let failed = |id: &u64| {
                let failures = response.batch_item_failures.iter();
                failures
                    .map(|failure| &failure.item_identifier)
                    .any(|failed| *failed == id.to_string())
            };
            let done: Vec<u64> = ids.iter().copied().filter(|id| !failed(id)).collect();
            queues::acknowledge(&mut state, queue, &done);
        }
        if let Some(invocation) = invocation {
            state.answers.insert(invocation, answer);
        }
    }

    fn poll_machines(&mut self) {
        let mut index = 0;
        while index < self.machines.len() {
            let Some(ended) = poll(&mut self.machines[index].1) else {
                index += 1;
                continue;
            };
            let (arn, _) = self.machines.remove(index);
            self.is_news = true;
            let is_harvester = arn.starts_with("harvester");
            let mut state = self.world.state();
            let execution = state.executions.get_mut(&arn).expect("it was started");
            let failed = ended.is_err();
            execution.status = if failed { "FAILED" } else { "SUCCEEDED" };
            execution.error = ended.err().map(|broken| (broken.error, broken.cause));
            let text = format!("{arn} ended: {} {:?}", execution.status, execution.error);
            state.note(|| text);
            drop(state);
            if is_harvester && failed {
                let input = json!({ "execution_arn": arn });
                machines::start_cleanup(&self.world, &self.platform, None, input);
            }
        }
    }

    /// Has one thing happen. `false` when nothing happens any more, or not before a time.
    fn step(&mut self, until: i64) -> bool {
        let (ready, visible) = {
            let state = self.world.state();
            let now = state.now;
            let ready: Vec<usize> = (0..state.pending.len())
                .filter(|index| {
                    let task = self.tasks.get(&state.pending[*index].task);
                    task.is_some_and(|task| task.stalled_until <= now)
                })
                .collect();
            let visible = state.queues.iter().flat_map(|(queue, messages)| {
                let visible = messages.iter().filter(|message| message.visible_at <= now);
                visible.map(|message| (*queue, message.id))
            });
            (ready, visible.collect::<Vec<(&'static str, u64)>>())
        };
        let (slips, receives) = {
            let mut state = self.world.state();
            let slip = state.chaos.slip;
            (state.happens(slip), state.rng.u32(0..8) == 0)
        };
        if slips && self.advance(until, true) {
            return true;
        }
        if !visible.is_empty() && (receives || ready.is_empty()) {
            self.receive(&visible);
            return true;
        }
        if ready.is_empty() {
            let is_idle = self.tasks.is_empty() && std::mem::take(&mut self.was_busy);
            if is_idle && self.world.state().queues.values().all(Vec::is_empty) {
                checks::when_idle(&mut self.world.state());
            }
            return self.advance(until, false);
        }
        self.give_a_turn(&ready);
        true
    }

    fn give_a_turn(&mut self, ready: &[usize]) {
        let mut state = self.world.state();
        let index = ready[state.rng.usize(0..ready.len())];
        let id = state.pending[index].task;
        let chaos = state.chaos;
        let task = self.tasks.get_mut(&id).expect("it is ready");
        if state.now - task.began_at > FUNCTION_TIME || state.happens(chaos.killed) {
            drop(state);
            self.kill(id);
            return;
        }
        if state.happens(chaos.stalled) {
            state.figures.stalled += 1;
            let for_seconds = state.rng.i64(1..FUNCTION_TIME);
            task.stalled_until = state.now + for_seconds;
            let time = task.stalled_until;
            state.at(time, Event::Wake);
            state.note(|| format!("task {id} stands still for {for_seconds} s"));
            return;
        }
        if state.happens(chaos.orphaned)
            && let Some(invocation) = task.invocation.take()
        {
            state.figures.orphaned += 1;
            state.note(|| format!("the caller of task {id} gives up on it"));
            state.broken_after_end |= is_over(&state);
            let error = "Lambda.SdkClientException".to_owned();
            let cause = "simulated".to_owned();
            state
                .answers
                .insert(invocation, Err(Broken { error, cause }));
            self.is_news = true;
            return;
        }
        let fate = if state.happens(chaos.throttled) {
            Fate::Throttled
        } else if state.happens(chaos.answer_lost) {
            Fate::AnswerLost
        } else if state.happens(chaos.repeated) {
            Fate::Repeated
        } else {
            Fate::Answered
        };
        // Nobody repeats what a task of a stopped execution failed to do.
        if matches!(fate, Fate::Throttled | Fate::AnswerLost) {
            state.broken_after_end |= is_over(&state);
        }
        let (id, waker) = state.grant(index, fate);
        drop(state);
        waker.wake();
        self.go_on(id);
    }

    /// A function is gone from one moment to the next.
    fn kill(&mut self, id: u32) {
        {
            let mut state = self.world.state();
            state.figures.killed += 1;
            state.broken_after_end |= is_over(&state);
        }
        let error = "Lambda.Unknown".to_owned();
        let cause = "simulated".to_owned();
        self.end(id, Err(Broken { error, cause }));
    }

    /// A queue hands messages to its function.
    fn receive(&mut self, visible: &[(&'static str, u64)]) {
        let mut state = self.world.state();
        let (queue, first) = visible[state.rng.usize(0..visible.len())];
        let more = state.rng.usize(0..3);
        let others = visible
            .iter()
            .filter(|(of, id)| *of == queue && *id != first);
        let mut ids: Vec<u64> = others.map(|(_, id)| *id).take(more).collect();
        ids.push(first);
        let records = queues::receive(&mut state, queue, &ids);
        if records.is_empty() {
            return;
        }
        let invocation = state.id();
        drop(state);
        let platform = Arc::clone(&self.platform);
        let event = SqsEvent { records };
        let (name, future) = match queue {
            FILES => (
                "inventory-file-consolidator",
                boxed(inventory_file_consolidator::handle(platform, event)),
            ),
            NOTIFICATIONS => (
                "inventory-object-processor",
                boxed(inventory_object_processor::handle(platform, event)),
            ),
            _ => (
                "dead-letter-keeper",
                boxed(dead_letter_keeper::handle(platform, event)),
            ),
        };
        self.begin(Start {
            invocation,
            name,
            future,
            messages: Some((queue, ids)),
        });
    }

    /// Lets time pass to the next event. `false` when there is none, or not before a time.
    fn advance(&mut self, until: i64, only_a_little: bool) -> bool {
        let mut due = Vec::new();
        {
            let mut state = self.world.state();
            let Some((&(time, _), _)) = state.timers.first_key_value() else {
                return false;
            };
            if time > until || (only_a_little && time > state.now + 300) {
                return false;
            }
            if time > state.now {
                state.now = time;
                state.table.settle();
            }
            while let Some((&(time, id), _)) = state.timers.first_key_value() {
                if time > state.now {
                    break;
                }
                due.extend(state.timers.remove(&(time, id)));
            }
        }
        self.is_news = true;
        for event in due {
            self.happen(event);
        }
        true
    }

    fn happen(&mut self, event: Event) {
        let mut state = self.world.state();
        match event {
            Event::Wake => {}
            Event::StackMade(region, name, generation) => {
                stack_made(&mut state, region, name, generation);
            }
            Event::StackDeleted(region, name, generation) => {
                stack_deleted(&mut state, region, name, generation);
            }
            Event::Report { bucket, id, made } => inventory::report(&mut state, &bucket, &id, made),
            Event::Deliver { bucket, key, body } => {
                inventory::deliver(&mut state, &bucket, &key, body);
            }
            Event::Vanish(bucket) => {
                state.note(|| format!("{bucket} is deleted"));
                state.configurations.retain(|(of, _), _| *of != bucket);
                change(&mut state, &bucket, |source| source.exists = false);
            }
            Event::Close(bucket) => {
                state.note(|| format!("{bucket} is closed to us"));
                change(&mut state, &bucket, |source| source.open = false);
            }
            Event::Empty(bucket) => {
                state.note(|| format!("{bucket} is emptied"));
                change(&mut state, &bucket, |source| source.is_empty = true);
            }
            Event::RemoveConfiguration(bucket) => {
                state.note(|| format!("somebody removes the configurations of {bucket}"));
                state.configurations.retain(|(of, _), _| *of != bucket);
            }
            Event::Stop { arn, with_nested } => {
                drop(state);
                self.stop(&arn, with_nested);
            }
            Event::CleanUp(input) => {
                drop(state);
                machines::start_cleanup(&self.world, &self.platform, None, input);
            }
            Event::Kill(often) => state.chaos.killed = often,
            Event::Replay(which) => queues::replay(&mut state, which),
            Event::Mend => {
                state.note(|| "the permission is given".to_owned());
                state.refusal = None;
            }
        }
    }

    /// Somebody stops an execution: its tasks go on, and the rule starts Cleanup.
    fn stop(&mut self, arn: &str, with_nested: bool) {
        {
            let mut state = self.world.state();
            let Some(execution) = state.executions.get_mut(arn) else {
                return;
            };
            if execution.status != "RUNNING" {
                return;
            }
            execution.status = "ABORTED";
            state.figures.stopped += 1;
            state.note(|| format!("{arn} is stopped"));
            let nested: Vec<String> = state
                .executions
                .iter_mut()
                .filter(|(_, nested)| with_nested && nested.parent.as_deref() == Some(arn))
                .map(|(nested, execution)| {
                    if execution.status == "RUNNING" {
                        execution.status = "ABORTED";
                    }
                    nested.clone()
                })
                .collect();
            let is_gone = |of: &String| of == arn || nested.contains(of);
            self.machines.retain(|(of, _)| !is_gone(of));
            state.machine_starts.retain(|(of, _)| !is_gone(of));
        }
        let input = json!({ "execution_arn": arn });
        machines::start_cleanup(&self.world, &self.platform, None, input);
    }
}

fn boxed(
    work: impl Future<Output = Result<SqsBatchResponse, TaskError>> + 'static,
) -> LocalBoxFuture<'static, Result<Box<dyn Any>, TaskError>> {
    Box::pin(async move { Ok(Box::new(work.await?) as Box<dyn Any>) })
}

/// Whether a run is over whose tasks may be under way.
fn is_over(state: &State) -> bool {
    let mut runs = state.table.items.iter().filter(|((_, sk), _)| sk == "run");
    runs.any(|(_, run)| run.contains_key("frozen_at"))
}

fn change(state: &mut State, bucket: &str, change: impl FnOnce(&mut Source)) {
    if let Some(source) = state.sources.get_mut(bucket) {
        change(source);
    }
}
