//! The functions of the platform, built for this machine.

use std::io::{ErrorKind, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::process::Command;

use super::repository;
use crate::output;
use crate::trouble::Trouble;

/// A binary that is there when all are.
const ANY: &str = "initialize";

/// Builds the functions and gives the folder they are in. Without Cargo those beside this program
/// are taken as they are.
pub(super) async fn build() -> Result<PathBuf> {
    if !repository().join("Cargo.toml").is_file() {
        let trouble = format!(
            "the repository {} is not there any more",
            repository().display()
        );
        return Err(Trouble::failed(trouble)
            .hint("`local` deploys from the repository this program was built in; build it again there")
            .into());
    }
    let mut command = Command::new("cargo");
    command
        // Together with the command itself, or Cargo builds their dependencies anew with fewer features.
        .args([
            "build",
            "--package",
            "cli",
            "--package",
            "lambdas",
            "--bins",
        ])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(repository())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    if !std::io::stderr().is_terminal() {
        output::note("building the functions");
        command.arg("--quiet");
    }
    let cargo = match command.spawn() {
        Ok(cargo) => cargo,
        Err(error) if error.kind() == ErrorKind::NotFound => return as_they_are(),
        Err(error) => return Err(error).context("starting cargo"),
    };
    let built = cargo
        .wait_with_output()
        .await
        .context("waiting for cargo")?;
    if !built.status.success() {
        return Err(Trouble::failed("the functions could not be built").into());
    }
    let messages = String::from_utf8_lossy(&built.stdout);
    let folder = folder_of_executables(&messages).context("cargo named no function it built")?;
    Ok(folder)
}

fn as_they_are() -> Result<PathBuf> {
    let program = std::env::current_exe().context("finding this program")?;
    match program.parent().filter(|folder| folder.join(ANY).is_file()) {
        Some(folder) => {
            output::note(&format!(
                "cargo was not found: the functions in {} are taken as they are",
                folder.display()
            ));
            Ok(folder.to_owned())
        }
        None => Err(
            Trouble::failed("cargo was not found, and the functions are not built yet")
                .hint("install Rust, see https://rustup.rs")
                .into(),
        ),
    }
}

/// The folder that Cargo, by its messages (a JSON document a line), put the executables in.
fn folder_of_executables(messages: &str) -> Option<PathBuf> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages
        .filter_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)))
        .find(|executable| executable.file_stem().is_some_and(|stem| stem == ANY))
        .and_then(|executable| executable.parent().map(Path::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_tells_where_the_functions_are() {
        let messages = r#"{"reason":"compiler-artifact","executable":null}
not json
{"reason":"compiler-artifact","executable":"/r/target/debug/close-run"}
{"reason":"compiler-artifact","executable":"/r/target/debug/initialize"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(
            folder_of_executables(messages),
            Some(PathBuf::from("/r/target/debug"))
        );
        assert_eq!(folder_of_executables("{}"), None);
    }
}
