//! `local harvest`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use local_aws::LocalAws;
use local_aws::estate::{self, Estate};
use serde::Serialize;
use serde_json::Value;
use shared::aws::HistoryEntry;
use shared::run::{LeftOut, RunParts, SourceBucket};

use super::{DEPLOYMENT, functions, host, repository};
use crate::arguments::InputSource;
use crate::exit::Exit;
use crate::platform::Platform;
use crate::progress::Display;
use crate::run::{self, RunStatus, interruptible, watch};
use crate::{output, report, run_input};

/// What is to be made and run.
#[derive(Debug)]
pub(super) struct Plan {
    estate: Estate,
    /// The user's own input, in place of the estate's.
    input: Option<Value>,
}

impl Plan {
    /// Reads the files, before anything is started.
    pub(super) fn new(estate: Option<&Path>, input: Option<&InputSource>) -> Result<Self> {
        let estate = match estate {
            Some(path) => Estate::read(path)
                .map_err(|error| crate::trouble::Trouble::misuse(format!("{error:#}")))?,
            None => Estate::built_in()?,
        };
        Ok(Self {
            estate,
            input: input.map(run_input::read).transpose()?,
        })
    }

    fn input(&self, aws: &LocalAws) -> Value {
        self.input
            .clone()
            .unwrap_or_else(|| self.estate.run_input(&aws.host_account_id))
    }
}

/// What a harvest showed.
#[derive(Debug, Serialize)]
struct Harvest {
    run: RunStatus,
    /// Whether every bucket ended as the estate expects; absent when the estate expects nothing.
    as_expected: Option<bool>,
    /// The buckets with what the estate expects of them.
    buckets: Vec<Compared>,
    /// What took how long.
    seconds: Vec<Span>,
    /// The report page, kept in the folder of the embedded AWS.
    report: PathBuf,
}

/// A bucket as expected and as found.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Compared {
    bucket: String,
    expected: &'static str,
    /// Its inventory status, `left_out`, or `unknown` when the run knows nothing of it.
    found: &'static str,
}

/// A part of the harvest, or a state of the run, and its time.
#[derive(Debug, PartialEq, Serialize)]
struct Span {
    what: String,
    seconds: f64,
}

pub(super) async fn run(root: &Path, plan: &Plan, keep: bool, json: bool) -> Result<Exit> {
    let was_up = LocalAws::attach(root).await?;
    let is_up = was_up.is_some();
    let serve = host::serve_command(root)?;
    let mut spans = Spans::default();
    let left = || {
        if is_up || keep {
            "interrupted; `s3insights local down` ends the embedded AWS".to_owned()
        } else {
            "interrupted; the embedded AWS is being ended".to_owned()
        }
    };
    let work = Box::pin(async {
        let functions = spans
            .time("build the functions", functions::build())
            .await?;
        let aws = {
            let display = Display::new(Duration::ZERO);
            let start = async {
                match (was_up, keep) {
                    (Some(aws), _) => Ok(aws),
                    (None, true) => host::start_to_stay(root, &serve, &display).await,
                    (None, false) => host::start(root, &display).await,
                }
            };
            let aws = spans.time("start the embedded AWS", start).await?;
            let prepare = Box::pin(prepare(&aws, plan, &functions, &display));
            spans
                .time("deploy the platform, make the estate", prepare)
                .await?;
            aws
        };
        let harvest = harvest(&aws, plan, spans, root).await;
        if !is_up && !keep {
            // Said to the end of it, and not left to the end of this process.
            aws.stop().await?;
        }
        let Some(harvest) = harvest? else {
            return Ok(Exit::Failed);
        };
        harvest.print(json)?;
        Ok(harvest.exit())
    });
    interruptible(work, left).await
}

/// Deploys the platform and the member roles, and makes the buckets meanwhile.
async fn prepare(aws: &LocalAws, plan: &Plan, functions: &Path, display: &Display) -> Result<()> {
    let estate = plan.estate.clone().in_host_account(&aws.host_account_id);
    let external_id = estate.external_id()?;
    let deploy = async {
        display.show("deploying the platform");
        host::deploy(aws, functions, external_id).await?;
        let is_member =
            |account: &&estate::Account| account.member && account.id != aws.host_account_id;
        for account in estate.accounts.iter().filter(is_member) {
            display.show(&format!("deploying the member role in {}", account.id));
            aws.add_member(
                &account.id,
                DEPLOYMENT,
                account.external_id.as_deref(),
                repository(),
            )
            .await
            .with_context(|| format!("making {} a member", account.id))?;
        }
        Ok(())
    };
    let make = async {
        let built = estate::build(aws, &estate, |step| display.show(step)).await;
        built.context("making the estate")
    };
    tokio::try_join!(deploy, make)?;
    let addresses = addresses(&plan.input(aws));
    aws.verify_email_addresses(&aws.host_account_id, &addresses)
        .await
}

/// Sender and recipients of a run input, as far as they are texts.
fn addresses(input: &Value) -> Vec<String> {
    let recipients = input["recipient_email_addresses"]
        .as_array()
        .into_iter()
        .flatten();
    std::iter::once(&input["sender_email_address"])
        .chain(recipients)
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect()
}

/// Runs the Harvester; `None` when it refused the input, which has been told.
async fn harvest(
    aws: &LocalAws,
    plan: &Plan,
    mut spans: Spans,
    root: &Path,
) -> Result<Option<Harvest>> {
    let platform = host::platform(aws).await?;
    let began = Instant::now();
    let machine = &platform.harvester;
    let execution_arn = platform
        .clients
        .start_execution(machine, &plan.input(aws))
        .await?;
    let started = run::start(&platform, &execution_arn).await?;
    let Some(run_id) = &started.run_id else {
        crate::trouble::report(&started.refusal().into());
        return Ok(None);
    };
    output::note(&format!("run {run_id} has started"));
    watch::watch(&platform, run_id, &execution_arn).await?;
    spans.add("run", began.elapsed());
    let status = RunStatus::load(&platform, run_id).await?;
    spans.add_states(&states(&platform, &status).await?, status.ended_at);
    let file = root.join("reports").join(format!("{run_id}.html"));
    report::write(&file, &report::page(&platform, run_id).await?)?;
    let parts = platform.runs().parts(run_id).await?;
    let buckets = if plan.input.is_some() || status.summary.is_smoke_test {
        Vec::new()
    } else {
        compare(&plan.estate, &parts)
    };
    Ok(Some(Harvest {
        as_expected: (!buckets.is_empty()).then(|| buckets.iter().all(Compared::is_as_expected)),
        run: status,
        buckets,
        seconds: spans.0,
        report: file,
    }))
}

async fn states(platform: &Platform, status: &RunStatus) -> Result<Vec<HistoryEntry>> {
    Ok(platform
        .clients
        .entered_states(&status.execution_arn)
        .await?)
}

/// Every bucket of the estate with what is expected of it and what the run made of it.
fn compare(estate: &Estate, parts: &RunParts) -> Vec<Compared> {
    let found: BTreeMap<&str, &'static str> = parts
        .left_out
        .iter()
        .map(|LeftOut { bucket, .. }| (bucket.as_str(), "left_out"))
        .chain(
            parts
                .buckets
                .iter()
                .map(|SourceBucket { bucket, status, .. }| (bucket.as_str(), status.name())),
        )
        .collect();
    estate
        .buckets()
        .map(|(_, bucket)| Compared {
            bucket: bucket.name.clone(),
            expected: bucket.expectation().as_str(),
            found: found
                .get(bucket.name.as_str())
                .copied()
                .unwrap_or("unknown"),
        })
        .collect()
}

impl Compared {
    fn is_as_expected(&self) -> bool {
        self.expected == self.found
    }
}

impl Harvest {
    /// An estate that expects refusals is content with a partial run, never with a failed one.
    fn exit(&self) -> Exit {
        match (self.run.exit(), self.as_expected) {
            (Exit::Done | Exit::Partial, Some(true)) => Exit::Done,
            (Exit::Done | Exit::Partial, Some(false)) => Exit::Failed,
            (exit, _) => exit,
        }
    }

    fn print(&self, json: bool) -> Result<()> {
        if json {
            output::json(self)?;
        } else {
            self.run.print(false)?;
            output::note(&spans_text(&self.seconds));
        }
        if self.as_expected.is_some() {
            output::note(&verdict(&self.buckets));
        }
        output::note(&format!("report page: {}", self.report.display()));
        Ok(())
    }
}

/// Whether the buckets ended as expected, and which did not.
fn verdict(buckets: &[Compared]) -> String {
    let others: Vec<&Compared> = buckets
        .iter()
        .filter(|bucket| !bucket.is_as_expected())
        .collect();
    if others.is_empty() {
        return format!("all {} buckets ended as the estate expects", buckets.len());
    }
    let mut text = format!(
        "error: {} of {} buckets did not end as the estate expects",
        others.len(),
        buckets.len()
    );
    for Compared {
        bucket,
        expected,
        found,
    } in others
    {
        write!(text, "\n  {bucket}: expected {expected}, found {found}")
            .expect("text takes any text");
    }
    text
}

fn spans_text(spans: &[Span]) -> String {
    let row = |span: &Span| {
        vec![
            format!("  {}", span.what),
            format!("{:>7.1} s", span.seconds),
        ]
    };
    // Choices take no time worth a line.
    let long = spans.iter().filter(|span| span.seconds >= 0.05);
    format!(
        "time taken\n{}",
        output::table(&long.map(row).collect::<Vec<_>>()).trim_end()
    )
}

/// What took how long.
#[derive(Debug, Default)]
struct Spans(Vec<Span>);

impl Spans {
    async fn time<T>(&mut self, what: &str, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let done = work.await;
        self.add(what, began.elapsed());
        done
    }

    fn add(&mut self, what: &str, time: Duration) {
        self.0.push(Span {
            what: what.to_owned(),
            seconds: time.as_secs_f64(),
        });
    }

    /// Adds the time between one state of the run and the next, summed where a state is entered
    /// more than once.
    fn add_states(&mut self, states: &[HistoryEntry], ended_at: Option<jiff::Timestamp>) {
        let first = self.0.len();
        let ends = states
            .iter()
            .skip(1)
            .map(|entry| entry.entered_at)
            .chain([ended_at]);
        for (entry, end) in states.iter().zip(ends) {
            let (Some(began), Some(end)) = (entry.entered_at, end) else {
                continue;
            };
            let what = format!("  {}", entry.state);
            let seconds = end.duration_since(began).as_secs_f64();
            match self.0[first..].iter_mut().find(|span| span.what == what) {
                Some(span) => span.seconds += seconds,
                None => self.0.push(Span { what, seconds }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::status::InventoryStatus;

    use super::*;

    const ESTATE: &str = "accounts:
- id: host
  buckets:
  - {name: full, objects: [{key: a}]}
  - {name: empty}
  - {name: refused, expect: inventory_configuration_not_created, objects: [{key: a}]}
  - {name: skipped, expect: left_out}
";

    fn parts() -> RunParts {
        let bucket = |name: &str, status| {
            let mut bucket = SourceBucket::discovered(
                "111111111111".parse().unwrap(),
                name.parse().unwrap(),
                "us-east-1".parse().unwrap(),
            );
            bucket.status = status;
            bucket
        };
        RunParts {
            buckets: vec![
                bucket("full", InventoryStatus::Done),
                bucket("empty", InventoryStatus::BucketIsEmpty),
                bucket("refused", InventoryStatus::InventoryConfigurationNotCreated),
            ],
            left_out: vec![LeftOut {
                account: "111111111111".parse().unwrap(),
                bucket: "skipped".parse().unwrap(),
                region: None,
                because: String::new(),
            }],
            ..RunParts::default()
        }
    }

    #[test]
    fn a_run_is_compared_with_what_the_estate_expects() {
        let estate = Estate::parse(ESTATE).unwrap();
        let mut parts = parts();
        let compared = compare(&estate, &parts);
        assert!(
            compared.iter().all(Compared::is_as_expected),
            "{compared:?}"
        );
        assert_eq!(
            verdict(&compared),
            "all 4 buckets ended as the estate expects"
        );

        parts.buckets[0].status = InventoryStatus::InProgress;
        parts.left_out.clear();
        assert_eq!(
            verdict(&compare(&estate, &parts)),
            "error: 2 of 4 buckets did not end as the estate expects\n  \
             full: expected done, found in_progress\n  skipped: expected left_out, found unknown"
        );
    }

    #[test]
    fn addresses_are_taken_from_any_input() {
        let input = json!({
            "sender_email_address": "a@example.com",
            "recipient_email_addresses": ["b@example.com", 7]
        });
        assert_eq!(addresses(&input), ["a@example.com", "b@example.com"]);
        assert_eq!(addresses(&json!([])), Vec::<String>::new());
    }

    #[test]
    fn the_time_of_a_state_lasts_until_the_next_one() {
        let entry = |state: &str, second: i64| HistoryEntry {
            state: state.into(),
            entered_at: Some(jiff::Timestamp::from_second(second).unwrap()),
        };
        let states = [
            entry("Look", 10),
            entry("Wait", 12),
            entry("Look", 17),
            entry("End", 18),
        ];
        let mut spans = Spans::default();
        spans.add("run", Duration::from_secs(9));
        spans.add_states(&states, Some(jiff::Timestamp::from_second(18).unwrap()));
        let seconds: Vec<(&str, f64)> = spans
            .0
            .iter()
            .map(|span| (span.what.as_str(), span.seconds))
            .collect();
        assert_eq!(
            seconds,
            [
                ("run", 9.0),
                ("  Look", 3.0),
                ("  Wait", 5.0),
                ("  End", 0.0)
            ]
        );
        assert!(spans_text(&spans.0).starts_with("time taken\n  run         9.0 s\n    Look"));
    }

    #[test]
    fn files_that_cannot_be_used_are_refused_before_anything_starts() {
        let error = Plan::new(Some(Path::new("no/such.yaml")), None).unwrap_err();
        assert!(error.to_string().contains("no/such.yaml"), "{error}");
        let input = InputSource::File("no/such.json".into());
        assert!(Plan::new(None, Some(&input)).is_err());
        Plan::new(None, None).unwrap();
    }
}
