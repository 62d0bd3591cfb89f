//! The S3 Inventory service of a detached embedded AWS, in a process of its own:
//! `serve-inventory --root DIR`.

use std::path::PathBuf;

use anyhow::{Context, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let root = match (arguments.next(), arguments.next()) {
        (Some(flag), Some(root)) if flag == "--root" => PathBuf::from(root),
        _ => anyhow::bail!("usage: serve-inventory --root DIR"),
    };
    let root = root
        .canonicalize()
        .with_context(|| format!("finding {}", root.display()))?;
    local_aws::inventory::serve(&root).await
}
