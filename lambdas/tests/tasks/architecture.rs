use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is a member of the workspace")
}

/// The Rust sources under a folder, by their path from the root, without comments and without
/// their tests.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("it can be read").path();
            let name = path.strip_prefix(root()).expect("it is inside");
            let name = name.to_str().expect("names are text").replace('\\', "/");
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs")
                && !name.ends_with("/tests.rs")
            {
                let text = fs::read_to_string(&path).expect("it can be read");
                found.push((name, code_of(&text)));
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {folder}");
    found.sort();
    found
}

fn code_of(text: &str) -> String {
    let code = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text);
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Sources that say one of some words, but for those that may.
fn offenders(folders: &[&str], words: &[&str], may: impl Fn(&str) -> bool) -> Vec<String> {
    let mut used_by_those_who_may = false;
    let mut offenders = Vec::new();
    for (name, code) in folders.iter().flat_map(|folder| sources(folder)) {
        for word in words.iter().filter(|word| code.contains(*word)) {
            if may(&name) {
                used_by_those_who_may = true;
            } else {
                offenders.push(format!("{name}: {word}"));
            }
        }
    }
    assert!(
        used_by_those_who_may,
        "nobody says {words:?}: the search is broken"
    );
    offenders
}

#[test]
fn only_shared_aws_names_the_sdk() {
    let words = [
        "aws_sdk_",
        "aws_config",
        "aws_smithy_",
        "aws_credential_types",
    ];
    let found = offenders(&["shared/src", "lambdas/src", "cli/src"], &words, |name| {
        name.starts_with("shared/src/aws/")
    });
    assert_eq!(found, [""; 0]);
}

#[test]
fn only_shared_settings_reads_the_environment() {
    let words = ["std::env", "env::var", "option_env!"];
    let found = offenders(&["shared/src", "lambdas/src"], &words, |name| {
        name == "shared/src/settings.rs"
    });
    assert_eq!(found, [""; 0]);
}

#[test]
fn pure_modules_know_no_clock_and_no_chance() {
    let words = [
        "Timestamp::now",
        "Zoned::now",
        "SystemTime::now",
        "Instant::now",
        "fastrand",
        "rand::",
        "Uuid::new",
        "tokio::time",
    ];
    let found = offenders(&["shared/src"], &words, |name| {
        name.starts_with("shared/src/aws/")
            || ["shared/src/runtime.rs", "shared/src/settings.rs"].contains(&name)
            // A stopwatch, which decides nothing.
            || name == "shared/src/consolidation/checked.rs"
    });
    assert_eq!(found, [""; 0]);
}

#[test]
fn every_task_has_a_binary_and_every_binary_a_task() {
    let modules: BTreeSet<String> = sources("lambdas/src")
        .into_iter()
        .filter(|(_, code)| code.contains("pub async fn handle("))
        .map(|(name, _)| stem(&name).replace('_', "-"))
        .collect();
    let binaries: BTreeSet<String> = sources("lambdas/src/bin")
        .into_iter()
        .map(|(name, code)| {
            let task = stem(&name);
            let call = format!(
                "lambdas::serve(lambdas::{}::handle)",
                task.replace('-', "_")
            );
            assert!(code.contains(&call), "{name} does not serve its own task");
            task
        })
        .collect();
    assert_eq!(modules, binaries);
    // The tasks of the machines, and those that queues feed.
    let mut tasks: BTreeSet<String> = lambdas::input_fields()
        .into_keys()
        .map(str::to_owned)
        .collect();
    let queue_fed = [
        "inventory-object-processor",
        "inventory-file-consolidator",
        "dead-letter-keeper",
    ];
    tasks.extend(queue_fed.map(str::to_owned));
    assert_eq!(modules, tasks);
}

/// The name of a source without folders and ending.
fn stem(name: &str) -> String {
    let stem = Path::new(name).file_stem().expect("sources have names");
    stem.to_str().expect("names are text").to_owned()
}
