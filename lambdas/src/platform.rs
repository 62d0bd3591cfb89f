//! What every task works with.

use shared::aws::{AwsError, Clients, Objects, RunTable};
use shared::error::TaskError;
use shared::ids::RunId;
use shared::metrics::{self, Metric};
use shared::run::Run;
use shared::settings::Settings;

/// Settings and clients, made once per process.
#[derive(Debug)]
pub struct Platform {
    /// What the environment says.
    pub settings: Settings,
    /// Every AWS client.
    pub clients: Clients,
}

impl Platform {
    /// The run table.
    pub fn runs(&self) -> RunTable<'_> {
        self.clients.run_table(&self.settings.run_table)
    }

    /// The objects of the consolidated bucket.
    pub fn consolidated(&self) -> Objects {
        self.clients.objects(&self.clients.region())
    }

    /// Hands metrics to CloudWatch, which finds them in the log. Lines name the run, if one is known.
    pub fn measure(&self, run_id: Option<&RunId>, metrics: &[Metric]) {
        let (deployment, now) = (&self.settings.deployment, self.clients.now());
        let lines = metrics::lines(metrics, deployment, run_id, now);
        self.clients.print_metrics(&lines);
    }

    /// A run that has to be on record.
    pub async fn run(&self, run_id: &RunId) -> Result<Run, TaskError> {
        self.runs()
            .run(run_id)
            .await?
            .ok_or_else(|| TaskError::InvalidInput(format!("run_id: no run {run_id} is on record")))
    }

    /// A run if it is on record and can be read: what cleaning up makes do with.
    pub async fn readable_run(&self, run_id: &RunId) -> Result<Option<Run>, AwsError> {
        match self.runs().run(run_id).await {
            Err(error) if error.code == "DamagedRecord" => {
                tracing::warn!(%run_id, %error, "the record of the run is damaged");
                Ok(None)
            }
            answer => answer,
        }
    }
}
