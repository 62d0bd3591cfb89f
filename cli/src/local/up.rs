//! `local up`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use local_aws::LocalAws;
use serde::Serialize;

use super::{DEPLOYMENT, functions, host};
use crate::exit::Exit;
use crate::output;
use crate::progress::Display;
use crate::run::interruptible;

/// What any AWS SDK or tool needs to be pointed at the embedded AWS.
#[derive(Debug, Serialize)]
struct Connection {
    /// Address of every service but S3.
    endpoint_url: String,
    /// Address of S3.
    s3_endpoint_url: String,
    /// The host Region.
    region: String,
    /// The account the platform is in.
    host_account_id: String,
    /// Connection key of that account's root; any other 12 digits are the key of another account's.
    access_key_id: String,
    /// The secret of every account's root.
    secret_access_key: String,
    /// Name of the deployment, and of the platform's stack.
    deployment_name: String,
    /// Outputs of the platform's stack.
    outputs: BTreeMap<String, String>,
}

pub(super) async fn run(root: &Path, json: bool) -> Result<Exit> {
    let was_up = LocalAws::attach(root).await?;
    let is_new = was_up.is_none();
    let serve = host::serve_command(root)?;
    let work = Box::pin(async {
        let functions = functions::build().await?;
        let display = Display::new(Duration::ZERO);
        let aws = match was_up {
            Some(aws) => aws,
            None => host::start_to_stay(root, &serve, &display).await?,
        };
        display.show("deploying the platform");
        let outputs = host::deploy(&aws, &functions, None).await;
        drop(display);
        print(&Connection::new(&aws, outputs?), json)?;
        Ok(Exit::Done)
    });
    let done = interruptible(work, || "stopped".to_owned()).await;
    // What was started and is of no use must not stay.
    if is_new && !matches!(done, Ok(Exit::Done)) {
        LocalAws::stop_detached(root).await?;
    }
    done
}

impl Connection {
    fn new(aws: &LocalAws, outputs: BTreeMap<String, String>) -> Self {
        Self {
            endpoint_url: aws.endpoint_url.clone(),
            s3_endpoint_url: aws.s3_endpoint_url.clone(),
            region: aws.region.clone(),
            host_account_id: aws.host_account_id.clone(),
            access_key_id: aws.access_key_id.clone(),
            secret_access_key: aws.secret_access_key.clone(),
            deployment_name: DEPLOYMENT.to_owned(),
            outputs,
        }
    }

    fn text(&self) -> String {
        let row = |name: &str, value: &str| vec![name.to_owned(), value.to_owned()];
        let mut rows = vec![
            row("endpoint_url", &self.endpoint_url),
            row("s3_endpoint_url", &self.s3_endpoint_url),
            row("region", &self.region),
            row("host_account_id", &self.host_account_id),
            row("access_key_id", &self.access_key_id),
            row("secret_access_key", &self.secret_access_key),
            row("deployment_name", &self.deployment_name),
        ];
        rows.extend(self.outputs.iter().map(|(name, value)| row(name, value)));
        output::table(&rows)
    }

    /// Lines that point the tools of a shell at it.
    fn exports(&self) -> String {
        [
            ("AWS_ENDPOINT_URL", &self.endpoint_url),
            ("AWS_ENDPOINT_URL_S3", &self.s3_endpoint_url),
            ("AWS_REGION", &self.region),
            // The same for SDKs that read the older name only.
            ("AWS_DEFAULT_REGION", &self.region),
            ("AWS_ACCESS_KEY_ID", &self.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &self.secret_access_key),
        ]
        .map(|(name, value)| format!("  export {name}={value}\n"))
        .concat()
    }
}

fn print(connection: &Connection, json: bool) -> Result<()> {
    if json {
        return output::json(connection);
    }
    output::data(&connection.text())?;
    output::note(&format!(
        "hint: to use it with `s3insights run` and other tools\n{}hint: `s3insights local down` ends it",
        connection.exports()
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_a_tool_needs_is_one_json_object() {
        let connection = Connection {
            endpoint_url: "http://127.0.0.1:1".into(),
            s3_endpoint_url: "http://127.0.0.1:2".into(),
            region: "us-east-1".into(),
            host_account_id: "111111111111".into(),
            access_key_id: "111111111111".into(),
            secret_access_key: "test".into(),
            deployment_name: DEPLOYMENT.into(),
            outputs: [("RunTableName".to_owned(), "s3insights-runs".to_owned())].into(),
        };
        assert_eq!(
            serde_json::to_value(&connection).unwrap(),
            serde_json::json!({
                "endpoint_url": "http://127.0.0.1:1",
                "s3_endpoint_url": "http://127.0.0.1:2",
                "region": "us-east-1",
                "host_account_id": "111111111111",
                "access_key_id": "111111111111",
                "secret_access_key": "test",
                "deployment_name": "s3insights",
                "outputs": { "RunTableName": "s3insights-runs" }
            })
        );
        assert!(
            connection
                .exports()
                .contains("export AWS_ENDPOINT_URL_S3=http://127.0.0.1:2\n")
        );
        assert!(
            connection
                .text()
                .ends_with("RunTableName       s3insights-runs\n"),
            "{}",
            connection.text()
        );
    }
}
