//! The command `s3insights` as its user runs it, against the platform under test.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::Platform;
use crate::platform::{DEPLOYMENT, binaries};

impl Platform {
    /// Runs `s3insights` with these arguments and `--json` as the root of the host account, and reads
    /// what it prints. It has to succeed.
    pub async fn s3insights(&self, arguments: &[&str]) -> Result<Value> {
        let program = binaries()?.join("s3insights");
        let output = Command::new(program)
            .args(arguments)
            .arg("--json")
            .env_clear()
            .env("S3INSIGHTS_STACK", DEPLOYMENT)
            .env("AWS_REGION", &self.aws.region)
            .env("AWS_ACCESS_KEY_ID", &self.aws.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &self.aws.secret_access_key)
            .env("AWS_ENDPOINT_URL", &self.aws.endpoint_url)
            .env("AWS_ENDPOINT_URL_S3", &self.aws.s3_endpoint_url)
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {said}");
        serde_json::from_slice(&output.stdout).with_context(|| format!("{arguments:?}: {said}"))
    }
}
