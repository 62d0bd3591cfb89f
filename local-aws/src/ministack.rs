//! The MiniStack process: how it is started, found to be ready, and ended with all its children.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;

use crate::http_client;

const LAUNCHER: &str = include_str!("launcher.py");

/// Name of the launcher's file under the root: it stands in the process's command line, by which
/// a process id read from a state file is recognised as ours.
pub(crate) const LAUNCHER_FILE: &str = "ministack-launcher.py";

/// How long MiniStack may take to answer; it needs about a second.
const START_TIME: Duration = Duration::from_mins(1);

/// How long a process group may take to end in good order before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// What MiniStack is started with.
pub(crate) struct Settings<'a> {
    pub(crate) root: &'a Path,
    pub(crate) python: &'a Path,
    pub(crate) port: u16,
    /// What functions ask everything at.
    pub(crate) gate_port: u16,
    pub(crate) region: &'a str,
    pub(crate) account_id: &'a str,
    /// Factor on `Wait` states and retry intervals of state machines; task timeouts stay as they are.
    pub(crate) wait_scale: f64,
    /// Factor on the time until a message of SQS is received again.
    pub(crate) redelivery_scale: f64,
    /// End it together with this process.
    pub(crate) end_with_us: bool,
}

/// Starts MiniStack in a process group of its own and waits until it answers.
pub(crate) async fn start(settings: &Settings<'_>) -> Result<Child> {
    let logs = settings.root.join("logs");
    let temporary = settings.root.join("tmp");
    let home = settings.root.join("home");
    for folder in [&logs, &temporary, &home] {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let launcher = settings.root.join(LAUNCHER_FILE);
    fs::write(&launcher, LAUNCHER).with_context(|| format!("writing {}", launcher.display()))?;
    let log_path = logs.join("ministack.log");
    let log =
        File::create(&log_path).with_context(|| format!("creating {}", log_path.display()))?;

    let mut command = Command::new(settings.python);
    command.arg(&launcher).current_dir(settings.root);
    environment(&mut command, settings, &temporary, &home, &logs);
    let mut child = spawn(command, log, settings.end_with_us)
        .with_context(|| format!("starting {}", settings.python.display()))?;
    if let Err(error) = until_ready(&mut child, settings.port).await {
        end(child.id());
        let _ = child.wait();
        let said = fs::read_to_string(&log_path).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let end_of_log = lines[lines.len().saturating_sub(15)..].join("\n");
        return Err(error.context(format!(
            "MiniStack did not start; the end of {}:\n{end_of_log}",
            log_path.display()
        )));
    }
    Ok(child)
}

fn spawn(mut command: Command, log: File, end_with_us: bool) -> Result<Child> {
    use std::os::unix::process::CommandExt as _;
    // The group takes in the function processes, so that all of them can be ended together.
    let stdin = if end_with_us {
        Stdio::piped()
    } else {
        Stdio::null()
    };
    Ok(command
        .stdin(stdin)
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()?)
}

/// The whole environment: MiniStack hands its own on to every function, so nothing of the
/// person's AWS settings, proxies or home folder may be in it.
fn environment(
    command: &mut Command,
    settings: &Settings<'_>,
    temporary: &Path,
    home: &Path,
    logs: &Path,
) {
    command.env_clear();
    for kept in [
        "PATH",
        "LANG",
        "LC_ALL",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "RUST_LOG",
        "RUST_BACKTRACE",
    ] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command
        .env("HOME", home)
        .env("TMPDIR", temporary)
        .env("PYTHONDONTWRITEBYTECODE", "")
        .env("AUTH", "true")
        .env("BIND_HOST", "127.0.0.1")
        .env("GATEWAY_PORT", settings.port.to_string())
        .env("MINISTACK_REGION", settings.region)
        .env("MINISTACK_ACCOUNT_ID", settings.account_id)
        .env(
            "AWS_ENDPOINT_URL",
            format!("http://127.0.0.1:{}", settings.gate_port),
        )
        .env("AWS_EC2_METADATA_DISABLED", "true")
        // As the template asks for; MiniStack does not look at `LoggingConfig`.
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .env("SFN_WAIT_SCALE", settings.wait_scale.to_string())
        .env("LAMBDA_EXECUTOR", "local")
        // Nothing here may reach for Docker, even where it is installed.
        .env(
            "DOCKER_HOST",
            format!("unix://{}/no-docker", settings.root.display()),
        )
        .env("PERSIST_STATE", "0")
        // These would listen on every interface.
        .env("IOT_MTLS_ENABLED", "0")
        .env("SFTP_ENABLED", "0")
        .env("CLOUDTRAIL_RECORDING", "0")
        .env("LOG_LEVEL", "INFO")
        .env("S3INSIGHTS_FUNCTION_LOGS", logs.join("functions"))
        .env(
            "S3INSIGHTS_REDELIVERY_SCALE",
            settings.redelivery_scale.to_string(),
        );
    if settings.end_with_us {
        command.env("S3INSIGHTS_END_WITH_STDIN", "1");
    }
}

async fn until_ready(child: &mut Child, port: u16) -> Result<()> {
    let deadline = Instant::now() + START_TIME;
    let url = format!("http://127.0.0.1:{port}/_s3insights/identity");
    loop {
        if let Some(status) = child.try_wait()? {
            bail!("it ended at once ({status})");
        }
        match http_client::get::<Identity>(&url).await {
            Ok(Some(identity)) if identity.pid == child.id() => return Ok(()),
            Ok(_) => bail!("port {port} is taken by another process"),
            Err(_) if Instant::now() < deadline => {}
            Err(error) => return Err(error.context("it does not answer")),
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Who answers at a MiniStack port.
#[derive(Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
}

/// Ends a process group: asked first, killed when it takes too long. Returns when none is left.
pub(crate) fn end(group: u32) {
    let Some(pid) = i32::try_from(group).ok().and_then(Pid::from_raw) else {
        return;
    };
    let _ = kill_process_group(pid, Signal::TERM);
    let deadline = Instant::now() + GRACE;
    while group_is_alive(group) {
        // One that this process started stays in its group until it is collected.
        let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
        if Instant::now() > deadline {
            let _ = kill_process_group(pid, Signal::KILL);
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ends the group of a child of ours and collects the child.
pub(crate) fn end_child(child: &mut Child) -> Option<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw)?;
    let _ = kill_process_group(pid, Signal::TERM);
    let deadline = Instant::now() + GRACE;
    let mut status = None;
    while Instant::now() < deadline {
        // A child that ended stays in its group until it is collected.
        status = child.try_wait().ok().flatten();
        if status.is_some() && !group_is_alive(child.id()) {
            return status;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = kill_process_group(pid, Signal::KILL);
    status.or_else(|| child.wait().ok())
}

/// Whether any process of the group is there, as the operating system tells it.
pub(crate) fn group_is_alive(group: u32) -> bool {
    i32::try_from(group)
        .ok()
        .and_then(Pid::from_raw)
        .is_some_and(|pid| rustix::process::test_kill_process_group(pid).is_ok())
}

/// Whether the process runs a command line that contains `mark`; guards against process ids that
/// were given to somebody else since they were written down.
pub(crate) fn runs(pid: u32, mark: &str) -> bool {
    Command::new("ps")
        .args(["-ww", "-o", "command=", "-p", &pid.to_string()])
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(mark))
}
