//! Writes the mail and the report page of every sample run into a folder, for browsers to open.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tests::SampleRun;

fn main() -> Result<()> {
    let folder: PathBuf = std::env::args_os()
        .nth(1)
        .context("which folder to write to?")?
        .into();
    std::fs::create_dir_all(&folder)?;
    for sample in SampleRun::all()? {
        let summary = sample.summary()?;
        let files = [
            ("mail.html", summary.html()),
            ("mail.txt", summary.text()),
            ("page.html", sample.page()?),
        ];
        for (ending, content) in files {
            std::fs::write(folder.join(format!("{}.{ending}", sample.name)), content)?;
        }
    }
    Ok(())
}
