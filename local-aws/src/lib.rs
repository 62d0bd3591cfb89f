//! The embedded AWS: everything `s3insights local` and the tests run on, on one machine, without
//! Docker and without an AWS account.
//!
//! It is MiniStack (in a virtual environment made on first use) with an S3 Inventory service of
//! our own in front of its S3. [`LocalAws::start`] gives one that ends with the value,
//! [`LocalAws::start_detached`] one that stays, to be found again with [`LocalAws::attach`].
//! [`LocalAws::deploy`] puts the platform into it, [`estate`] makes accounts full of buckets, and
//! [`inventory`] is the service with its faults on purpose.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use local_aws::{LocalAws, StartOptions};
//! let aws = LocalAws::start(StartOptions::new("target/local"), |step| eprintln!("{step}")).await?;
//! let s3 = aws_sdk_s3::Client::new(&aws.sdk_config("222222222222", "eu-west-1"));
//! s3.list_buckets().send().await?;
//! aws.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Embedded accounts need no set-up: an access key of 12 digits is the root of that account, the
//! secret is always [`SECRET_ACCESS_KEY`].

use std::{
    ffi::OsString,
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use serde::{Deserialize, Serialize};

mod deploy;
pub mod estate;
mod gate;
mod http_client;
mod http_server;
pub mod inventory;
mod mail;
mod ministack;
mod package;
mod python;

pub use deploy::StackSource;
pub use gate::{FaultKind, FaultPlan, FaultRule, MachineFaults, NotificationFaults};
pub use mail::Mail;

/// The host account unless [`StartOptions::host_account_id`] says otherwise.
pub const HOST_ACCOUNT_ID: &str = "111111111111";
/// The host Region.
pub const REGION: &str = "us-east-1";
/// Secret access key of every account's root.
pub const SECRET_ACCESS_KEY: &str = "test";

/// How an embedded AWS is started.
#[derive(Clone, Debug)]
pub struct StartOptions {
    /// Folder for state, logs and temporary files; made when absent. One embedded AWS per folder.
    pub root: PathBuf,
    /// Folder that keeps the virtual environment between starts and shares it between roots.
    pub python_folder: PathBuf,
    /// Port of MiniStack; a free one when absent.
    pub port: Option<u16>,
    /// Port of the S3 endpoint; a free one when absent.
    pub s3_port: Option<u16>,
    /// The account the platform is deployed in.
    pub host_account_id: String,
    /// Factor on `Wait` states and retry intervals of state machines. It does not change
    /// `TimeoutSeconds`, so a callback's timeout passes in real time.
    pub wait_scale: f64,
    /// Factor on the time until a message of SQS that was received is received again: the visibility
    /// timeouts of queues, and those that functions set.
    pub redelivery_scale: f64,
    /// Time from an accepted inventory configuration to its report.
    pub report_delay: Duration,
}

impl StartOptions {
    /// Free ports, the shared virtual environment of this repository, waits at a twentieth.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        // A binary that was moved away from its repository keeps everything under the root.
        let python_folder = shared_python_folder().unwrap_or_else(|| root.clone());
        Self {
            root,
            python_folder,
            port: None,
            s3_port: None,
            host_account_id: HOST_ACCOUNT_ID.to_owned(),
            wait_scale: 0.05,
            redelivery_scale: 1.0,
            report_delay: Duration::from_secs(1),
        }
    }
}

/// Folder of the virtual environment of this repository; `None` where there is no repository.
fn shared_python_folder() -> Option<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    repository.is_dir().then(|| repository.join(".local"))
}

/// The Python of the virtual environment of this repository, which is made when absent: with what
/// the embedded AWS answers queries with, DuckDB, and with sqlglot.
pub fn python(progress: impl Fn(&str)) -> Result<PathBuf> {
    let folder = shared_python_folder().context("the repository is not where it was")?;
    python::ensure(&folder, &progress)
}

/// What is written down about a detached embedded AWS, in `state.json` under its root.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// Address for every service; S3 has its own.
    pub endpoint_url: String,
    /// Address of S3 with the Inventory service.
    pub s3_endpoint_url: String,
    /// Address of the gate in front of all services, which functions use.
    pub gate_url: String,
    /// The host Region.
    pub region: String,
    /// The host account.
    pub host_account_id: String,
    /// Process (and process group) of MiniStack.
    pub ministack_pid: u32,
    /// Process of the Inventory service; absent while it is being started.
    pub inventory_pid: Option<u32>,
    /// Time from an accepted configuration to its report.
    pub report_delay_ms: u64,
}

impl State {
    fn path(root: &Path) -> PathBuf {
        root.join("state.json")
    }

    /// Reads the state under `root`; `None` when nothing was ever started there or it was stopped.
    pub fn read(root: &Path) -> Result<Option<Self>> {
        let path = Self::path(root);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .with_context(|| format!("reading {}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    fn write(&self, root: &Path) -> Result<()> {
        let path = Self::path(root);
        // Renamed into place: a reader sees the old state or the new one.
        let unfinished = root.join("state.json.new");
        fs::write(&unfinished, serde_json::to_vec_pretty(self)?)
            .and_then(|()| fs::rename(&unfinished, &path))
            .with_context(|| format!("writing {}", path.display()))
    }
}

/// A running embedded AWS.
#[derive(Debug)]
pub struct LocalAws {
    /// Address for every service but S3.
    pub endpoint_url: String,
    /// Address for S3: our Inventory service, MiniStack's S3 behind it.
    pub s3_endpoint_url: String,
    /// Address that functions have for every service: here requests meet the faults of
    /// [`LocalAws::set_fault_plan`].
    pub gate_url: String,
    /// The host Region, [`REGION`].
    pub region: String,
    /// The account the platform is deployed in.
    pub host_account_id: String,
    /// Access key of the host account's root: its account id.
    pub access_key_id: String,
    /// Its secret, [`SECRET_ACCESS_KEY`].
    pub secret_access_key: String,
    root: PathBuf,
    running: Running,
}

#[derive(Debug)]
enum Running {
    /// Started by this process and ended with it.
    Here {
        ministack: Child,
        service: Option<inventory::Running>,
        _lock: File,
    },
    /// Runs by itself.
    Detached(State),
    /// Ended.
    Stopped,
}

impl LocalAws {
    /// Starts an embedded AWS that ends when the value is dropped or this process ends, however it ends.
    pub async fn start(options: StartOptions, progress: impl Fn(&str)) -> Result<Self> {
        let root = prepare_root(&options.root)?;
        let lock = lock_root(&root)?;
        let python = python::ensure(&options.python_folder, &progress)?;
        let s3_listener = listen(options.s3_port)?;
        let s3_port = s3_listener.local_addr()?.port();
        let gate_listener = listen(None)?;
        let gate_port = gate_listener.local_addr()?.port();
        let (ministack, port) =
            start_ministack(&options, &root, &python, gate_port, true, &progress).await?;
        let service = inventory::start(
            inventory::Settings {
                ministack_port: port,
                ministack_pid: ministack.id(),
                report_delay: options.report_delay,
            },
            s3_listener,
            gate_listener,
        )?;
        let running = Running::Here {
            ministack,
            service: Some(service),
            _lock: lock,
        };
        Ok(Self::describe(
            &options.host_account_id,
            [port, s3_port, gate_port],
            root,
            running,
        ))
    }

    /// Starts an embedded AWS that stays when this process ends. `serve` is the program with its
    /// arguments that runs the Inventory service in a process of its own: it has to call
    /// [`inventory::serve`] with this root, and its command line has to contain the root.
    pub async fn start_detached(
        options: StartOptions,
        serve: &[OsString],
        progress: impl Fn(&str),
    ) -> Result<Self> {
        let root = prepare_root(&options.root)?;
        let _lock = lock_root(&root)?;
        let [program, arguments @ ..] = serve else {
            bail!("no program for the Inventory service")
        };
        if let Some(state) = State::read(&root)? {
            if answers(&state).await {
                bail!("an embedded AWS is already running in {}", root.display());
            }
            end_detached(&root, &state);
        }
        let python = python::ensure(&options.python_folder, &progress)?;
        // Held until MiniStack, which must be told this port, is up.
        let s3_listener = listen(options.s3_port)?;
        let s3_port = s3_listener.local_addr()?.port();
        let gate_listener = listen(None)?;
        let gate_port = gate_listener.local_addr()?.port();
        let (ministack, port) =
            start_ministack(&options, &root, &python, gate_port, false, &progress).await?;
        drop(s3_listener);
        drop(gate_listener);
        let mut state = State {
            endpoint_url: address(port),
            s3_endpoint_url: address(s3_port),
            gate_url: address(gate_port),
            region: REGION.to_owned(),
            host_account_id: options.host_account_id.clone(),
            ministack_pid: ministack.id(),
            inventory_pid: None,
            report_delay_ms: u64::try_from(options.report_delay.as_millis())?,
        };
        state.write(&root)?;
        match start_service(&root, program, arguments, &state).await {
            Ok(pid) => state.inventory_pid = Some(pid),
            Err(error) => {
                end_detached(&root, &state);
                return Err(error);
            }
        }
        state.write(&root)?;
        let running = Running::Detached(state);
        Ok(Self::describe(
            &options.host_account_id,
            [port, s3_port, gate_port],
            root,
            running,
        ))
    }

    /// Finds the detached embedded AWS under `root`; `None` when there is none that answers.
    pub async fn attach(root: impl AsRef<Path>) -> Result<Option<Self>> {
        let Ok(root) = root.as_ref().canonicalize() else {
            return Ok(None);
        };
        let Some(state) = State::read(&root)? else {
            return Ok(None);
        };
        if !answers(&state).await {
            return Ok(None);
        }
        Ok(Some(Self {
            endpoint_url: state.endpoint_url.clone(),
            s3_endpoint_url: state.s3_endpoint_url.clone(),
            gate_url: state.gate_url.clone(),
            region: state.region.clone(),
            host_account_id: state.host_account_id.clone(),
            access_key_id: state.host_account_id.clone(),
            secret_access_key: SECRET_ACCESS_KEY.to_owned(),
            root,
            running: Running::Detached(state),
        }))
    }

    /// Ends whatever a detached start under `root` left, answering or not. Returns whether there
    /// was something to end.
    pub async fn stop_detached(root: impl AsRef<Path>) -> Result<bool> {
        let Ok(root) = root.as_ref().canonicalize() else {
            return Ok(false);
        };
        let Some(state) = State::read(&root)? else {
            return Ok(false);
        };
        let ended = tokio::task::spawn_blocking(move || end_detached(&root, &state)).await?;
        Ok(ended)
    }

    /// Ends MiniStack with all function processes and the Inventory service. Repeating it is fine.
    pub async fn stop(mut self) -> Result<()> {
        tokio::task::spawn_blocking(move || {
            if let Running::Detached(state) = &self.running {
                end_detached(&self.root, state);
                self.running = Running::Stopped;
            }
            drop(self);
        })
        .await?;
        Ok(())
    }

    /// Folder for state, logs and temporary files.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Folder of the logs: `ministack.log`, `inventory.log` (detached) and `functions/<name>.log`.
    pub fn log_folder(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Configuration for any SDK client, as the root of an account. S3 clients made from it go to
    /// [`Self::s3_endpoint_url`] (and use paths, as for every address that is an IP number).
    pub fn sdk_config(&self, account_id: &str, region: &str) -> SdkConfig {
        let credentials = Credentials::new(account_id, SECRET_ACCESS_KEY, None, None, "embedded");
        self.sdk_config_with(SharedCredentialsProvider::new(credentials), region)
    }

    /// Like [`Self::sdk_config`] with credentials of the caller's own, for instance of a role.
    pub fn sdk_config_with(
        &self,
        credentials: SharedCredentialsProvider,
        region: &str,
    ) -> SdkConfig {
        sdk_config(
            &self.endpoint_url,
            Some(&self.s3_endpoint_url),
            credentials,
            region,
        )
    }

    /// Sets the factor on waits of state machines while they run, see [`StartOptions::wait_scale`].
    pub async fn set_wait_scale(&self, factor: f64) -> Result<()> {
        let url = format!("{}/_ministack/config", self.endpoint_url);
        let _: serde_json::Value = http_client::post(
            &url,
            &serde_json::json!({"stepfunctions._SFN_WAIT_SCALE": factor}),
        )
        .await?;
        Ok(())
    }

    /// Sets the factor on the time until messages are received again, see
    /// [`StartOptions::redelivery_scale`], of those whose body contains a text: the name of a run, for
    /// instance. The empty text stands for all; where several fit, the longest counts. A factor of 1
    /// for a text forgets the text. Messages that were received before come back as they were told to.
    pub async fn set_redelivery_scale(&self, containing: &str, factor: f64) -> Result<()> {
        let url = format!("{}/_s3insights/redelivery-scale", self.endpoint_url);
        let _: serde_json::Value = http_client::post(
            &url,
            &serde_json::json!({ "containing": containing, "factor": factor }),
        )
        .await?;
        Ok(())
    }

    /// Every call so far that IAM was asked about, by caller, action and answer. The accounts' roots,
    /// which may do anything, are not among the callers, nor are the state machines, whose calls stay
    /// inside of MiniStack.
    pub async fn calls(&self) -> Result<Vec<Call>> {
        let calls = http_client::get(&format!("{}/_s3insights/calls", self.endpoint_url)).await?;
        calls.context("MiniStack counts calls")
    }

    fn describe(
        host_account_id: &str,
        [port, s3_port, gate_port]: [u16; 3],
        root: PathBuf,
        running: Running,
    ) -> Self {
        Self {
            endpoint_url: address(port),
            s3_endpoint_url: address(s3_port),
            gate_url: address(gate_port),
            region: REGION.to_owned(),
            host_account_id: host_account_id.to_owned(),
            access_key_id: host_account_id.to_owned(),
            secret_access_key: SECRET_ACCESS_KEY.to_owned(),
            root,
            running,
        }
    }
}

/// Calls of one principal for one action, all of them allowed or all refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Call {
    /// ARN of the user, or of the role as `arn:aws:sts::ACCOUNT:assumed-role/NAME`, without the session.
    pub principal: String,
    /// What IAM was asked for, such as `s3:GetObject`.
    pub action: String,
    /// Whether it was allowed, by the principal's own policies and those of the resource.
    pub allowed: bool,
    /// How often.
    pub count: u64,
    /// ARN of what it was asked for the last time; `*` where there is none.
    pub last_resource: String,
}

impl Drop for LocalAws {
    fn drop(&mut self) {
        if let Running::Here {
            ministack, service, ..
        } = &mut self.running
        {
            drop(service.take());
            ministack::end_child(ministack);
            // Unpacked functions; everything worth reading is in the logs.
            let _ = fs::remove_dir_all(self.root.join("tmp"));
        }
        self.running = Running::Stopped;
    }
}

pub(crate) fn address(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

pub(crate) fn sdk_config(
    endpoint_url: &str,
    s3_endpoint_url: Option<&str>,
    credentials: SharedCredentialsProvider,
    region: &str,
) -> SdkConfig {
    let mut builder = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .credentials_provider(credentials)
        .endpoint_url(endpoint_url)
        // Everything is plain HTTP on this machine: no certificates to load.
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    if let Some(s3) = s3_endpoint_url {
        builder = builder.service_config(S3Endpoint(s3.to_owned()));
    }
    builder.build()
}

/// The SDK's own way to give one service another address (`AWS_ENDPOINT_URL_S3`).
#[derive(Debug)]
struct S3Endpoint(String);

impl LoadServiceConfig for S3Endpoint {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        (key.service_id() == "S3" && key.env() == "AWS_ENDPOINT_URL").then(|| self.0.clone())
    }
}

fn prepare_root(root: &Path) -> Result<PathBuf> {
    fs::create_dir_all(root).with_context(|| format!("creating {}", root.display()))?;
    root.canonicalize()
        .with_context(|| format!("finding {}", root.display()))
}

fn lock_root(root: &Path) -> Result<File> {
    let path = root.join("lock");
    let lock = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    if lock.try_lock().is_err() {
        bail!(
            "an embedded AWS is already running, or being started, in {}",
            root.display()
        );
    }
    Ok(lock)
}

fn listen(port: Option<u16>) -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port.unwrap_or(0))).map_err(|error| match port {
        Some(port) if error.kind() == std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("port {port} is taken; leave the port out to get a free one")
        }
        _ => anyhow::Error::new(error).context("opening a port on 127.0.0.1"),
    })
}

/// Starts MiniStack on the wanted port, or on a free one: whoever else takes that in between makes
/// us choose again.
async fn start_ministack(
    options: &StartOptions,
    root: &Path,
    python: &Path,
    gate_port: u16,
    end_with_us: bool,
    progress: &impl Fn(&str),
) -> Result<(Child, u16)> {
    progress("starting MiniStack");
    let mut attempts_left = 3;
    loop {
        let port = listen(options.port)?.local_addr()?.port();
        let started = ministack::start(&ministack::Settings {
            root,
            python,
            port,
            gate_port,
            region: REGION,
            account_id: &options.host_account_id,
            wait_scale: options.wait_scale,
            redelivery_scale: options.redelivery_scale,
            end_with_us,
        })
        .await;
        attempts_left -= 1;
        match started {
            Ok(child) => return Ok((child, port)),
            Err(_)
                if options.port.is_none() && attempts_left > 0 && listen(Some(port)).is_err() => {}
            Err(error) => return Err(error),
        }
    }
}

async fn start_service(
    root: &Path,
    program: &OsString,
    arguments: &[OsString],
    state: &State,
) -> Result<u32> {
    use std::os::unix::process::CommandExt as _;
    let log_path = root.join("logs").join("inventory.log");
    let log =
        File::create(&log_path).with_context(|| format!("creating {}", log_path.display()))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(status) = child.try_wait()? {
            let said = fs::read_to_string(&log_path).unwrap_or_default();
            bail!(
                "the S3 Inventory service ended at once ({status}): {}",
                said.trim()
            );
        }
        if service_pid(state).await == Some(child.id()) {
            return Ok(child.id());
        }
        if Instant::now() > deadline {
            ministack::end_child(&mut child);
            bail!(
                "the S3 Inventory service does not answer; see {}",
                log_path.display()
            );
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

async fn service_pid(state: &State) -> Option<u32> {
    let url = format!("{}/_s3insights/identity", state.s3_endpoint_url);
    http_client::get::<ministack::Identity>(&url)
        .await
        .ok()
        .flatten()
        .map(|identity| identity.pid)
}

/// Whether both services of a detached embedded AWS answer, and are the ones written down.
async fn answers(state: &State) -> bool {
    let url = format!("{}/_s3insights/identity", state.endpoint_url);
    let ministack = http_client::get::<ministack::Identity>(&url)
        .await
        .ok()
        .flatten();
    ministack.is_some_and(|identity| identity.pid == state.ministack_pid)
        && state.inventory_pid.is_some()
        && service_pid(state).await == state.inventory_pid
}

/// Ends the processes of a detached embedded AWS, as far as they are still the ones written down.
fn end_detached(root: &Path, state: &State) -> bool {
    let mut ended = false;
    let launcher = root.join(ministack::LAUNCHER_FILE);
    let known = [
        (Some(state.ministack_pid), launcher.as_path()),
        (state.inventory_pid, root),
    ];
    for (pid, mark) in known {
        if let Some(pid) = pid
            && ministack::runs(pid, &mark.to_string_lossy())
        {
            ministack::end(pid);
            ended = true;
        }
    }
    let _ = fs::remove_dir_all(root.join("tmp"));
    let _ = fs::remove_file(State::path(root));
    ended
}
