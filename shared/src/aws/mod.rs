//! Every call to AWS, and nothing else. A function here is one request or one page loop with the
//! names of the domain; what the answers mean is decided elsewhere.

mod athena;
mod consolidated_upload;
mod delivered_file;
mod destination_stack;
mod events;
mod failure;
mod inventory_configuration;
mod mail;
mod objects;
mod queues;
mod regions;
mod run_table;
mod snapshot_table;
mod source_buckets;
mod state_machines;

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::retry::{RetryConfig, RetryMode};
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, SdkConfig};
use aws_sdk_s3::config::retry::RetryPartition;
use jiff::Timestamp;

pub use self::athena::{QueryProgress, QueryResults};
pub use self::consolidated_upload::ConsolidatedUpload;
pub use self::delivered_file::DeliveredFile;
pub use self::destination_stack::{FoundStack, StackState};
pub use self::failure::{AwsError, Class};
pub use self::inventory_configuration::Delivery;
pub use self::mail::Mail;
pub use self::objects::{Emptied, Objects};
pub use self::run_table::{FileContent, FileCount, Opened, ReportClaim, RunTable};
pub use self::snapshot_table::Partition;
pub use self::source_buckets::{FoundBucket, SourceAccount};
pub use self::state_machines::{Execution, HistoryEntry};

use crate::ids::{AccountId, Region};
use crate::settings::Settings;

/// Attempts of the SDK for one request, with its exponential backoff and jitter between them.
const ATTEMPTS: u32 = 6;

/// Time for a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for one attempt, so that a connection that fell silent is given up: short enough for a second
/// one in a function of a minute.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
/// The same for S3 where files are read, written and copied: a copy of 5 GiB takes its time.
const FILE_ATTEMPT_TIMEOUT: Duration = Duration::from_mins(2);

/// Clients of the host account, and on demand those of other Regions and accounts. Built once per
/// process and kept.
#[derive(Debug)]
pub struct Clients {
    /// Configuration of the process itself: its credentials and Region.
    config: SdkConfig,
    dynamodb: aws_sdk_dynamodb::Client,
    sfn: aws_sdk_sfn::Client,
    sqs: aws_sdk_sqs::Client,
    athena: aws_sdk_athena::Client,
    glue: aws_sdk_glue::Client,
    ses: aws_sdk_sesv2::Client,
    account: aws_sdk_account::Client,
    events: aws_sdk_eventbridge::Client,
    s3: Mutex<HashMap<(Option<AccountId>, Region), aws_sdk_s3::Client>>,
    member_configs: Mutex<HashMap<AccountId, SdkConfig>>,
}

impl Clients {
    /// Clients from the ordinary AWS environment of the process.
    pub async fn from_environment() -> Self {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .app_name(AppName::new("s3insights").expect("the name keeps the rules"))
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .load()
            .await;
        Self::from_config(&config)
    }

    /// Clients from a given configuration, with our timeouts.
    pub fn from_config(config: &SdkConfig) -> Self {
        let config = config
            .to_builder()
            .timeout_config(timeouts(ATTEMPT_TIMEOUT))
            .build();
        Self {
            dynamodb: aws_sdk_dynamodb::Client::new(&config),
            sfn: aws_sdk_sfn::Client::new(&config),
            sqs: aws_sdk_sqs::Client::new(&config),
            athena: aws_sdk_athena::Client::new(&config),
            glue: aws_sdk_glue::Client::new(&config),
            ses: aws_sdk_sesv2::Client::new(&config),
            account: aws_sdk_account::Client::new(&config),
            events: aws_sdk_eventbridge::Client::new(&config),
            s3: Mutex::default(),
            member_configs: Mutex::default(),
            config,
        }
    }

    /// The Region of the process; in a function, the host Region.
    pub fn region(&self) -> Region {
        self.config
            .region()
            .and_then(|region| Region::try_from(region.as_ref()).ok())
            .expect("Lambda sets AWS_REGION and the command line checks for it")
    }

    /// The time. Tasks ask for it here, so that it comes from outside as everything else does.
    pub fn now(&self) -> Timestamp {
        let clock = self.config.time_source();
        let now = clock.map_or_else(SystemTime::now, |clock| clock.now());
        Timestamp::try_from(now).expect("the clock shows a year that a date can have")
    }

    /// Prints lines of metrics into the log of the process, where CloudWatch finds them.
    pub fn print_metrics(&self, lines: &[String]) {
        let mut lines = lines.join("\n");
        lines.push('\n');
        // In one piece, between the other lines. Where nobody reads them, nobody needs them.
        let _ = std::io::stdout().write_all(lines.as_bytes());
    }

    /// Whether the process has been told its Region.
    pub fn has_region(&self) -> bool {
        self.config
            .region()
            .is_some_and(|region| Region::try_from(region.as_ref()).is_ok())
    }

    /// The run table by its name.
    pub fn run_table<'a>(&'a self, name: &'a str) -> RunTable<'a> {
        RunTable::new(&self.dynamodb, name)
    }

    /// S3 of the host account in one Region.
    fn s3(&self, region: &Region) -> aws_sdk_s3::Client {
        self.cached_s3(None, region, || self.config.clone())
    }

    /// S3 of a source account in one Region, through the member role. The credentials are fetched
    /// with the first request and renewed by the SDK.
    async fn member_s3(
        &self,
        settings: &Settings,
        account: &AccountId,
        region: &Region,
    ) -> aws_sdk_s3::Client {
        let known = lock(&self.member_configs).get(account).cloned();
        let config = if let Some(config) = known {
            config
        } else {
            let made = self.member_config(settings, account).await;
            lock(&self.member_configs)
                .entry(account.clone())
                .or_insert(made)
                .clone()
        };
        self.cached_s3(Some(account), region, || config)
    }

    fn cached_s3(
        &self,
        account: Option<&AccountId>,
        region: &Region,
        config: impl FnOnce() -> SdkConfig,
    ) -> aws_sdk_s3::Client {
        lock(&self.s3)
            .entry((account.cloned(), region.clone()))
            .or_insert_with(|| {
                let config = config();
                let mut s3 = aws_sdk_s3::config::Builder::from(&config)
                    .region(aws_sdk_s3::config::Region::new(region.to_string()))
                    // An overridden endpoint is one host for all buckets.
                    .force_path_style(config.endpoint_url().is_some());
                if let Some(account) = account {
                    // How many requests S3 takes for the configurations of an account's buckets is
                    // not known: the client learns it from being throttled, each for its own.
                    let retry = config.retry_config().cloned();
                    let retry = retry.unwrap_or_else(RetryConfig::standard);
                    s3 = s3
                        .retry_config(retry.with_retry_mode(RetryMode::Adaptive))
                        .retry_partition(
                            RetryPartition::custom(format!("{account} {region}")).build(),
                        );
                } else {
                    s3 = s3.timeout_config(timeouts(FILE_ATTEMPT_TIMEOUT));
                }
                aws_sdk_s3::Client::from_conf(s3.build())
            })
            .clone()
    }

    async fn member_config(&self, settings: &Settings, account: &AccountId) -> SdkConfig {
        let role = format!(
            "arn:{}:iam::{account}:role/{}",
            partition(&self.region()),
            settings.member_role
        );
        let mut provider = AssumeRoleProvider::builder(role)
            .session_name(format!("s3insights-{}", settings.deployment))
            .configure(&self.config);
        if let Some(external_id) = &settings.external_id {
            provider = provider.external_id(external_id);
        }
        self.config
            .to_builder()
            .credentials_provider(
                aws_credential_types::provider::SharedCredentialsProvider::new(
                    provider.build().await,
                ),
            )
            .build()
    }

    fn cloudformation(&self, region: &Region) -> aws_sdk_cloudformation::Client {
        let config = aws_sdk_cloudformation::config::Builder::from(&self.config)
            .region(aws_sdk_cloudformation::config::Region::new(
                region.to_string(),
            ))
            .build();
        aws_sdk_cloudformation::Client::from_conf(config)
    }
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(attempt)
        .build()
}

/// The AWS partition a Region belongs to.
fn partition(region: &Region) -> &'static str {
    match region.as_str() {
        code if code.starts_with("cn-") => "aws-cn",
        code if code.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
