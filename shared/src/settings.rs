//! What a function is told by its environment; the only module that reads it. The same few
//! variables go to every function (`Globals` in `cfn/host.yaml`).

use crate::error::TaskError;
use crate::ids::{AccountId, BucketName, DeploymentName};

/// The environment of every function, read once at cold start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `DEPLOYMENT_NAME`
    pub deployment: DeploymentName,
    /// `HOST_ACCOUNT_ID`: the account the platform lives in.
    pub host_account: AccountId,
    /// `RUN_TABLE_NAME`
    pub run_table: String,
    /// `CONSOLIDATED_BUCKET_NAME`
    pub consolidated_bucket: BucketName,
    /// `NOTIFICATION_QUEUE_ARN`: where destinations of all Regions send S3's notifications.
    pub notification_queue_arn: String,
    /// `NOTIFICATION_QUEUE_URL`: the same queue, as its own messages are delayed.
    pub notification_queue_url: String,
    /// `FILE_QUEUE_URL`: one message per inventory file.
    pub file_queue_url: String,
    /// `ATHENA_WORK_GROUP_NAME`
    pub work_group: String,
    /// `MEMBER_ROLE_NAME`: the role to assume in every account, the host account included.
    pub member_role: String,
    /// `EXTERNAL_ID`; `None` when empty.
    pub external_id: Option<String>,
}

impl Settings {
    /// Reads the process environment.
    pub fn from_environment() -> Result<Self, TaskError> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads variables from `lookup`; a missing or malformed one is named.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, TaskError> {
        let text = |name: &str| {
            lookup(name)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| {
                    TaskError::Internal(format!("environment variable {name} is not set"))
                })
        };
        let bad = |name: &str, problem: crate::ids::InvalidId| {
            TaskError::Internal(format!("environment variable {name}: {problem}"))
        };
        Ok(Self {
            deployment: DeploymentName::try_from(text("DEPLOYMENT_NAME")?)
                .map_err(|problem| bad("DEPLOYMENT_NAME", problem))?,
            host_account: AccountId::try_from(text("HOST_ACCOUNT_ID")?)
                .map_err(|problem| bad("HOST_ACCOUNT_ID", problem))?,
            run_table: text("RUN_TABLE_NAME")?,
            consolidated_bucket: BucketName::try_from(text("CONSOLIDATED_BUCKET_NAME")?)
                .map_err(|problem| bad("CONSOLIDATED_BUCKET_NAME", problem))?,
            notification_queue_arn: text("NOTIFICATION_QUEUE_ARN")?,
            notification_queue_url: text("NOTIFICATION_QUEUE_URL")?,
            file_queue_url: text("FILE_QUEUE_URL")?,
            work_group: text("ATHENA_WORK_GROUP_NAME")?,
            member_role: text("MEMBER_ROLE_NAME")?,
            external_id: lookup("EXTERNAL_ID").filter(|value| !value.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(name: &str) -> String {
        let value = match name {
            "DEPLOYMENT_NAME" => "insights",
            "HOST_ACCOUNT_ID" => "123456789012",
            "CONSOLIDATED_BUCKET_NAME" => "insights-consolidated",
            "EXTERNAL_ID" => "",
            _ => "something",
        };
        value.to_owned()
    }

    #[test]
    fn an_empty_external_id_is_none() {
        assert_eq!(
            Settings::read(|name| Some(complete(name)))
                .unwrap()
                .external_id,
            None
        );
    }

    #[test]
    fn a_missing_or_malformed_variable_is_named() {
        for name in ["RUN_TABLE_NAME", "DEPLOYMENT_NAME", "FILE_QUEUE_URL"] {
            let error = Settings::read(|n| (n != name).then(|| complete(n))).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("environment variable {name} is not set")
            );
        }
        let error = Settings::read(|name| match name {
            "HOST_ACCOUNT_ID" => Some("12".into()),
            other => Some(complete(other)),
        });
        assert!(
            error
                .unwrap_err()
                .to_string()
                .starts_with("environment variable HOST_ACCOUNT_ID: ")
        );
    }
}
