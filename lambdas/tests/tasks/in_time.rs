//! Functions within their time: an account of 10,000 buckets, discovered and configured while S3 takes
//! only so many requests a second, and connections that fall silent. Time is the test's own: it moves on
//! when everybody waits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, SystemTime};

use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep, Sleep};
use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::retry::RetryConfig;
use lambdas::{Platform, await_inventories, configure_inventories, discover_buckets};
use shared::aws::Clients;
use shared::run::SourceBucket;

use crate::support::{
    Reply, discovered, done, error, in_progress, input, item, items, name_of, render, sdk_config,
    service_of, settings, the_run, versions,
};
use crate::{discovery, inventories};

const BUCKETS: usize = 10_000;
/// What an answer of S3 takes, and one of DynamoDB.
const S3_LATENCY: Duration = Duration::from_millis(150);
const DYNAMODB_LATENCY: Duration = Duration::from_millis(10);
/// When Lambda ends the function.
const FUNCTION_TIMEOUT: Duration = Duration::from_mins(15);
/// The same for the smallest functions.
const SHORT_TIMEOUT: Duration = Duration::from_mins(1);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// --- time --------------------------------------------------------------------------------------

/// A clock that stands still until everybody waits for it.
#[derive(Clone, Debug, Default)]
struct Clock(Arc<Mutex<Time>>);

#[derive(Debug, Default)]
struct Time {
    now: Duration,
    /// Who sleeps until when; the number keeps those of one time in order.
    sleepers: BinaryHeap<Reverse<(Duration, u64)>>,
    wakers: BTreeMap<u64, Waker>,
    next: u64,
}

impl Clock {
    fn elapsed(&self) -> Duration {
        lock(&self.0).now
    }

    fn since(&self, earlier: Duration) -> Duration {
        self.elapsed().saturating_sub(earlier)
    }

    async fn wait(&self, duration: Duration) {
        let (until, number) = {
            let mut time = lock(&self.0);
            time.next += 1;
            let sleeper = (time.now + duration, time.next);
            time.sleepers.push(Reverse(sleeper));
            sleeper
        };
        std::future::poll_fn(|context| {
            let mut time = lock(&self.0);
            if time.now >= until {
                return Poll::Ready(());
            }
            time.wakers.insert(number, context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Runs a future to its end. Whenever it cannot go on, it is the time at which somebody can.
    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        struct Woken(AtomicBool);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Release);
            }
        }
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut future = Box::pin(future);
        loop {
            if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return answer;
            }
            while !woken.0.swap(false, Ordering::AcqRel) {
                let next = {
                    let mut time = lock(&self.0);
                    let Reverse((until, number)) =
                        time.sleepers.pop().expect("somebody waits for the clock");
                    time.now = time.now.max(until);
                    time.wakers.remove(&number)
                };
                if let Some(waker) = next {
                    waker.wake();
                }
            }
        }
    }
}

impl AsyncSleep for Clock {
    fn sleep(&self, duration: Duration) -> Sleep {
        let clock = self.clone();
        Sleep::new(async move { clock.wait(duration).await })
    }
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 56) + self.elapsed()
    }
}

// --- an AWS of one account ---------------------------------------------------------------------

/// How many requests S3 takes: so many a second, and a second's worth at once.
#[derive(Debug)]
struct Limit {
    per_second: f64,
    left: f64,
    at: Duration,
}

impl Limit {
    fn new(per_second: f64) -> Self {
        Self {
            per_second,
            left: per_second,
            at: Duration::ZERO,
        }
    }

    fn takes(&mut self, now: Duration) -> bool {
        let since = now.saturating_sub(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + since * self.per_second).min(self.per_second);
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }
}

#[derive(Debug)]
struct Account {
    names: Vec<String>,
    looks: Limit,
    puts: Limit,
    /// Requests of S3 that were turned away.
    throttled: usize,
    /// Requests from now on that get no answer.
    silent: usize,
    /// Buckets on record as discovered, as begun, and as configured.
    recorded: BTreeSet<String>,
    begun: BTreeSet<String>,
    configured: BTreeSet<String>,
    /// Buckets with a configuration.
    put: BTreeSet<String>,
}

#[derive(Clone)]
struct Wire {
    clock: Clock,
    account: Arc<Mutex<Account>>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Wire")
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let wire = self.clone();
        HttpConnectorFuture::new(async move {
            let service = service_of(&request);
            let name = name_of(&service, &request);
            let latency = if service == "s3" {
                S3_LATENCY
            } else {
                DYNAMODB_LATENCY
            };
            wire.clock.wait(latency).await;
            let is_silent = {
                let mut account = lock(&wire.account);
                let left = account.silent.checked_sub(1);
                account.silent = left.unwrap_or_default();
                left.is_some()
            };
            if is_silent {
                std::future::pending::<()>().await;
            }
            let now = wire.clock.elapsed();
            let reply = lock(&wire.account).answer(&name, now);
            render(&service, reply)
        })
    }
}

impl Account {
    fn new(buckets: usize, looks: f64, puts: f64) -> Self {
        Self {
            names: (0..buckets)
                .map(|number| format!("bucket-{number:05}"))
                .collect(),
            looks: Limit::new(looks),
            puts: Limit::new(puts),
            throttled: 0,
            silent: 0,
            recorded: BTreeSet::new(),
            begun: BTreeSet::new(),
            configured: BTreeSet::new(),
            put: BTreeSet::new(),
        }
    }

    fn answer(&mut self, request: &str, now: Duration) -> Reply {
        let first_bucket = || {
            let at = request.find("bucket-").expect("it names a bucket");
            request[at..at + "bucket-00000".len()].to_owned()
        };
        if request.starts_with("AssumeRole") {
            return crate::support::credentials_of(request);
        }
        if request.contains("?max-buckets") {
            let page: Vec<_> = self
                .names
                .iter()
                .map(|name| (name.as_str(), Some("eu-west-1")))
                .collect();
            return discovery::bucket_page(&page, None);
        }
        if request.contains("?versions") {
            return if self.looks.takes(now) {
                versions(&["a"])
            } else {
                self.throttled += 1;
                error(503, "SlowDown")
            };
        }
        if request.starts_with("PUT@") {
            return if self.puts.takes(now) {
                self.put.insert(first_bucket());
                done()
            } else {
                self.throttled += 1;
                error(503, "SlowDown")
            };
        }
        if request == "GetItem run" {
            return item(&the_run());
        }
        if request.starts_with("Query destination#") {
            return items(&[crate::support::destination()]);
        }
        if request.starts_with("Query bucket#") {
            return items(&self.buckets());
        }
        if request.starts_with("PutItem bucket#") {
            self.recorded.insert(first_bucket());
        } else if request.starts_with("UpdateItem bucket#") {
            self.configured.insert(first_bucket());
        } else if request.starts_with("TransactWriteItems run ") {
            let parts = request.split(' ').skip(2);
            let begun = parts.filter_map(|part| part.rsplit('#').next());
            self.begun.extend(begun.map(str::to_owned));
        } else {
            let known = ["UpdateItem run", "PutItem account#111111111111"];
            assert!(known.contains(&request), "{request} is not expected");
        }
        done()
    }

    fn buckets(&self) -> Vec<SourceBucket> {
        self.recorded
            .iter()
            .map(|name| {
                if !self.begun.contains(name) {
                    return discovered(name);
                }
                let mut bucket = in_progress(name);
                bucket.configured = self.configured.contains(name);
                bucket
            })
            .collect()
    }
}

/// One account, and how long one call of a function took.
struct World {
    wire: Wire,
    platform: Arc<Platform>,
}

impl World {
    fn new(buckets: usize, looks: f64, puts: f64) -> Self {
        let clock = Clock::default();
        let wire = Wire {
            clock: clock.clone(),
            account: Arc::new(Mutex::new(Account::new(buckets, looks, puts))),
        };
        let http = wire.clone();
        let config = sdk_config()
            .retry_config(RetryConfig::standard().with_max_attempts(6))
            .time_source(SharedTimeSource::new(clock.clone()))
            .sleep_impl(SharedAsyncSleep::new(clock))
            .http_client(http_client_fn(move |_, _| {
                SharedHttpConnector::new(http.clone())
            }))
            .build();
        let platform = Arc::new(Platform {
            settings: settings(),
            clients: Clients::from_config(&config),
        });
        Self { wire, platform }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        lock(&self.wire.account)
    }

    /// Runs one call of a function, and fails if Lambda would have ended it.
    fn call<T>(&self, timeout: Duration, task: impl Future<Output = T>) -> T {
        let clock = &self.wire.clock;
        let began = clock.elapsed();
        let answer = clock.run(task);
        let took = clock.since(began);
        assert!(took < timeout, "it took {took:?}");
        answer
    }

    fn discover(&self) {
        let payload = input(discovery::discover_payload());
        let task = discover_buckets::handle(Arc::clone(&self.platform), payload);
        let answer = self.call(FUNCTION_TIMEOUT, task);
        let all = self.account().names.len();
        assert_eq!(answer.unwrap().source_buckets, all);
        let recorded = self.account().recorded.len();
        assert_eq!(recorded, all);
    }

    /// Calls until it says that it has finished; how often, and after how long.
    fn configure(&self) -> (usize, Duration) {
        let began = self.wire.clock.elapsed();
        for calls in 1..=20 {
            let payload = input(inventories::configure_payload());
            let task = configure_inventories::handle(Arc::clone(&self.platform), payload);
            if self.call(FUNCTION_TIMEOUT, task).unwrap().finished {
                let account = self.account();
                let all: BTreeSet<String> = account.names.iter().cloned().collect();
                assert_eq!(account.put, all);
                assert_eq!(account.configured, all);
                return (calls, self.wire.clock.since(began));
            }
        }
        panic!("it does not finish");
    }
}

#[test]
fn ten_thousand_buckets_are_discovered_and_configured_in_one_call_each() {
    let world = World::new(BUCKETS, 100.0, 25.0);
    world.discover();
    let (calls, took) = world.configure();
    assert_eq!(calls, 1, "{took:?}");
    let throttled = world.account().throttled;
    assert!(throttled > 0, "S3 turned nothing away");
    // Each of the 20,000 requests was needed; those turned away are few beside them.
    assert!(throttled < BUCKETS / 2, "{throttled} were turned away");
}

#[test]
fn what_is_left_when_time_is_up_is_configured_by_the_next_call() {
    let world = World::new(3_000, 100.0, 2.0);
    world.discover();
    let (calls, took) = world.configure();
    assert!((2..6).contains(&calls), "{calls} calls, {took:?}");
}

/// At one look a second, the ten minutes for them end before the buckets do.
#[test]
fn buckets_that_nobody_could_look_at_in_time_are_on_record_all_the_same() {
    let world = World::new(3_000, 1.0, 10.0);
    world.discover();
}

#[test]
fn a_connection_that_falls_silent_is_given_up_in_time_for_another_attempt() {
    let world = World::new(0, 1.0, 1.0);
    world.account().silent = 2;
    let payload = input(inventories::await_payload());
    let task = await_inventories::handle(Arc::clone(&world.platform), payload);
    world.call(SHORT_TIMEOUT, task).unwrap();
    let elapsed = world.wire.clock.elapsed();
    assert!(elapsed > Duration::from_secs(10), "nothing fell silent");
}
