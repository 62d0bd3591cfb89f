//! Regions the host account can use.

use aws_sdk_account::types::RegionOptStatus;

use super::{AwsError, Clients};
use crate::ids::Region;

impl Clients {
    /// All Regions enabled in the host account, in the order of their codes.
    pub async fn enabled_regions(&self) -> Result<Vec<Region>, AwsError> {
        let mut pages = self
            .account
            .list_regions()
            .region_opt_status_contains(RegionOptStatus::Enabled)
            .region_opt_status_contains(RegionOptStatus::EnabledByDefault)
            .into_paginator()
            .send();
        let mut regions = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsError::new("ListRegions", &error))?;
            let names = page
                .regions()
                .iter()
                .filter_map(|region| region.region_name());
            regions.extend(names.filter_map(|name| Region::try_from(name).ok()));
        }
        regions.sort();
        Ok(regions)
    }
}
