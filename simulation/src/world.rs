//! The state of a simulated AWS, the clock, and the turns: every request of a task waits until the
//! scheduler gives it its turn, and what happens to it is decided then.

use std::any::Any;
use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::future::LocalBoxFuture;
use jiff::{SignedDuration, Timestamp};
use real_shared::aws::{AwsError, Class};
use real_shared::error::TaskError;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::dynamodb::{Table, Write};
use crate::inventory::{Configuration, Report};
use crate::machines::Step;
use crate::mutation::Mutation;
use crate::queues::{Dead, Message, Replay};
use crate::samples::Samples;
use crate::{Platform, checks};

/// When a schedule begins.
pub(crate) const START: i64 = 1_772_323_200;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is answered.
    Answered,
    /// It is turned away.
    Throttled,
    /// It is done, and the caller hears of a failure.
    AnswerLost,
    /// It is done twice, as the SDK sent it again.
    Repeated,
}

/// How often what goes wrong, in 10,000 requests, messages or invocations.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Chaos {
    pub(crate) throttled: u32,
    pub(crate) answer_lost: u32,
    pub(crate) repeated: u32,
    pub(crate) killed: u32,
    pub(crate) orphaned: u32,
    pub(crate) stalled: u32,
    pub(crate) duplicated: u32,
    pub(crate) lost: u32,
    pub(crate) slip: u32,
}

/// What is counted over schedules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Schedules.
    pub schedules: u64,
    /// Runs in them.
    pub runs: u64,
    /// Requests that were given a turn.
    pub requests: u64,
    /// Tasks that were begun.
    pub tasks: u64,
    /// Tasks killed between two requests.
    pub killed: u64,
    /// Tasks whose caller gave up on them while they went on.
    pub orphaned: u64,
    /// Tasks that stood still for minutes.
    pub stalled: u64,
    /// Requests that were turned away.
    pub throttled: u64,
    /// Requests whose answer was lost.
    pub answers_lost: u64,
    /// Requests that were done twice.
    pub repeated: u64,
    /// Messages delivered once more.
    pub duplicates: u64,
    /// Messages lost.
    pub lost: u64,
    /// Messages given up after 20 receives.
    pub dead_letters: u64,
    /// Dead letters sent once more.
    pub replays: u64,
    /// Reports that took the place of another one, under the same keys.
    pub same_keys: u64,
    /// Executions stopped from outside.
    pub stopped: u64,
    /// Buckets that became `done`.
    pub done: u64,
    /// Runs that ended `complete`.
    pub complete: u64,
}

impl Figures {
    /// Adds those of other schedules.
    pub fn add(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.runs += other.runs;
        self.requests += other.requests;
        self.tasks += other.tasks;
        self.killed += other.killed;
        self.orphaned += other.orphaned;
        self.stalled += other.stalled;
        self.throttled += other.throttled;
        self.answers_lost += other.answers_lost;
        self.repeated += other.repeated;
        self.duplicates += other.duplicates;
        self.lost += other.lost;
        self.dead_letters += other.dead_letters;
        self.replays += other.replays;
        self.same_keys += other.same_keys;
        self.stopped += other.stopped;
        self.done += other.done;
        self.complete += other.complete;
    }
}

/// A source bucket as it is.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fate of its own")]
pub(crate) struct Source {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) exists: bool,
    pub(crate) is_empty: bool,
    /// Whether we may do anything with it.
    pub(crate) open: bool,
    /// Whether we may list its content.
    pub(crate) listable: bool,
    /// Whether we may put inventory configurations on it.
    pub(crate) configurable: bool,
}

/// A stack as it is.
#[derive(Debug, Clone)]
pub(crate) struct Stack {
    pub(crate) status: &'static str,
    pub(crate) bucket: String,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) tags: BTreeMap<String, String>,
    /// Tells a stack from an earlier one of its name.
    pub(crate) generation: u64,
}

/// A permission that is missing for a while: requests of an operation, about what begins with a text.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) operation: &'static str,
    pub(crate) about: String,
    pub(crate) from: i64,
}

/// A task token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Waiting,
    Answered,
    GivenUp,
}

/// An execution of a machine.
#[derive(Debug, Clone)]
pub(crate) struct Execution {
    pub(crate) status: &'static str,
    pub(crate) error: Option<(String, String)>,
    /// The execution that waits for it, and that is not ended without it.
    pub(crate) parent: Option<String>,
}

/// What happens at a time.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Somebody waits for it.
    Wake,
    StackMade(String, String, u64),
    StackDeleted(String, String, u64),
    /// S3 makes a report for a configuration, if that is still there.
    Report {
        bucket: String,
        id: String,
        made: u64,
    },
    /// S3 delivers an object.
    Deliver {
        bucket: String,
        key: String,
        body: Bytes,
    },
    Vanish(String),
    Close(String),
    Empty(String),
    RemoveConfiguration(String),
    Stop {
        arn: String,
        with_nested: bool,
    },
    CleanUp(Value),
    /// From now on so many functions are killed, in 10,000 requests.
    Kill(u32),
    /// Somebody replays dead letters.
    Replay(Replay),
    /// A policy that refused something is mended.
    Mend,
}

/// A request that waits for its turn.
pub(crate) struct Pending {
    pub(crate) id: u64,
    pub(crate) task: u32,
    waker: Waker,
    what: String,
}

/// A task that is to begin.
pub(crate) struct Start {
    pub(crate) invocation: u64,
    pub(crate) name: &'static str,
    pub(crate) future: LocalBoxFuture<'static, Result<Box<dyn Any>, TaskError>>,
    /// Messages it works on, with their queue.
    pub(crate) messages: Option<(&'static str, Vec<u64>)>,
}

/// What broke a task or a machine off.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    pub(crate) error: String,
    pub(crate) cause: String,
}

type Answer = Result<Box<dyn Any>, Broken>;

/// What is known of the wait of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Waiting {
    pub(crate) began_at: Option<i64>,
    pub(crate) ended_at: Option<i64>,
    /// When the last bucket in progress came to its end.
    pub(crate) settled_at: Option<i64>,
    /// Looks that failed, so that the next one, an interval later, had to tell.
    pub(crate) failed_looks: i64,
    /// When the last look failed, if it did.
    pub(crate) last_look_failed_at: Option<i64>,
}

/// Everything.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) rng: fastrand::Rng,
    pub(crate) now: i64,
    pub(crate) chaos: Chaos,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) figures: Figures,
    pub(crate) violations: Vec<String>,

    pub(crate) pending: Vec<Pending>,
    pub(crate) current: u32,
    pub(crate) granted: Option<(u64, Fate)>,
    pub(crate) next_id: u64,
    pub(crate) starts: Vec<Start>,
    pub(crate) machine_starts: Vec<(String, LocalBoxFuture<'static, Result<(), Broken>>)>,
    pub(crate) answers: BTreeMap<u64, Answer>,
    /// Invocations that a machine waits for.
    pub(crate) open_invocations: BTreeSet<u64>,
    pub(crate) timers: BTreeMap<(i64, u64), Event>,
    /// Writes that a mutation keeps back until their task has ended.
    pub(crate) deferred: Vec<(u32, Write)>,
    pub(crate) in_transaction: bool,

    pub(crate) table: Table,
    pub(crate) objects: BTreeMap<(String, String), Bytes>,
    pub(crate) buckets: BTreeSet<String>,
    pub(crate) sources: BTreeMap<String, Source>,
    pub(crate) configurations: BTreeMap<(String, String), Configuration>,
    pub(crate) reports: Vec<Report>,
    pub(crate) stacks: BTreeMap<(String, String), Stack>,
    pub(crate) failing_regions: BTreeSet<String>,
    pub(crate) queues: BTreeMap<&'static str, Vec<Message>>,
    pub(crate) dead: Dead,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) tokens: BTreeMap<String, Token>,
    pub(crate) executions: BTreeMap<String, Execution>,
    pub(crate) databases: BTreeSet<String>,
    pub(crate) tables: BTreeMap<(String, String), BTreeSet<String>>,
    pub(crate) mails: u64,
    pub(crate) waits: BTreeMap<String, Waiting>,
    /// Buckets that the snapshots of runs were published with.
    pub(crate) published: BTreeMap<String, BTreeSet<String>>,
    /// What was written, if that is asked for.
    pub(crate) samples: Option<Samples>,
    /// What the machines did, step by step.
    pub(crate) steps: BTreeSet<Step>,
    /// Runs for which a task was killed or gave up after the run was over: what it had begun then,
    /// only the next Cleanup can know.
    pub(crate) broken_after_end: bool,
}

impl State {
    pub(crate) fn timestamp(&self) -> Timestamp {
        Timestamp::from_second(START + self.now).expect("schedules are short")
    }

    pub(crate) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Whether something happens that happens so often in 10,000.
    pub(crate) fn happens(&mut self, often: u32) -> bool {
        often > 0 && self.rng.u32(0..10_000) < often
    }

    pub(crate) fn at(&mut self, time: i64, event: Event) {
        let id = self.id();
        self.timers.insert((time, id), event);
    }

    /// A line of the trace, made only when somebody wants to read it.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let (hours, minutes, seconds) = (self.now / 3_600, self.now / 60 % 60, self.now % 60);
            trace.push(format!("{hours:02}:{minutes:02}:{seconds:02} {}", line()));
        }
    }

    /// What must hold does not.
    pub(crate) fn violated(&mut self, what: String) {
        self.note(|| format!("VIOLATED: {what}"));
        self.violations.push(what);
    }

    /// An object appears in a bucket, if that is there. S3 tells of those in destinations.
    pub(crate) fn put_object(&mut self, bucket: &str, key: &str, body: Bytes) -> bool {
        if !self.buckets.contains(bucket) {
            return false;
        }
        self.objects
            .insert((bucket.to_owned(), key.to_owned()), body);
        true
    }

    /// Whether a request is refused.
    pub(crate) fn refuses(&self, operation: &str, subject: impl Fn() -> String) -> bool {
        let refusal = self.refusal.as_ref();
        refusal.is_some_and(|refusal| {
            refusal.operation == operation
                && self.now >= refusal.from
                && subject().starts_with(&refusal.about)
        })
    }

    /// Gives a request its turn.
    pub(crate) fn grant(&mut self, index: usize, fate: Fate) -> (u32, Waker) {
        let pending = self.pending.swap_remove(index);
        self.figures.requests += 1;
        match fate {
            Fate::Answered => {}
            Fate::Throttled => self.figures.throttled += 1,
            Fate::AnswerLost => self.figures.answers_lost += 1,
            Fate::Repeated => self.figures.repeated += 1,
        }
        self.granted = Some((pending.id, fate));
        self.current = pending.task;
        if self.trace.is_some() {
            let (task, what) = (pending.task, &pending.what);
            let fate = match fate {
                Fate::Answered => String::new(),
                fate => format!(" [{fate:?}]"),
            };
            self.note(|| format!("task {task}: {what}{fate}"));
        }
        (pending.task, pending.waker)
    }

    pub(crate) fn ended(&mut self, task: u32) {
        self.pending.retain(|pending| pending.task != task);
        let (due, kept) = std::mem::take(&mut self.deferred)
            .into_iter()
            .partition(|(of, _)| *of == task);
        self.deferred = kept;
        let due: Vec<(u32, Write)> = due;
        for (_, write) in due {
            write.perform(self);
        }
    }
}

/// A handle on the state.
#[derive(Clone)]
pub(crate) struct World(Rc<RefCell<State>>);

impl std::fmt::Debug for World {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("World")
    }
}

impl World {
    pub(crate) fn new(state: State) -> Self {
        Self(Rc::new(RefCell::new(state)))
    }

    pub(crate) fn state(&self) -> RefMut<'_, State> {
        self.0.borrow_mut()
    }

    /// Waits for a turn.
    pub(crate) async fn turn(&self, operation: &str, subject: impl Fn() -> String) -> Fate {
        let mut id = None;
        poll_fn(|context: &mut Context<'_>| {
            let mut state = self.state();
            match id {
                None => {
                    let what = if state.trace.is_some() {
                        format!("{operation} {}", subject())
                    } else {
                        String::new()
                    };
                    let pending = Pending {
                        id: state.id(),
                        task: state.current,
                        waker: context.waker().clone(),
                        what,
                    };
                    id = Some(pending.id);
                    state.pending.push(pending);
                    Poll::Pending
                }
                Some(id) => match state.granted {
                    Some((granted, fate)) if granted == id => {
                        state.granted = None;
                        Poll::Ready(fate)
                    }
                    _ => Poll::Pending,
                },
            }
        })
        .await
    }

    /// One request to a service that answers with errors of its own.
    pub(crate) async fn request<T>(
        &self,
        operation: &str,
        subject: impl Fn() -> String,
        mut act: impl FnMut(&mut State) -> Result<T, AwsError>,
    ) -> Result<T, AwsError> {
        let fate = self.turn(operation, &subject).await;
        let failed = |code: &str, class| {
            Err(AwsError {
                operation: operation.to_owned(),
                code: code.to_owned(),
                message: "simulated".to_owned(),
                class,
            })
        };
        if fate == Fate::Throttled {
            return failed("SlowDown", Class::Throttled);
        }
        let mut state = self.state();
        if state.refuses(operation, &subject) {
            return failed("AccessDenied", Class::Refused);
        }
        let mut answer = act(&mut state);
        if fate == Fate::Repeated {
            answer = act(&mut state);
        }
        if let Err(error) = &answer {
            let code = error.code.clone();
            state.note(|| format!("  {code}"));
        }
        if fate == Fate::AnswerLost {
            return failed("InternalError", Class::Unavailable);
        }
        answer
    }

    /// Waits until a condition on the state holds. Machines do, tasks do not.
    pub(crate) async fn until<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> T {
        poll_fn(|_| match ready(&mut self.state()) {
            Some(value) => Poll::Ready(value),
            None => Poll::Pending,
        })
        .await
    }

    /// Waits some seconds.
    pub(crate) async fn sleep(&self, seconds: i64) {
        let until = {
            let mut state = self.state();
            let until = state.now + seconds;
            state.at(until, Event::Wake);
            until
        };
        self.until(|state| (state.now >= until).then_some(())).await;
    }

    /// Begins a task, once.
    pub(crate) fn start<I, O, H, F>(
        &self,
        platform: &Arc<Platform>,
        name: &'static str,
        input: &Value,
        handle: H,
    ) -> u64
    where
        I: DeserializeOwned + 'static,
        O: 'static,
        H: Fn(Arc<Platform>, I) -> F + 'static,
        F: Future<Output = Result<O, TaskError>> + 'static,
    {
        let parsed: I = serde_json::from_value(input.clone())
            .unwrap_or_else(|error| panic!("input of {name}: {error}"));
        let future = handle(Arc::clone(platform), parsed);
        let mut state = self.state();
        let invocation = state.id();
        state.open_invocations.insert(invocation);
        state.starts.push(Start {
            invocation,
            name,
            future: Box::pin(async move {
                let output = future.await?;
                Ok(Box::new(output) as Box<dyn Any>)
            }),
            messages: None,
        });
        invocation
    }
}

/// A time of the simulation as one of the world.
pub(crate) fn seconds(from: Timestamp, to: Timestamp) -> i64 {
    let between: SignedDuration = to.duration_since(from);
    between.as_secs()
}

/// Polls a future that has wakers of its own inside.
pub(crate) fn poll<T>(future: &mut Pin<Box<dyn Future<Output = T> + '_>>) -> Option<T> {
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Ends what a schedule left in the middle, and checks it.
pub(crate) fn finish(world: &World) {
    checks::at_the_end(&mut world.state());
}
