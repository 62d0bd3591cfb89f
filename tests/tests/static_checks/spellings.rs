//! One task, one name, five spellings: binary, module, state, resource, substitution.

use std::collections::{BTreeMap, BTreeSet};

use crate::documents::{camel, machines, resources, root, sentence, template, text, walk};

/// Fed by queues and not by a machine.
const QUEUE_FED: [&str; 3] = [
    "inventory-object-processor",
    "inventory-file-consolidator",
    "dead-letter-keeper",
];

/// The tasks, as the binaries are named.
fn tasks() -> BTreeSet<String> {
    let binaries =
        std::fs::read_dir(root().join("lambdas/src/bin")).expect("the tasks have binaries");
    let tasks: BTreeSet<String> = binaries
        .map(|entry| {
            let path = entry.expect("the folder can be read").path();
            let stem = path.file_stem().and_then(std::ffi::OsStr::to_str);
            stem.expect("binaries have plain names").to_owned()
        })
        .collect();
    assert!(!tasks.is_empty());
    tasks
}

#[test]
fn every_task_is_a_module_and_a_function() {
    let host = template("host");
    let functions: BTreeMap<_, _> = resources(&host, "AWS::Serverless::Function")
        .into_iter()
        .collect();
    let expected: BTreeSet<String> = tasks()
        .iter()
        .map(|task| format!("{}Function", camel(task)))
        .collect();
    let named: BTreeSet<String> = functions.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(named, expected);
    for task in tasks() {
        let module = root().join(format!("lambdas/src/{}.rs", task.replace('-', "_")));
        assert!(module.is_file(), "{} is missing", module.display());
        let properties = &functions[format!("{}Function", camel(&task)).as_str()]["Properties"];
        let name = format!("${{DeploymentName}}-{task}");
        assert_eq!(properties["FunctionName"]["Fn::Sub"], name.as_str());
        assert_eq!(properties["CodeUri"], format!("../target/lambda/{task}/"));
        assert_eq!(
            properties["Role"]["Fn::GetAtt"],
            format!("{}Role.Arn", camel(&task))
        );
    }
}

/// States that call a task for another purpose than its own: to record that it has failed for good.
const GIVING_UP: &[(&str, &str)] = &[
    ("Give up the account", "discover-buckets"),
    ("Give up the buckets", "configure-inventories"),
];

#[test]
fn every_task_is_a_state_that_is_named_like_it() {
    let mut called = BTreeSet::new();
    for machine in machines() {
        for (task, state) in machine.calls() {
            let gives_up = GIVING_UP.contains(&(state.name.as_str(), task.as_str()));
            assert!(
                gives_up || state.name == sentence(&task),
                "{} calls {task}",
                state.path
            );
            called.insert(task);
        }
    }
    called.extend(QUEUE_FED.map(str::to_owned));
    assert_eq!(called, tasks());
}

#[test]
fn substitutions_are_the_same_on_both_sides() {
    let host = template("host");
    let definitions: BTreeMap<_, _> = resources(&host, "AWS::Serverless::StateMachine")
        .into_iter()
        .collect();
    assert_eq!(definitions.len(), machines().len());
    for machine in machines() {
        let properties =
            &definitions[format!("{}StateMachine", camel(machine.name)).as_str()]["Properties"];
        let uri = format!("../state-machines/{}.asl.json", machine.name);
        assert_eq!(properties["DefinitionUri"], uri.as_str());
        let given: BTreeSet<String> = properties["DefinitionSubstitutions"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        assert_eq!(given, used(machine.name), "{}", machine.name);
        for (name, value) in properties["DefinitionSubstitutions"].as_object().unwrap() {
            if let Some(function) = name
                .strip_suffix("Arn")
                .filter(|name| name.ends_with("Function"))
            {
                assert_eq!(value["Fn::GetAtt"], format!("{function}.Arn"), "{name}");
            }
        }
    }
}

/// Names in `${…}` of a machine.
fn used(machine: &str) -> BTreeSet<String> {
    let definition = text(&format!("state-machines/{machine}.asl.json"));
    let parts = definition.split("${").skip(1);
    parts
        .map(|part| {
            part.split_once('}')
                .expect("a substitution ends")
                .0
                .to_owned()
        })
        .collect()
}

#[test]
fn a_machine_may_call_exactly_the_functions_it_names() {
    let host = template("host");
    for machine in machines() {
        let role = &host["Resources"][format!("{}Role", camel(machine.name))]["Properties"];
        let statements = &role["Policies"][0]["PolicyDocument"]["Statement"];
        let calls = statements
            .as_array()
            .unwrap()
            .iter()
            .find(|statement| statement["Action"] == "lambda:InvokeFunction")
            .expect("a machine calls functions");
        let allowed: BTreeSet<String> = calls["Resource"]
            .as_array()
            .unwrap()
            .iter()
            .map(|function| {
                function["Fn::GetAtt"]
                    .as_str()
                    .unwrap()
                    .replace(".Arn", "Arn")
            })
            .collect();
        let named: BTreeSet<String> = used(machine.name)
            .into_iter()
            .filter(|name| name.ends_with("FunctionArn"))
            .collect();
        assert_eq!(allowed, named, "{}", machine.name);
    }
}

#[test]
fn the_environment_is_what_the_settings_read() {
    let host = template("host");
    let given: BTreeSet<String> = host["Globals"]["Function"]["Environment"]["Variables"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let read = std::cell::RefCell::new(BTreeSet::new());
    let settings = shared::settings::Settings::read(|name| {
        read.borrow_mut().insert(name.to_owned());
        Some(match name {
            "HOST_ACCOUNT_ID" => "111122223333".to_owned(),
            "DEPLOYMENT_NAME" => "insights".to_owned(),
            _ => "a-value".to_owned(),
        })
    });
    settings.unwrap();
    assert_eq!(given, read.into_inner());
    for (name, function) in resources(&host, "AWS::Serverless::Function") {
        assert!(
            function["Properties"].get("Environment").is_none(),
            "{name} has its own variables"
        );
    }
}

#[test]
fn outputs_have_the_names_that_everyone_relies_on() {
    let outputs = |name: &str| -> BTreeSet<String> {
        template(name)["Outputs"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    let expected = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let host: BTreeSet<String> = expected(&[
        "HarvesterStateMachineArn",
        "CleanupStateMachineArn",
        "ConsolidatedBucketName",
        "RunTableName",
        "NotificationQueueUrl",
        "FileQueueUrl",
        "AthenaWorkGroupName",
        "AlarmTopicArn",
    ]);
    assert_eq!(outputs("host"), host);
    let destination: BTreeSet<String> =
        expected(&["DestinationBucketName", "DestinationBucketArn", "TopicArn"]);
    assert_eq!(outputs("inventory-destination"), destination);
}

#[test]
fn machines_and_templates_work_in_every_partition() {
    for path in [
        "state-machines/harvester.asl.json",
        "state-machines/cleanup.asl.json",
        "cfn/host.yaml",
        "cfn/inventory-destination.yaml",
        "cfn/member-account.yaml",
        "cfn/saved-queries.yaml",
    ] {
        assert!(!text(path).contains("arn:aws"), "{path} names a partition");
    }
    for machine in machines() {
        walk(&machine.definition, &mut |value| {
            if let Some(resource) = value.get("Resource").and_then(|resource| resource.as_str()) {
                assert!(
                    resource.starts_with("arn:${AWSPartition}:states:::"),
                    "{resource}"
                );
            }
        });
    }
}
