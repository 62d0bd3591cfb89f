//! Errors, retries, timeouts, loops and payloads of the state machines.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use shared::error::TaskError;

use crate::documents::{Machine, Scope, called_task, machines, resources, template, walk};

/// Errors that Step Functions and the services raise under these names.
const PLATFORM_ERRORS: &[&str] = &[
    "States.ALL",
    "States.Timeout",
    "Lambda.AWSLambdaException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.SdkClientException",
    "Lambda.ServiceException",
    "Lambda.TooManyRequestsException",
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Sandbox.Timedout",
    "DynamoDB.InternalServerError",
    "DynamoDB.InternalServerErrorException",
    "DynamoDB.ProvisionedThroughputExceededException",
    "DynamoDB.RequestLimitExceeded",
    "DynamoDB.SdkClientException",
    "DynamoDB.ThrottlingException",
    "StepFunctions.AWSStepFunctionsException",
    "StepFunctions.ExecutionLimitExceeded",
    "StepFunctions.ExecutionLimitExceededException",
    "StepFunctions.SdkClientException",
    "StepFunctions.ThrottlingException",
];

/// What a function may be asked again after.
const RETRIED: &[&str] = &["Throttled", "Unavailable", "Conflict", "AccessDenied"];

fn handlers(state: &Value, field: &str) -> Vec<Value> {
    state[field].as_array().cloned().unwrap_or_default()
}

fn errors(handler: &Value) -> Vec<&str> {
    let names = handler["ErrorEquals"]
        .as_array()
        .expect("a handler names errors");
    names
        .iter()
        .map(|name| name.as_str().expect("an error name is text"))
        .collect()
}

fn is_task(state: &Value) -> bool {
    state["Type"] == "Task"
}

#[test]
fn every_error_that_a_machine_handles_can_happen() {
    for machine in machines() {
        let own: BTreeSet<String> = machine
            .states()
            .into_iter()
            .filter(|state| state.body["Type"] == "Fail")
            .filter_map(|state| state.body["Error"].as_str().map(str::to_owned))
            .filter(|error| !error.starts_with("{%"))
            .collect();
        for state in machine.states() {
            for handler in [
                handlers(&state.body, "Retry"),
                handlers(&state.body, "Catch"),
            ]
            .concat()
            {
                for error in errors(&handler) {
                    assert!(
                        TaskError::NAMES.contains(&error)
                            || PLATFORM_ERRORS.contains(&error)
                            || own.contains(error),
                        "{}: nobody raises {error}",
                        state.path
                    );
                }
            }
        }
    }
}

#[test]
fn nothing_hopeless_is_tried_again() {
    let hopeless = TaskError::NAMES
        .iter()
        .copied()
        .filter(|name| !RETRIED.contains(name))
        .chain(["States.ALL", "States.TaskFailed", "States.Runtime"]);
    let hopeless: BTreeSet<&str> = hopeless.collect();
    for machine in machines() {
        for state in machine.states() {
            for retrier in handlers(&state.body, "Retry") {
                for error in errors(&retrier) {
                    assert!(!hopeless.contains(error), "{} retries {error}", state.path);
                }
            }
        }
    }
}

#[test]
fn every_call_of_a_function_is_repeated_after_the_errors_that_may_pass() {
    for machine in machines() {
        for (_, state) in machine.calls() {
            let retriers = handlers(&state.body, "Retry");
            let named: Vec<&str> = retriers.iter().flat_map(errors).collect();
            let expected = RETRIED
                .iter()
                .chain(&["Lambda.ServiceException", "Lambda.Unknown"]);
            for error in expected {
                assert!(
                    named.contains(error),
                    "{} does not retry {error}",
                    state.path
                );
            }
        }
    }
}

#[test]
fn every_task_ends_and_every_error_is_caught() {
    for machine in machines() {
        assert!(
            machine.definition["TimeoutSeconds"].is_u64(),
            "{} may run for ever",
            machine.name
        );
        for state in machine.states() {
            if is_task(&state.body) {
                // A number: the embedded AWS does not evaluate expressions here.
                assert!(
                    state.body["TimeoutSeconds"].is_u64(),
                    "{} has no timeout",
                    state.path
                );
                assert!(
                    !handlers(&state.body, "Retry").is_empty(),
                    "{} has no retry",
                    state.path
                );
            }
            let may_fail = is_task(&state.body)
                || state.body["Type"] == "Parallel"
                || state.body["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
                || state.body.get("ItemProcessor").is_some();
            if may_fail {
                let catchers = handlers(&state.body, "Catch");
                let last = catchers
                    .last()
                    .unwrap_or_else(|| panic!("{} has no catch", state.path));
                assert_eq!(errors(last), ["States.ALL"], "{}", state.path);
            }
        }
    }
}

#[test]
fn every_retry_is_bounded_and_jittered() {
    for machine in machines() {
        for state in machine.states() {
            for retrier in handlers(&state.body, "Retry") {
                assert_eq!(retrier["JitterStrategy"], "FULL", "{}", state.path);
                for bound in ["IntervalSeconds", "MaxAttempts", "MaxDelaySeconds"] {
                    assert!(retrier[bound].is_u64(), "{} lacks {bound}", state.path);
                }
            }
        }
    }
}

#[test]
fn a_task_times_out_a_little_after_its_function() {
    let host = template("host");
    let timeouts: BTreeMap<&str, u64> = resources(&host, "AWS::Serverless::Function")
        .into_iter()
        .map(|(name, function)| (name, function["Properties"]["Timeout"].as_u64().unwrap()))
        .collect();
    for machine in machines() {
        for (task, state) in machine.calls() {
            let function = timeouts[format!("{}Function", crate::documents::camel(&task)).as_str()];
            let state_timeout = state.body["TimeoutSeconds"].as_u64().unwrap();
            assert!(
                state_timeout > function,
                "{} gives up before its function",
                state.path
            );
            let is_callback = state.body["Resource"]
                .as_str()
                .unwrap()
                .ends_with(".waitForTaskToken");
            assert!(
                is_callback || state_timeout <= function + 60,
                "{} outlives its function by more than a minute",
                state.path
            );
        }
    }
}

#[test]
fn every_payload_has_the_fields_of_its_task() {
    let fields = lambdas::input_fields();
    let mut called = BTreeSet::new();
    for machine in machines() {
        for (task, state) in machine.calls() {
            let expected: BTreeSet<&str> = fields
                .get(task.as_str())
                .unwrap_or_else(|| panic!("{}: {task} takes no input", state.path))
                .iter()
                .map(String::as_str)
                .collect();
            let payload = state.body["Arguments"]["Payload"].as_object().unwrap();
            let given: BTreeSet<&str> = payload.keys().map(String::as_str).collect();
            assert_eq!(given, expected, "{}", state.path);
            called.insert(task);
        }
    }
    for task in fields.keys() {
        assert!(called.contains(*task), "no machine calls {task}");
    }
}

/// Names of the states that may follow.
pub(crate) fn successors(state: &Value) -> Vec<&str> {
    let mut next = Vec::new();
    next.extend(
        ["Next", "Default"]
            .iter()
            .filter_map(|field| state[*field].as_str()),
    );
    for field in ["Choices", "Catch"] {
        let rules = state[field].as_array();
        next.extend(
            rules
                .into_iter()
                .flatten()
                .filter_map(|rule| rule["Next"].as_str()),
        );
    }
    next
}

/// How often a choice lets a loop go round: the number in a condition on a counter.
pub(crate) fn counted_bound(state: &Value) -> Option<u64> {
    let rules = state["Choices"].as_array()?;
    rules.iter().find_map(|rule| {
        let condition = rule["Condition"].as_str()?;
        let words: Vec<&str> = condition.split_whitespace().collect();
        words.windows(3).find_map(|window| {
            let counts = ["calls", "polls", "looks", "runs"].iter().any(|counter| {
                window[0] == format!("$states.input.{counter}")
                    || window[0] == format!("${counter}")
            });
            (counts && ["<", ">="].contains(&window[1])).then(|| window[2].parse().ok())?
        })
    })
}

fn has_loop(scope: &Scope) -> bool {
    // Takes away states that nothing but taken states leads to, until nothing changes: a loop stays.
    let mut left: BTreeSet<&str> = scope
        .states
        .iter()
        .filter(|(_, state)| counted_bound(state).is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    loop {
        let reached: BTreeSet<&str> = left
            .iter()
            .flat_map(|name| successors(&scope.states[*name]))
            .collect();
        let still: BTreeSet<&str> = left
            .iter()
            .copied()
            .filter(|name| reached.contains(name))
            .collect();
        if still.len() == left.len() {
            return !left.is_empty();
        }
        left = still;
    }
}

#[test]
fn every_loop_passes_a_choice_that_counts() {
    for machine in machines() {
        for scope in machine.scopes() {
            assert!(!has_loop(&scope), "{} may loop for ever", scope.path);
        }
    }
}

#[test]
fn every_state_can_be_reached_and_every_way_leads_somewhere() {
    for machine in machines() {
        for scope in machine.scopes() {
            let mut reached = BTreeSet::from([scope.start.as_str()]);
            let mut ahead = vec![scope.start.as_str()];
            while let Some(name) = ahead.pop() {
                let state = scope
                    .states
                    .get(name)
                    .unwrap_or_else(|| panic!("{}: there is no state {name}", scope.path));
                ahead.extend(
                    successors(state)
                        .into_iter()
                        .filter(|next| reached.insert(next)),
                );
            }
            let all: BTreeSet<&str> = scope.states.keys().map(String::as_str).collect();
            assert_eq!(reached, all, "{}", scope.path);
        }
    }
}

/// Variables of the machine that an expression reads: `$name` without functions, parameters and
/// what Step Functions provides.
fn variables(expression: &str, known: &BTreeSet<&str>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in expression.split('$').skip(1) {
        let end = part
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(part.len());
        if known.contains(&part[..end]) {
            found.insert(part[..end].to_owned());
        }
    }
    found
}

fn assigned(machine: &Machine) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    walk(&machine.definition, &mut |value| {
        let assigned = value.get("Assign").and_then(Value::as_object);
        names.extend(
            assigned
                .into_iter()
                .flat_map(|fields| fields.keys().cloned()),
        );
    });
    names
}

#[test]
fn distributed_maps_keep_to_what_runs_everywhere() {
    for machine in machines() {
        assert_eq!(machine.definition["QueryLanguage"], "JSONata");
        for state in machine.states() {
            if state.body["ItemProcessor"]["ProcessorConfig"]["Mode"] != "DISTRIBUTED" {
                continue;
            }
            // The embedded AWS knows none of these on a distributed map, and takes the state's
            // input for its items.
            for missing in [
                "Output",
                "Assign",
                "ItemSelector",
                "ItemReader",
                "ResultWriter",
            ] {
                assert!(
                    state.body.get(missing).is_none(),
                    "{} has {missing}",
                    state.path
                );
            }
            assert_eq!(state.body["Items"], "{% $states.input %}", "{}", state.path);
            assert!(
                state.body["ToleratedFailurePercentage"].is_u64(),
                "{}",
                state.path
            );
            assert!(state.body["MaxConcurrency"].is_u64(), "{}", state.path);
        }
    }
}

#[test]
fn children_of_distributed_maps_read_no_variable_of_the_machine() {
    for machine in machines() {
        let names = assigned(&machine);
        let known: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        for scope in machine.scopes().iter().filter(|scope| scope.is_distributed) {
            for (name, state) in &scope.states {
                assert!(state.get("Assign").is_none(), "{} / {name}", scope.path);
                walk(state, &mut |value| {
                    let Some(expression) = value.as_str() else {
                        return;
                    };
                    let read = variables(expression, &known);
                    assert!(read.is_empty(), "{} / {name} reads {read:?}", scope.path);
                });
            }
        }
    }
}

#[test]
fn every_failure_of_the_harvester_is_told_and_cleaned_up() {
    let [harvester, cleanup] = machines();
    let scope = harvester.scopes().remove(0);
    for (name, state) in &scope.states {
        let path = state["Catch"]
            .as_array()
            .and_then(|catchers| catchers.last());
        let Some(next) = path.and_then(|catcher| catcher["Next"].as_str()) else {
            continue;
        };
        let expected = match name.as_str() {
            // Nothing is there yet.
            "Initialize" => "Refuse the run",
            "Clean up" => "Did the run succeed?",
            _ => "Clean up",
        };
        assert_eq!(next, expected, "{name}");
    }
    // Cleanup tells the recipients of it.
    let input = &scope.states["Clean up"]["Arguments"]["Input"];
    assert_eq!(input["failure"], "{% $failure %}");
    assert_eq!(scope.states["Send summary"]["Next"], "Clean up");
    assert_eq!(scope.states["Clean up"]["Next"], "Did the run succeed?");
    let scope = cleanup.scopes().remove(0);
    let told = &scope.states["Are the recipients told?"]["Choices"][0];
    assert_eq!(told["Next"], "Send summary");
    for before in ["Is the run clean?", "Close run"] {
        let ways = scope.states[before].to_string();
        assert!(ways.contains("Are the recipients told?"), "{before}");
    }
}

#[test]
fn nothing_keeps_cleanup_from_the_other_accounts_and_regions() {
    let [_, cleanup] = machines();
    for scope in cleanup.scopes() {
        for (name, state) in &scope.states {
            let path = format!("{} / {name}", scope.path);
            if state.get("ItemProcessor").is_some() {
                assert_eq!(state["ToleratedFailurePercentage"], 100, "{path}");
            }
            if scope.is_distributed && called_task(state).is_some() {
                let next = state["Catch"][0]["Next"].as_str().unwrap();
                assert_eq!(scope.states[next]["Type"], "Succeed", "{path}");
            }
        }
    }
    let outer = cleanup.scopes().remove(0);
    let failures: Vec<&str> = outer
        .states
        .values()
        .filter(|state| state["Type"] == "Fail")
        .filter_map(|state| state["Error"].as_str())
        .collect();
    assert_eq!(failures, ["CleanupIncomplete"]);
}
