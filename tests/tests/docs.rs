//! The documents say what the code does: every name that a reader may meet stands where it belongs,
//! examples are accepted, links lead somewhere.

#![expect(
    clippy::unwrap_used,
    reason = "a document that cannot be read fails the test where it is read"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use local_aws::estate::Estate;
use serde_json::Value;
use serde_yaml_ng::Value as Yaml;
use shared::catalogue;
use shared::derived;
use shared::error::TaskError;
use shared::ids::{DeploymentName, Region};
use shared::input::{self, RunInput, Surroundings};
use shared::metrics::Metric;
use shared::run_ended::{DETAIL_TYPE, RunEnded, SOURCE};
use shared::settings::Settings;
use shared::snapshot_schema::{COLUMNS, PARTITION_COLUMNS};
use shared::status::InventoryStatus;
use tests::SampleRun;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Fails with every name that the page does not set in code type.
fn assert_names<S: AsRef<str>>(page: &str, names: impl IntoIterator<Item = S>, at_least: usize) {
    let content = text(page);
    let names: BTreeSet<String> = names
        .into_iter()
        .map(|name| name.as_ref().to_owned())
        .collect();
    assert!(
        names.len() >= at_least,
        "only {} names to look for in {page}: {names:?}",
        names.len()
    );
    let missing: Vec<&String> = names
        .iter()
        .filter(|name| !content.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "{page} does not name {missing:?}");
}

/// Files under a folder of the workspace with one of these endings.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The sources of the functions, without their tests.
fn sources() -> Vec<String> {
    let all = [files("shared/src", "rs"), files("lambdas/src", "rs")].concat();
    let is_source = |path: &PathBuf| !path.ends_with("tests.rs");
    let read = |path: PathBuf| {
        let content = fs::read_to_string(path).unwrap();
        let end = content.find("#[cfg(test)]\nmod tests {");
        content[..end.unwrap_or(content.len())].to_owned()
    };
    all.into_iter().filter(is_source).map(read).collect()
}

/// The text literals that stand right after a piece of code.
fn literals_after(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for source in sources() {
        for (_, rest) in source
            .match_indices(code)
            .map(|(at, _)| source.split_at(at + code.len()))
        {
            let literal = rest.trim_start().strip_prefix('"');
            found.extend(
                literal
                    .and_then(|rest| Some(rest.split_once('"')?.0))
                    .map(str::to_owned),
            );
        }
    }
    found
}

fn task_names() -> Vec<String> {
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files("lambdas/src/bin", "rs")
        .into_iter()
        .map(stem)
        .collect()
}

fn machine(name: &str) -> Value {
    serde_json::from_str(&text(&format!("state-machines/{name}.asl.json"))).unwrap()
}

/// Error names that a machine makes up itself, as opposed to those it passes on.
fn own_errors(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = value.as_str().filter(|name| !name.starts_with("{%"));
                if ["Error", "error"].contains(&field.as_str()) {
                    found.extend(name.map(str::to_owned));
                }
                own_errors(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| own_errors(item, found)),
        // In an expression: `'error': 'CleanupIncomplete'`.
        Value::String(expression) => {
            let made_up = expression.split("'error': '").skip(1);
            found.extend(made_up.filter_map(|rest| Some(rest.split_once('\'')?.0.to_owned())));
        }
        _ => {}
    }
}

#[test]
fn every_error_is_explained() {
    let mut errors = BTreeSet::new();
    for name in ["harvester", "cleanup"] {
        own_errors(&machine(name), &mut errors);
    }
    assert!(errors.contains("CleanupIncomplete") && errors.contains("ConfigurationTooSlow"));
    errors.extend(TaskError::NAMES.iter().map(|name| (*name).to_owned()));
    assert_names("docs/troubleshooting.md", errors, 12);
}

#[test]
fn every_inventory_status_is_explained() {
    let page = text("docs/troubleshooting.md");
    for status in InventoryStatus::ALL {
        assert!(page.contains(&format!("\n### `{status}`\n")), "{status}");
    }
}

#[test]
fn every_reason_of_our_own_is_explained() {
    let mut codes = literals_after("Reason::new(");
    codes.extend(literals_after("code: "));
    // Local helpers that make reasons of one code.
    assert!(codes.contains("ForeignReport") && codes.contains("BucketNotFound"));
    // Made of the state that Athena ended a query in.
    codes.extend(["QueryFailed", "QueryCancelled"].map(str::to_owned));
    assert_names("docs/troubleshooting.md", codes, 18);
}

#[test]
fn every_field_of_the_run_input_is_explained() {
    let headings = text("docs/run-input.md");
    for field in input::FIELDS {
        assert!(headings.contains(&format!("\n### `{field}`\n")), "{field}");
    }
    let inner = [
        "accounts[].id",
        "accounts[].exclude",
        "athena_queries[].name",
        "athena_queries[].query",
        "athena_queries[].catalog",
        "athena_queries[].parameters",
        "existing_inventories[].bucket",
        "existing_inventories[].manifest",
    ];
    assert_names("docs/run-input.md", inner, inner.len());
    let checked = example();
    let fields = serde_json::to_value(&checked).unwrap();
    let fields: BTreeSet<&str> = fields
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        fields,
        input::FIELDS.iter().copied().collect::<BTreeSet<_>>()
    );
}

#[test]
fn every_query_of_the_catalogue_is_listed_with_what_it_tells() {
    let page = text("docs/run-input.md");
    assert!(!catalogue::all().is_empty());
    for query in catalogue::all() {
        let row = format!(
            "| `{}` | {} | {} | ",
            query.id,
            query.tells,
            query.counts.as_str()
        );
        assert!(page.contains(&row), "docs/run-input.md has no row {row}");
    }
}

/// The example input with its defaults, checked as `initialize` does.
fn example() -> RunInput {
    let raw: Value = serde_json::from_str(&text("docs/examples/run-input.json")).unwrap();
    for field in input::FIELDS {
        assert!(raw.get(field).is_some(), "the example has no {field}");
    }
    let enabled_regions =
        ["us-east-1", "eu-west-1", "eu-central-1"].map(|code| Region::try_from(code).unwrap());
    let checked = input::check(
        &raw,
        &Surroundings {
            enabled_regions: &enabled_regions,
            execution_arn: "arn:aws:states:us-east-1:111122223333:execution:h:1",
            started_at: "2026-11-21T04:00:00Z".parse().unwrap(),
        },
    )
    .unwrap_or_else(|problems| panic!("{}", input::describe(&problems)));
    assert_eq!(checked.warnings, []);
    checked.input
}

#[test]
fn the_example_input_is_accepted_without_a_warning() {
    assert_eq!(example().accounts.len(), 2);
}

#[test]
fn the_example_estate_is_accepted_and_shows_more_than_one_end() {
    let estate = Estate::parse(&text("docs/examples/estate.yaml")).unwrap();
    let ends: BTreeSet<_> = estate
        .buckets()
        .map(|(_, bucket)| bucket.expectation())
        .collect();
    assert!(ends.len() > 2, "{ends:?}");
}

/// Fields of a part of an estate file, as the message about an unknown one lists them.
fn estate_fields(yaml: &str) -> Vec<String> {
    let refusal = Estate::parse(yaml).unwrap_err().to_string();
    let (_, expected) = refusal
        .split_once("expected ")
        .unwrap_or_else(|| panic!("{refusal}"));
    expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_field_of_an_estate_file_is_explained() {
    let bucket = |part: &str| format!("accounts: [{{id: host, buckets: [{{name: a, {part}}}]}}]");
    let parts = [
        "{nothing: 1}".to_owned(),
        "accounts: [{nothing: 1}]".to_owned(),
        bucket("nothing: 1"),
        bucket("policy: {nothing: 1}"),
        bucket("objects: [{nothing: 1}]"),
        bucket("faults: {nothing: 1}"),
        bucket("faults: {throttle: {nothing: 1}}"),
        "{accounts: [], input: {nothing: 1}}".to_owned(),
    ];
    let fields = parts.iter().flat_map(|part| estate_fields(part));
    assert_names("docs/user-guide.md", fields, 40);
}

#[test]
fn every_task_and_every_state_is_described() {
    assert_names("docs/architecture.md", task_names(), 18);
    assert_names("docs/operations.md", task_names(), 18);
    let page = text("docs/architecture.md");
    for name in ["harvester", "cleanup"] {
        for state in machine(name)["States"].as_object().unwrap().keys() {
            assert!(page.contains(&format!("\n| {state} |")), "{name}: {state}");
        }
    }
}

#[test]
fn every_variable_of_the_functions_is_listed() {
    let read = std::cell::RefCell::new(BTreeSet::new());
    let settings = Settings::read(|name| {
        read.borrow_mut().insert(name.to_owned());
        Some(match name {
            "HOST_ACCOUNT_ID" => "111122223333".to_owned(),
            _ => "anything".to_owned(),
        })
    });
    settings.unwrap();
    assert_names("docs/operations.md", read.into_inner(), 10);
}

#[test]
fn every_parameter_and_output_of_the_templates_is_listed() {
    let mut names = Vec::new();
    for template in [
        "cfn/host.yaml",
        "cfn/member-account.yaml",
        "cfn/saved-queries.yaml",
    ] {
        let template: Yaml = serde_yaml_ng::from_str(&text(template)).unwrap();
        for section in ["Parameters", "Outputs"] {
            // The saved queries have no outputs.
            let section = template.get(section).and_then(Yaml::as_mapping);
            let names_of = section.into_iter().flat_map(|section| section.keys());
            names.extend(names_of.map(|name| name.as_str().unwrap().to_owned()));
        }
    }
    assert_names("docs/user-guide.md", names, 17);
}

#[test]
fn every_column_is_listed_with_its_type() {
    let page = text("docs/user-guide.md");
    let columns = COLUMNS
        .iter()
        .map(|column| (column.name, column.athena_type.as_str()));
    let partitions = PARTITION_COLUMNS.iter().map(|name| (*name, "string"));
    for (name, kind) in columns.chain(partitions) {
        assert!(
            page.contains(&format!("\n| `{name}` | {kind} |")),
            "{name} {kind}"
        );
    }
}

#[test]
fn the_rules_of_categories_are_those_of_the_code() {
    let page = text("docs/categories.md");
    let code = |words: Vec<&str>| {
        let spans: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        spans.join(" ")
    };
    let cell = |words: Vec<&str>| match code(words) {
        empty if empty.is_empty() => String::new(),
        spans => format!("{spans} "),
    };
    let rules: Vec<String> = derived::rules()
        .map(|rule| {
            format!(
                "| `{}` | {}| {}|",
                rule.category,
                cell(rule.extensions().collect()),
                cell(rule.names().collect())
            )
        })
        .collect();
    let heading = "| category | extensions | file names |\n|---|---|---|\n";
    let table = format!("{heading}{}\n", rules.join("\n"));
    assert!(
        page.contains(&table),
        "docs/categories.md has to have\n{table}"
    );
    let wrappers = format!("The wrappers: {}.", code(derived::wrappers().collect()));
    assert!(
        page.contains(&wrappers),
        "docs/categories.md has to have\n{wrappers}"
    );
}

#[test]
fn every_test_behind_an_invariant_exists() {
    let page = text("docs/architecture.md");
    let (_, rest) = page.split_once("\n## Invariants\n").unwrap();
    let (section, _) = rest.split_once("\n## ").unwrap();
    let tests: BTreeSet<&str> = section
        .lines()
        .filter_map(|line| line.trim_end_matches(" |").rsplit_once(" | "))
        .flat_map(|(_, tests)| tests.split('`').skip(1).step_by(2))
        .filter(|name| !name.contains('/'))
        .collect();
    assert!(tests.len() > 30, "{tests:?}");
    let code: String = ["shared/src", "lambdas", "simulation/tests", "tests/tests"]
        .iter()
        .flat_map(|folder| files(folder, "rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for test in tests {
        assert!(
            code.contains(&format!("fn {test}(")),
            "there is no test {test}"
        );
    }
}

#[test]
fn the_readme_has_the_two_commands() {
    let readme = text("README.md");
    for command in ["cargo run -- local harvest", "cargo test --workspace"] {
        assert!(
            readme.contains(&format!("```sh\n{command}\n```")),
            "{command}"
        );
    }
}

/// The anchors of a page, as GitHub makes them of its headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let is_kept = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
    let slug = |heading: &str| -> String {
        let kept: String = heading.to_lowercase().chars().filter(is_kept).collect();
        kept.replace(' ', "-")
    };
    without_code(page)
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| slug(line.trim_start_matches('#').trim()))
        .collect()
}

/// A page without its blocks of code, in which `#` and `](` mean other things.
fn without_code(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut pages = files("docs", "md");
    for page in ["README.md", "CHANGELOG.md", "local-aws/README.md"] {
        pages.push(root().join(page));
    }
    let mut followed = 0;
    for page in pages {
        let content = fs::read_to_string(&page).unwrap();
        let prose = without_code(&content);
        let links = prose
            .split("](")
            .skip(1)
            .filter_map(|rest| Some(rest.split_once(')')?.0));
        for link in links.filter(|link| !link.starts_with("https://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap_or(Path::new(".")).join(path)
            };
            let at = format!("{}: {link}", page.display());
            assert!(target.exists(), "{at}");
            if !anchor.is_empty() {
                let target = fs::read_to_string(&target).unwrap();
                assert!(anchors(&target).contains(anchor), "{at}");
            }
            followed += 1;
        }
    }
    assert!(followed > 40, "only {followed} links were found");
}

#[test]
fn the_example_of_the_event_is_what_is_sent() {
    let sample = SampleRun::partial().unwrap();
    let setting = SampleRun::setting().unwrap();
    let deployment = DeploymentName::try_from("s3insights").unwrap();
    let summary = sample.summary().unwrap();
    let ended_at = summary.started_at + jiff::SignedDuration::from_hours(30);
    let ended = RunEnded::of(&deployment, &summary, &setting, ended_at);
    let detail: Value = serde_json::from_str(&ended.detail()).unwrap();
    let event = serde_json::json!({
        "version": "0",
        "id": "00000000-0000-0000-0000-000000000000",
        "source": SOURCE,
        "detail-type": DETAIL_TYPE,
        "account": "111111111111",
        "region": "us-east-1",
        "time": ended_at,
        "resources": [summary.execution_arn],
        "detail": detail,
    });
    let made = format!("{event:#}\n");
    let path = "docs/examples/run-ended.json";
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(root().join(path), made).unwrap();
    } else {
        assert!(
            text(path) == made,
            "{path} is stale; make it anew with \
             `UPDATE_GENERATED=1 cargo test -p tests --test docs` and commit it"
        );
    }
    let fields = detail.as_object().unwrap().keys();
    assert_names("docs/operations.md", fields, 15);
}

#[test]
fn every_metric_and_alarm_is_explained() {
    let metrics = Metric::NAMES.iter().map(|(name, _)| *name);
    assert_names("docs/operations.md", metrics, 7);
    let host: Yaml = serde_yaml_ng::from_str(&text("cfn/host.yaml")).unwrap();
    let resources = host["Resources"].as_mapping().unwrap().values();
    let alarms = resources
        .filter(|resource| resource["Type"] == "AWS::CloudWatch::Alarm")
        .map(|alarm| {
            let name = &alarm["Properties"]["AlarmName"];
            let name = name.as_str().or_else(|| match name {
                Yaml::Tagged(tagged) => tagged.value.as_str(),
                _ => None,
            });
            let name = name.unwrap().to_owned();
            name.replace("${DeploymentName}", "<DeploymentName>")
        });
    assert_names("docs/operations.md", alarms, 6);
}
