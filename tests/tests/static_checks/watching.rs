//! Alarms and the dashboard look at metrics that there are.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::metrics::{Metric, NAMESPACE};
use shared::run::Outcome;
use shared::status::InventoryStatus;

use crate::documents::{resources, template};

/// Metrics of AWS's own that are looked at, with their dimension.
const OF_AWS: [(&str, &str, &[&str]); 3] = [
    (
        "AWS/States",
        "StateMachineArn",
        &[
            "ExecutionsStarted",
            "ExecutionsSucceeded",
            "ExecutionsFailed",
            "ExecutionsTimedOut",
            "ExecutionsAborted",
        ],
    ),
    (
        "AWS/SQS",
        "QueueName",
        &[
            "ApproximateNumberOfMessagesVisible",
            "ApproximateAgeOfOldestMessage",
        ],
    ),
    (
        "AWS/Lambda",
        "FunctionName",
        &["Duration", "Errors", "Throttles"],
    ),
];

/// A metric that something looks at, with the names of its dimensions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Watched {
    namespace: String,
    name: String,
    dimensions: BTreeSet<String>,
}

fn dimensions(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Every metric that there is to look at.
fn known() -> BTreeSet<Watched> {
    let ours = Metric::NAMES.iter().map(|(name, dimension)| Watched {
        namespace: NAMESPACE.to_owned(),
        name: (*name).to_owned(),
        dimensions: ["Deployment"]
            .into_iter()
            .chain(*dimension)
            .map(str::to_owned)
            .collect(),
    });
    let of_aws = OF_AWS.iter().flat_map(|(namespace, dimension, names)| {
        names.iter().map(move |name| Watched {
            namespace: (*namespace).to_owned(),
            name: (*name).to_owned(),
            dimensions: dimensions(&[dimension]),
        })
    });
    ours.chain(of_aws).collect()
}

/// A metric as a template's alarm names it.
fn watched(metric: &Value) -> Watched {
    let named = metric["Dimensions"]
        .as_array()
        .expect("the template says so");
    Watched {
        namespace: metric["Namespace"]
            .as_str()
            .expect("the template says so")
            .to_owned(),
        name: metric["MetricName"]
            .as_str()
            .expect("the template says so")
            .to_owned(),
        dimensions: named
            .iter()
            .map(|dimension| {
                dimension["Name"]
                    .as_str()
                    .expect("the template says so")
                    .to_owned()
            })
            .collect(),
    }
}

/// The metrics that an alarm looks at.
fn of_alarm(properties: &Value) -> Vec<Watched> {
    match properties["Metrics"].as_array() {
        Some(metrics) => metrics
            .iter()
            .filter_map(|metric| metric.get("MetricStat"))
            .map(|stat| watched(&stat["Metric"]))
            .collect(),
        None => vec![watched(properties)],
    }
}

/// The rows of the dashboard's graphs: namespace, name, then names and values of dimensions.
fn rows_of_dashboard() -> Vec<Vec<String>> {
    let host = template("host");
    let dashboards = resources(&host, "AWS::CloudWatch::Dashboard");
    let [(_, dashboard)] = &dashboards[..] else {
        panic!("one dashboard, not {}", dashboards.len())
    };
    let body = dashboard["Properties"]["DashboardBody"]["Fn::Sub"]
        .as_str()
        .expect("the template says so");
    let body: Value = serde_json::from_str(body).expect("the body is JSON");
    let widgets = body["widgets"].as_array().expect("the template says so");
    let rows = widgets.iter().flat_map(|widget| {
        widget["properties"]["metrics"]
            .as_array()
            .expect("the template says so")
    });
    rows.map(|row| {
        let texts = row.as_array().expect("the template says so").iter();
        texts.filter_map(Value::as_str).map(str::to_owned).collect()
    })
    .collect()
}

fn of_dashboard() -> BTreeSet<Watched> {
    rows_of_dashboard()
        .iter()
        .map(|row| Watched {
            namespace: row[0].clone(),
            name: row[1].clone(),
            dimensions: row[2..].iter().step_by(2).cloned().collect(),
        })
        .collect()
}

#[test]
fn every_alarm_tells_somebody_and_looks_at_a_metric_that_there_is() {
    let host = template("host");
    let alarms = resources(&host, "AWS::CloudWatch::Alarm");
    assert!(alarms.len() >= 6, "only {} alarms", alarms.len());
    for (name, alarm) in alarms {
        let properties = &alarm["Properties"];
        assert_eq!(
            properties["AlarmActions"],
            json!([{ "Ref": "AlarmTopic" }]),
            "{name}"
        );
        assert!(properties["AlarmDescription"].is_string(), "{name}");
        // Runs are rare: what is not measured is not wrong.
        assert_eq!(properties["TreatMissingData"], "notBreaching", "{name}");
        let metrics = of_alarm(properties);
        assert!(!metrics.is_empty(), "{name}");
        for metric in metrics {
            assert!(known().contains(&metric), "{name}: {metric:?}");
        }
    }
}

#[test]
fn every_metric_of_ours_is_on_the_dashboard_and_nothing_else() {
    let shown = of_dashboard();
    for metric in &shown {
        assert!(known().contains(metric), "{metric:?}");
    }
    for metric in known().iter().filter(|known| known.namespace == NAMESPACE) {
        assert!(shown.contains(metric), "{metric:?} is not shown");
    }
    let values = |dimension: &str| -> BTreeSet<String> {
        let rows = rows_of_dashboard();
        let places = rows.iter().filter_map(|row| {
            let place = row.iter().position(|text| text == dimension)?;
            row.get(place + 1).cloned()
        });
        places.collect()
    };
    let statuses: Vec<&str> = InventoryStatus::ALL.map(InventoryStatus::name).into();
    assert_eq!(values("Status"), dimensions(&statuses));
    let outcomes = [Outcome::Complete, Outcome::Partial, Outcome::Failed].map(Outcome::name);
    assert_eq!(values("Outcome"), dimensions(&outcomes));
}

#[test]
fn every_function_and_machine_is_traced_and_may_be() {
    let host = template("host");
    assert_eq!(host["Globals"]["Function"]["Tracing"], "Active");
    let mut traced = 0;
    for (name, machine) in resources(&host, "AWS::Serverless::StateMachine") {
        assert_eq!(machine["Properties"]["Tracing"]["Enabled"], true, "{name}");
    }
    for kind in ["AWS::Serverless::Function", "AWS::Serverless::StateMachine"] {
        for (name, body) in resources(&host, kind) {
            let role = body["Properties"]["Role"]["Fn::GetAtt"]
                .as_str()
                .expect("the template says so");
            let role = role.strip_suffix(".Arn").expect("the template says so");
            let text = host["Resources"][role].to_string();
            assert!(text.contains("xray:PutTraceSegments"), "{name}: {role}");
            traced += 1;
        }
    }
    assert!(traced >= 20, "only {traced} were found");
}
