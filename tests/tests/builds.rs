//! What programs are made of is compiled once: their tests use it too.

use std::collections::BTreeSet;
use std::process::Command;

/// All packages that Cargo compiles for the whole workspace, with their features, over these edges.
fn packages(edges: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--workspace", "--locked", "--offline"])
        .args(["--prefix", "none", "--format", "{p} {f}", "--edges", edges])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("Cargo runs the tests, so it is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let packages = String::from_utf8_lossy(&output.stdout);
    // A package that was told before has a mark.
    let lines = packages.lines().map(|line| line.trim_end_matches(" (*)"));
    lines.map(str::to_owned).collect()
}

#[test]
fn tests_compile_no_dependency_of_programs_anew() {
    let of_programs = packages("normal,build");
    let with_tests = packages("normal,build,dev");
    let anew: Vec<_> = of_programs.difference(&with_tests).collect();
    assert!(
        anew.is_empty(),
        "with the tests these have other features; `shared/Cargo.toml` turns such features on: {anew:#?}"
    );
}
