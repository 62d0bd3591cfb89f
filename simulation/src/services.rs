//! What the tasks ask of AWS besides the run table: every function is one request of that name in
//! `shared::aws`, or a few, done to the state of the simulation. Modules are named as there.

use jiff::Timestamp;
use real_shared::aws::{AwsError, Class};
use real_shared::ids::Region;
use real_shared::run_ended::RunEnded;

use crate::dynamodb::Client;
use crate::estate::REGIONS;
use crate::world::World;

pub(crate) mod destination_stack;
mod mail;
mod objects;
mod queues;
mod snapshot_table;
mod source_buckets;
mod state_machines;

pub use objects::{ConsolidatedUpload, DeliveredFile, Objects};
pub use source_buckets::SourceAccount;

fn error(operation: &str, code: &str, class: Class) -> AwsError {
    AwsError {
        operation: operation.to_owned(),
        code: code.to_owned(),
        message: "simulated".to_owned(),
        class,
    }
}

/// All clients.
#[derive(Debug)]
pub struct Clients {
    pub(crate) world: World,
    pub(crate) store: Client,
}

impl Clients {
    pub(crate) fn new(world: World) -> Self {
        let store = Client {
            world: world.clone(),
        };
        Self { world, store }
    }

    /// The host Region.
    pub fn region(&self) -> Region {
        Region::try_from(REGIONS[0]).expect("it is a Region")
    }

    /// The time of the simulation.
    pub fn now(&self) -> Timestamp {
        self.world.state().timestamp()
    }

    /// The Regions that are enabled.
    pub async fn enabled_regions(&self) -> Result<Vec<Region>, AwsError> {
        let regions = || REGIONS.iter().map(|code| Region::try_from(*code)).collect();
        let regions: Result<Vec<Region>, _> = regions();
        let regions = regions.expect("they are Regions");
        self.world
            .request("ListRegions", String::new, |_| Ok(regions.clone()))
            .await
    }

    /// Tells other systems, of which there are none.
    pub async fn tell_run_ended(&self, _ended: &RunEnded) -> Result<(), AwsError> {
        self.world
            .request("PutEvents", String::new, |_| Ok(()))
            .await
    }

    /// Metrics, which nobody reads.
    pub fn print_metrics(&self, _lines: &[String]) {}
}
