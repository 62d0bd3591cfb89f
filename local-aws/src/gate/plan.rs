//! The plan of faults, and which request meets which.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Faults for everything that functions ask AWS for. The same seed gives the same request of an
/// operation the same fault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan {
    /// Starts the choice.
    pub seed: u64,
    /// Asked in this order for each request; the first that chooses it counts.
    #[serde(default)]
    pub rules: Vec<FaultRule>,
    /// Faults of the notifications that SNS puts into queues.
    #[serde(default)]
    pub notifications: NotificationFaults,
    /// Faults of what state machines ask for: functions, DynamoDB, other machines.
    #[serde(default)]
    pub machines: MachineFaults,
    /// Share of the messages, from 0 to 1, that a queue gives to a second receiver while the first still
    /// works on them.
    #[serde(default)]
    pub received_twice: f64,
    /// Ends a function after so many seconds, if its own timeout is longer.
    #[serde(default)]
    pub function_seconds: Option<u64>,
}

/// One kind of fault for some requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// Name of the service in signatures, such as `dynamodb` or `states`; all when absent.
    #[serde(default)]
    pub service: Option<String>,
    /// Operation, such as `UpdateItem`; where requests name none, `METHOD /path`. All when absent.
    #[serde(default)]
    pub operation: Option<String>,
    /// Share of the requests, from 0 to 1.
    pub rate: f64,
    /// No more than so many faults; without bound when absent.
    #[serde(default)]
    pub at_most: Option<u64>,
    /// What happens.
    pub kind: FaultKind,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Refused for too many requests, in the words of the service.
    Throttle,
    /// Status 500.
    Error500,
    /// Status 503.
    Error503,
    /// Passed this many milliseconds later.
    Delay(u64),
    /// The connection ends and nothing was done.
    DropBefore,
    /// It is done and the connection ends without the answer.
    DropAfter,
    /// The calling function is killed and nothing was done.
    KillBefore,
    /// It is done and the calling function is killed.
    KillAfter,
    /// It is done and the calling function stands still, until its timeout ends it.
    HangAfter,
    /// The connection stays open, nothing is done, and no answer comes.
    Silence,
    /// A read of DynamoDB that does not ask for consistency is answered as the same one was a moment
    /// ago. Where there was none, it goes through.
    StaleRead,
}

impl FaultKind {
    /// Name in counts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Throttle => "throttle",
            Self::Error500 => "error500",
            Self::Error503 => "error503",
            Self::Delay(_) => "delay",
            Self::DropBefore => "drop_before",
            Self::DropAfter => "drop_after",
            Self::KillBefore => "kill_before",
            Self::KillAfter => "kill_after",
            Self::HangAfter => "hang_after",
            Self::Silence => "silence",
            Self::StaleRead => "stale_read",
        }
    }
}

/// Shares, from 0 to 1, of the notifications that meet a fault on their way from SNS to a queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotificationFaults {
    /// Never arrive.
    pub lost: f64,
    /// Arrive twice.
    pub duplicated: f64,
    /// Arrive up to `late_seconds` later, so after those that were sent behind them.
    pub late: f64,
    /// Longest delay of a late one.
    pub late_seconds: f64,
}

/// Shares, from 0 to 1, of the calls of state machines that meet a fault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MachineFaults {
    /// Refused for too many requests.
    pub refused: f64,
    /// Done, while the answer is lost on the way.
    pub answer_lost: f64,
}

/// A plan at work.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    plan: FaultPlan,
    /// Requests so far, by service and operation.
    numbers: HashMap<(String, String), u64>,
    /// Faults so far, by rule.
    by_rule: Vec<u64>,
    /// Faults that were injected, by kind.
    pub(crate) injected: BTreeMap<String, u64>,
}

impl Decisions {
    pub(crate) fn new(plan: FaultPlan) -> Self {
        Self {
            by_rule: vec![0; plan.rules.len()],
            plan,
            ..Self::default()
        }
    }

    /// Whether any request can meet a fault.
    pub(crate) fn any(&self) -> bool {
        !self.plan.rules.is_empty()
    }

    /// Takes away the faults; what was counted stays.
    pub(crate) fn clear(&mut self) {
        self.plan.rules.clear();
    }

    /// The fault of the next request of an operation.
    pub(crate) fn next(&mut self, service: &str, operation: &str) -> Option<Fault> {
        let number = self
            .numbers
            .entry((service.to_owned(), operation.to_owned()))
            .or_default();
        *number += 1;
        for (index, (rule, used)) in self.plan.rules.iter().zip(&mut self.by_rule).enumerate() {
            let fits = |wanted: &Option<String>, found: &str| {
                wanted.as_deref().is_none_or(|wanted| wanted == found)
            };
            if fits(&rule.service, service)
                && fits(&rule.operation, operation)
                && rule.at_most.is_none_or(|most| *used < most)
                && share(self.plan.seed, index, service, operation, *number) < rule.rate
            {
                *used += 1;
                return Some(Fault {
                    kind: rule.kind,
                    rule: index,
                });
            }
        }
        None
    }

    /// Counts a fault that happened.
    pub(crate) fn count(&mut self, fault: Fault) {
        *self
            .injected
            .entry(fault.kind.name().to_owned())
            .or_default() += 1;
    }

    /// Takes back a fault that could not happen, for another request.
    pub(crate) fn spare(&mut self, fault: Fault) {
        if let Some(used) = self.by_rule.get_mut(fault.rule) {
            *used = used.saturating_sub(1);
        }
    }
}

/// A fault that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// Which rule chose it.
    rule: usize,
}

/// A number from 0 to 1 that belongs to one request and one rule.
fn share(seed: u64, rule: usize, service: &str, operation: &str, number: u64) -> f64 {
    let hash = Sha256::digest(format!("{seed}|{rule}|{service}|{operation}|{number}"));
    let first = [hash[0], hash[1], hash[2], hash[3]];
    f64::from(u32::from_be_bytes(first)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(service: Option<&str>, rate: f64, kind: FaultKind) -> FaultRule {
        FaultRule {
            service: service.map(str::to_owned),
            operation: None,
            rate,
            at_most: None,
            kind,
        }
    }

    fn plan(seed: u64, rules: Vec<FaultRule>) -> Decisions {
        Decisions::new(FaultPlan {
            seed,
            rules,
            ..FaultPlan::default()
        })
    }

    fn chosen(seed: u64) -> Vec<usize> {
        let mut decisions = plan(seed, vec![rule(None, 0.1, FaultKind::Throttle)]);
        (0..10_000)
            .filter(|_| decisions.next("sqs", "SendMessage").is_some())
            .collect()
    }

    #[test]
    fn a_seed_chooses_about_the_wanted_share_and_the_same_requests_every_time() {
        let found = chosen(7);
        assert!((850..1_150).contains(&found.len()), "{}", found.len());
        assert_eq!(found, chosen(7));
        assert_ne!(found, chosen(8));
    }

    #[test]
    fn other_operations_in_between_change_nothing() {
        let mut decisions = plan(7, vec![rule(None, 0.1, FaultKind::Throttle)]);
        let found: Vec<usize> = (0..10_000)
            .filter(|_| {
                decisions.next("sqs", "DeleteMessage");
                decisions.next("sqs", "SendMessage").is_some()
            })
            .collect();
        assert_eq!(found, chosen(7));
    }

    #[test]
    fn the_first_rule_that_fits_counts_and_no_more_often_than_allowed() {
        let mut once = rule(Some("s3"), 1.0, FaultKind::KillAfter);
        once.at_most = Some(1);
        let mut decisions = plan(1, vec![once, rule(None, 1.0, FaultKind::Error500)]);
        let mut next = |service, operation| {
            let fault = decisions.next(service, operation);
            fault.map(|fault| fault.kind)
        };
        assert_eq!(next("sqs", "SendMessage"), Some(FaultKind::Error500));
        assert_eq!(next("s3", "GET /a"), Some(FaultKind::KillAfter));
        assert_eq!(next("s3", "GET /a"), Some(FaultKind::Error500));
        decisions.clear();
        assert_eq!(decisions.next("s3", "GET /a"), None);
    }

    #[test]
    fn a_fault_that_could_not_happen_is_left_for_another_request() {
        let mut once = rule(None, 1.0, FaultKind::KillAfter);
        once.at_most = Some(1);
        let mut decisions = plan(1, vec![once]);
        let fault = decisions.next("s3", "GET /a").unwrap();
        assert_eq!(decisions.next("s3", "GET /b"), None);
        decisions.spare(fault);
        assert_eq!(decisions.next("s3", "GET /c"), Some(fault));
        decisions.count(fault);
        assert_eq!(decisions.injected["kill_after"], 1);
    }
}
