//! `deadletters list`.

use anyhow::Result;
use shared::dead_letter::Filter;

use super::{find, table};
use crate::exit::Exit;
use crate::output;
use crate::platform::Platform;

pub(super) async fn run(platform: &Platform, filters: &[Filter], json: bool) -> Result<Exit> {
    let letters = find(platform, filters).await?;
    if json {
        output::json(&letters)?;
    } else if letters.is_empty() {
        output::note("there are no dead letters");
    } else {
        output::data(&table(&letters))?;
    }
    Ok(Exit::Done)
}
