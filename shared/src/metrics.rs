//! Metrics, in the embedded metric format: lines of a log that CloudWatch makes metrics of.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! Every value of a dimension is a metric of its own, and paid for. So runs are no dimension: the line
//! names its run, which logs can be searched for.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::ids::{DeploymentName, RunId};
use crate::outcome::Coverage;
use crate::run::Outcome;
use crate::status::InventoryStatus;

/// Namespace of all metrics.
pub const NAMESPACE: &str = "S3Insights";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Metric {
    /// Runs that ended, by outcome.
    Runs(Outcome, u64),
    /// Source buckets of a run that ended, by inventory status.
    Buckets(InventoryStatus, u64),
    /// Inventory files that were consolidated.
    Files(u64),
    /// Rows of them.
    Rows(u64),
    /// Bytes of the objects that they list.
    Bytes(u64),
    /// Seconds from the delivery of a file to its consolidation.
    ConsolidationLag(f64),
    /// Reports that are not what their manifest says.
    VerificationFailures(u64),
    /// Messages that failed too often and were kept.
    DeadLetters(u64),
}

impl Metric {
    /// Every metric's name, with the dimension it has beside `Deployment`.
    pub const NAMES: &'static [(&'static str, Option<&'static str>)] = &[
        ("Runs", Some("Outcome")),
        ("Buckets", Some("Status")),
        ("Files", None),
        ("Rows", None),
        ("Bytes", None),
        ("ConsolidationLag", None),
        ("VerificationFailures", None),
        ("DeadLetters", None),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Runs(..) => "Runs",
            Self::Buckets(..) => "Buckets",
            Self::Files(_) => "Files",
            Self::Rows(_) => "Rows",
            Self::Bytes(_) => "Bytes",
            Self::ConsolidationLag(_) => "ConsolidationLag",
            Self::VerificationFailures(_) => "VerificationFailures",
            Self::DeadLetters(_) => "DeadLetters",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Bytes(_) => "Bytes",
            Self::ConsolidationLag(_) => "Seconds",
            _ => "Count",
        }
    }

    fn value(self) -> Value {
        match self {
            Self::ConsolidationLag(seconds) => json!(seconds),
            Self::Runs(_, count)
            | Self::Buckets(_, count)
            | Self::Files(count)
            | Self::Rows(count)
            | Self::Bytes(count)
            | Self::VerificationFailures(count)
            | Self::DeadLetters(count) => json!(count),
        }
    }

    /// The dimension beside `Deployment`.
    fn dimension(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Runs(outcome, _) => Some(("Outcome", outcome.name())),
            Self::Buckets(status, _) => Some(("Status", status.name())),
            _ => None,
        }
    }
}

/// Metrics of a run that ended. All outcomes and statuses are there, so that the metrics of those
/// that did not occur say 0 and not nothing.
pub fn of_run(outcome: Outcome, coverage: &Coverage) -> Vec<Metric> {
    let outcomes = [Outcome::Complete, Outcome::Partial, Outcome::Failed];
    let runs = outcomes.map(|known| Metric::Runs(known, u64::from(known == outcome)));
    let buckets = InventoryStatus::ALL.iter().map(|status| {
        let count = coverage.get(status).copied().unwrap_or_default();
        Metric::Buckets(*status, count)
    });
    runs.into_iter().chain(buckets).collect()
}

/// The lines of a log, one JSON document each, that CloudWatch makes these metrics of. Metrics of the
/// same dimensions share a line. `run_id` is absent where no run is known.
pub fn lines(
    metrics: &[Metric],
    deployment: &DeploymentName,
    run_id: Option<&RunId>,
    now: Timestamp,
) -> Vec<String> {
    let mut rest = metrics;
    let mut lines = Vec::new();
    while let Some(first) = rest.first() {
        let same = rest
            .iter()
            .take_while(|metric| metric.dimension() == first.dimension())
            .count();
        let (together, others) = rest.split_at(same);
        lines.push(line(together, first.dimension(), deployment, run_id, now));
        rest = others;
    }
    lines
}

fn line(
    metrics: &[Metric],
    dimension: Option<(&str, &str)>,
    deployment: &DeploymentName,
    run_id: Option<&RunId>,
    now: Timestamp,
) -> String {
    let mut dimensions = vec!["Deployment"];
    let mut document = Map::new();
    document.insert("Deployment".to_owned(), json!(deployment));
    document.insert("run_id".to_owned(), json!(run_id));
    if let Some((name, value)) = dimension {
        dimensions.push(name);
        document.insert(name.to_owned(), json!(value));
    }
    let mut definitions = Vec::new();
    for metric in metrics {
        definitions.push(json!({ "Name": metric.name(), "Unit": metric.unit() }));
        document.insert(metric.name().to_owned(), metric.value());
    }
    document.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": now.as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [dimensions],
                "Metrics": definitions,
            }],
        }),
    );
    Value::Object(document).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(metrics: &[Metric]) -> Vec<Value> {
        let deployment = DeploymentName::try_from("insights").unwrap();
        let run_id = RunId::try_from("nightly").unwrap();
        let now = Timestamp::from_millisecond(1_740_787_200_123).unwrap();
        lines(metrics, &deployment, Some(&run_id), now)
            .iter()
            .map(|line| {
                assert!(!line.contains('\n'), "{line}");
                serde_json::from_str(line).unwrap()
            })
            .collect()
    }

    /// What the specification asks of a document.
    fn check(document: &Value) {
        let directives = document["_aws"]["CloudWatchMetrics"].as_array().unwrap();
        for directive in directives {
            let metrics = directive["Metrics"].as_array().unwrap();
            assert!((1..=100).contains(&metrics.len()));
            for metric in metrics {
                let value = &document[metric["Name"].as_str().unwrap()];
                assert!(value.is_number(), "{document}");
            }
            for set in directive["Dimensions"].as_array().unwrap() {
                let set = set.as_array().unwrap();
                assert!(set.len() <= 30);
                for name in set {
                    let value = document[name.as_str().unwrap()].as_str().unwrap();
                    assert!((1..=1024).contains(&value.len()), "{document}");
                }
            }
        }
    }

    #[test]
    fn metrics_of_the_same_dimensions_share_a_document() {
        let documents = documents(&[
            Metric::Files(1),
            Metric::Rows(12),
            Metric::Bytes(u64::MAX),
            Metric::ConsolidationLag(1.5),
        ]);
        let [document] = &documents[..] else {
            panic!("{documents:?}")
        };
        check(document);
        assert_eq!(
            *document,
            json!({
                "_aws": {
                    "Timestamp": 1_740_787_200_123_i64,
                    "CloudWatchMetrics": [{
                        "Namespace": "S3Insights",
                        "Dimensions": [["Deployment"]],
                        "Metrics": [
                            {"Name": "Files", "Unit": "Count"},
                            {"Name": "Rows", "Unit": "Count"},
                            {"Name": "Bytes", "Unit": "Bytes"},
                            {"Name": "ConsolidationLag", "Unit": "Seconds"},
                        ],
                    }],
                },
                "Deployment": "insights",
                "run_id": "nightly",
                "Files": 1,
                "Rows": 12,
                "Bytes": u64::MAX,
                "ConsolidationLag": 1.5,
            })
        );
    }

    #[test]
    fn a_run_tells_of_every_outcome_and_status() {
        let coverage = Coverage::from([(InventoryStatus::Done, 3)]);
        let documents = documents(&of_run(Outcome::Partial, &coverage));
        assert_eq!(documents.len(), 3 + InventoryStatus::ALL.len());
        documents.iter().for_each(check);
        let runs = |outcome: &str| {
            let found = documents
                .iter()
                .find(|document| document["Outcome"] == outcome);
            found.unwrap()["Runs"].clone()
        };
        assert_eq!(runs("partial"), 1);
        assert_eq!(runs("complete"), 0);
        let done = documents
            .iter()
            .find(|document| document["Status"] == "done");
        assert_eq!(done.unwrap()["Buckets"], 3);
    }

    #[test]
    fn names_are_those_of_the_metrics() {
        let all = [
            Metric::Runs(Outcome::Complete, 1),
            Metric::Buckets(InventoryStatus::Done, 1),
            Metric::Files(1),
            Metric::Rows(1),
            Metric::Bytes(1),
            Metric::ConsolidationLag(1.0),
            Metric::VerificationFailures(1),
            Metric::DeadLetters(1),
        ];
        let named: Vec<_> = all
            .iter()
            .map(|metric| (metric.name(), metric.dimension().map(|(name, _)| name)))
            .collect();
        assert_eq!(named, Metric::NAMES);
    }
}
