//! The platform in the embedded AWS, one for all tests of a binary.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use local_aws::estate::{self, Estate};
use local_aws::{LocalAws, Mail, StartOptions};
use serde_json::{Value, json};
use shared::aws::{Clients, Execution};
use shared::ids::RunId;
use shared::run::{Run, RunParts, SourceBucket};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// Deployment name of the platform under test.
pub const DEPLOYMENT: &str = "insights";
/// External id that the platform presents to every account.
pub const EXTERNAL_ID: &str = "acme-s3insights";

/// Buckets that the platform may take existing reports from, one for each test that does.
pub const EXISTING_REPORTS: [&str; 6] = [
    "existing-reports",
    "broken-reports",
    "formats-reports",
    "large-reports",
    "damaged-reports",
    "lacking-reports",
];

/// How long an execution may take before a test gives up on it: far more than any needs, so that
/// only a hang reaches it.
const PATIENCE: Duration = Duration::from_mins(8);

/// Sender of every summary that [`Platform::input`] asks for.
const SENDER: &str = "s3insights@example.com";
/// Its recipient.
const RECIPIENT: &str = "security@example.com";

/// One runtime for all tests: what one test started must outlive it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime starts"));
static PLATFORM: OnceCell<Platform> = OnceCell::const_new();

/// Runs a test against the shared platform.
pub fn test<F>(body: impl FnOnce(&'static Platform) -> F)
where
    F: Future<Output = Result<()>>,
{
    let result = RUNTIME.block_on(async {
        let platform = PLATFORM.get_or_try_init(Platform::start).await?;
        body(platform).await
    });
    if let Err(error) = result {
        panic!("{error:?}");
    }
}

/// The platform, deployed and running.
#[derive(Debug)]
pub struct Platform {
    /// The embedded AWS.
    pub aws: LocalAws,
    /// Outputs of the platform's stack.
    pub outputs: BTreeMap<String, String>,
    /// Clients of the host account's root.
    pub clients: Clients,
    /// How long anything is waited for.
    pub patience: Duration,
}

/// An execution of the Harvester that has ended, with the record of its run.
#[derive(Debug)]
pub struct Ended {
    /// The execution.
    pub execution: Execution,
    /// The run.
    pub run: Run,
    /// Its parts.
    pub parts: RunParts,
}

impl Platform {
    /// Starts an embedded AWS with the platform in it, which ends with the value or the process.
    pub async fn start() -> Result<Self> {
        let repository = repository();
        let folder = repository.join("target/whole-runs");
        remove_ended(&folder);
        let root = folder.join(std::process::id().to_string());
        let aws = LocalAws::start(StartOptions::new(&root), |step| eprintln!("{step}")).await?;
        let reports = EXISTING_REPORTS.map(|bucket| format!("arn:aws:s3:::{bucket}"));
        let parameters = BTreeMap::from([
            ("ExternalId".to_owned(), EXTERNAL_ID.to_owned()),
            ("ExistingInventoryBucketArns".to_owned(), reports.join(",")),
        ]);
        let outputs = aws
            .deploy(DEPLOYMENT, &repository, &binaries()?, &parameters)
            .await?;
        let addresses = [SENDER, RECIPIENT].map(str::to_owned);
        aws.verify_email_addresses(&aws.host_account_id, &addresses)
            .await?;
        let clients = Clients::from_config(&aws.sdk_config(&aws.host_account_id, &aws.region));
        Ok(Self {
            aws,
            outputs,
            clients,
            patience: PATIENCE,
        })
    }

    /// An output of the platform's stack.
    pub fn output(&self, name: &str) -> &str {
        self.outputs
            .get(name)
            .map(String::as_str)
            .unwrap_or_default()
    }

    /// Makes an estate: its member accounts and buckets. The host account stands for `host`.
    pub async fn build(&self, yaml: &str) -> Result<Estate> {
        let estate = Estate::parse(yaml)?.in_host_account(&self.aws.host_account_id);
        for account in &estate.accounts {
            if account.member && account.id != self.aws.host_account_id {
                self.add_member(&account.id, account.external_id.as_deref())
                    .await?;
            }
        }
        estate::build(&self.aws, &estate, |_| ()).await?;
        Ok(estate)
    }

    /// Deploys the template of member accounts in an account.
    pub async fn add_member(&self, account: &str, external_id: Option<&str>) -> Result<()> {
        self.aws
            .add_member(account, DEPLOYMENT, external_id, &repository())
            .await?;
        Ok(())
    }

    /// S3 as the root of an account.
    pub fn s3(&self, account: &str, region: &str) -> aws_sdk_s3::Client {
        aws_sdk_s3::Client::new(&self.aws.sdk_config(account, region))
    }

    /// Starts the Harvester as the console does: no name, the input as it is. Gives the execution.
    pub async fn start_harvester(&self, input: &Value) -> Result<String> {
        Ok(self
            .clients
            .start_execution(self.output("HarvesterStateMachineArn"), input)
            .await?)
    }

    /// Runs Cleanup to its end, which has to be a good one.
    pub async fn clean_up(&self, input: &Value) -> Result<()> {
        let machine = self.output("CleanupStateMachineArn");
        let execution = self.clients.start_execution(machine, input).await?;
        let ended = self.ended(&execution).await?;
        ensure!(ended.status == "SUCCEEDED", "Cleanup ended as {ended:#?}");
        Ok(())
    }

    /// Runs the Harvester to its end, whatever that is.
    pub async fn harvest(&self, input: &Value) -> Result<Ended> {
        let execution = self.start_harvester(input).await?;
        self.finish(&execution).await
    }

    /// Waits for a Harvester execution and reads its run.
    pub async fn finish(&self, execution: &str) -> Result<Ended> {
        let execution = self.ended(execution).await?;
        let run = self
            .run_of(&execution.arn)
            .await?
            .with_context(|| format!("no run of {} is on record: {execution:#?}", execution.arn))?;
        let parts = self.parts(&run.run_id).await?;
        Ok(Ended {
            execution,
            run,
            parts,
        })
    }

    /// Waits until an execution has ended.
    pub async fn ended(&self, execution: &str) -> Result<Execution> {
        let mut last = None;
        self.eventually(&format!("the end of {execution}"), async || {
            let now = match self.clients.execution(execution).await {
                // The machine has more to do than it can.
                Err(error) if error.is_passing() => return Ok(false),
                now => now?,
            };
            let running = now.is_running();
            last = Some(now);
            Ok(!running)
        })
        .await?;
        last.context("the execution was described")
    }

    /// Stops an execution as the console does. One that has just ended stays as it is.
    pub async fn stop(&self, execution: &str) -> Result<()> {
        let config = self
            .aws
            .sdk_config(&self.aws.host_account_id, &self.aws.region);
        let stopped = aws_sdk_sfn::Client::new(&config)
            .stop_execution()
            .execution_arn(execution)
            .cause("stopped by hand")
            .send()
            .await;
        if stopped.is_err() && !self.clients.execution(execution).await?.is_running() {
            return Ok(());
        }
        stopped?;
        Ok(())
    }

    /// Waits until a condition holds.
    pub async fn eventually(
        &self,
        what: &str,
        mut condition: impl AsyncFnMut() -> Result<bool>,
    ) -> Result<()> {
        let started = Instant::now();
        loop {
            if condition().await? {
                return Ok(());
            }
            if started.elapsed() > self.patience {
                bail!("waited in vain for {what}");
            }
            // Between two looks at something that tells nobody when it changes.
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// The run that an execution opened.
    pub async fn run_of(&self, execution: &str) -> Result<Option<Run>> {
        let runs = self
            .clients
            .run_table(self.output("RunTableName"))
            .runs()
            .await?;
        Ok(runs.into_iter().find(|run| run.execution_arn == execution))
    }

    /// All that is on record of a run but its files.
    pub async fn parts(&self, run_id: &RunId) -> Result<RunParts> {
        Ok(self
            .clients
            .run_table(self.output("RunTableName"))
            .parts(run_id)
            .await?)
    }

    /// Waits until a source bucket of a run that is going on is as it should be.
    pub async fn bucket_is(
        &self,
        run_id: &str,
        bucket: &str,
        condition: impl Fn(&SourceBucket) -> bool,
    ) -> Result<SourceBucket> {
        let run_id = RunId::try_from(run_id)?;
        let mut last = None;
        self.eventually(&format!("bucket {bucket} of run {run_id}"), async || {
            let buckets = self
                .clients
                .run_table(self.output("RunTableName"))
                .buckets(&run_id)
                .await?;
            last = buckets
                .into_iter()
                .find(|found| found.bucket.as_str() == bucket);
            Ok(last.as_ref().is_some_and(&condition))
        })
        .await?;
        last.context("the bucket is on record")
    }

    /// The mails that tell of a run.
    pub async fn mails_of(&self, run_id: &str) -> Result<Vec<Mail>> {
        let mut mails = self.aws.mails(&self.aws.host_account_id).await?;
        mails.retain(|mail| {
            mail.subject
                .starts_with(&format!("S3Insights run {run_id}:"))
        });
        Ok(mails)
    }

    /// The one mail that tells of a run.
    pub async fn mail_of(&self, run_id: &str) -> Result<Mail> {
        let mut mails = self.mails_of(run_id).await?;
        ensure!(mails.len() == 1, "one mail about {run_id}, not {mails:#?}");
        mails.pop().context("there is one")
    }

    /// A run input over some accounts with the fields that have no default.
    pub fn input(&self, accounts: &[&str]) -> Value {
        let accounts: Vec<Value> = accounts.iter().map(|id| json!({ "id": id })).collect();
        json!({
            "accounts": accounts,
            "sender_email_address": SENDER,
            "recipient_email_addresses": [RECIPIENT],
        })
    }
}

impl Ended {
    /// A source bucket of the run.
    ///
    /// # Panics
    /// When the run has no such bucket.
    #[track_caller]
    pub fn bucket(&self, name: &str) -> &SourceBucket {
        let mut buckets = self.parts.buckets.iter();
        buckets
            .find(|bucket| bucket.bucket.as_str() == name)
            .unwrap_or_else(|| panic!("run {} has no bucket {name}", self.run.run_id))
    }

    /// Where a bucket stands; `left_out` when the input leaves it out, `None` when the run does not
    /// know it.
    pub fn status(&self, bucket: &str) -> Option<&'static str> {
        let found = self
            .parts
            .buckets
            .iter()
            .find(|found| found.bucket.as_str() == bucket);
        let left_out = || {
            self.parts
                .left_out
                .iter()
                .any(|left| left.bucket.as_str() == bucket)
        };
        found
            .map(|found| found.status.name())
            .or_else(|| left_out().then_some("left_out"))
    }
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is in a folder")
        .to_owned()
}

/// Removes what earlier processes left, logs and unpacked functions: nothing ends a static, so no
/// process does it for itself. One that still runs holds its lock.
fn remove_ended(folder: &Path) {
    let roots = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for root in roots.map(|root| root.path()) {
        let lock = std::fs::File::open(root.join("lock"));
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            // What cannot be removed is in nobody's way.
            let _ = std::fs::remove_dir_all(root);
        }
    }
}

/// The folder of the functions' binaries, beside the test binary's own.
pub(crate) fn binaries() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    // Programs are beside the functions, test binaries in `deps`.
    let folder = own
        .ancestors()
        .skip(1)
        .take(2)
        .find(|folder| folder.join("initialize").is_file())
        .context(
            "the functions are not built: run `cargo test --workspace` or `cargo build --workspace`",
        )?;
    if let Some(newer) = newer_source(&folder.join("initialize")) {
        // Past the capture of the tests' output, which shows nothing of tests that pass.
        let _ = writeln!(
            std::io::stderr(),
            "the functions are older than {newer}, which one test target alone does not build: \
             run `cargo build --workspace`"
        );
    }
    Ok(folder.to_owned())
}

/// A source that was changed since a binary was built from it, by the list that Cargo keeps beside
/// the binary.
fn newer_source(binary: &Path) -> Option<String> {
    let built = binary.metadata().ok()?.modified().ok()?;
    let list = std::fs::read_to_string(binary.with_extension("d")).ok()?;
    let (_, sources) = list.split_once(": ")?;
    let is_newer = |source: &&str| {
        let changed = Path::new(source)
            .metadata()
            .and_then(|file| file.modified());
        changed.is_ok_and(|changed| changed > built)
    };
    sources.split_whitespace().find(is_newer).map(str::to_owned)
}
