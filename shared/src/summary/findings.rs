//! Findings: the queries of a run with what they found, the worst first.

use serde::{Deserialize, Serialize};

use super::{Summary, links};
use crate::catalogue::Severity;
use crate::ids::Region;
use crate::run::{Query, QueryState};
use crate::sample::Sample;
use crate::status::Reason;

/// A query with its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryResult {
    /// Its number, from 0 in the order of the input.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// What it tells, for queries of the catalogue.
    pub tells: Option<String>,
    /// How bad it is when it finds something, for queries of the catalogue.
    pub severity: Option<Severity>,
    /// Its SQL; empty when it was not made ready.
    pub sql: String,
    /// Where it stands.
    pub state: QueryState,
    /// Rows of its result; absent when it has none or they are too many to count.
    pub rows: Option<u64>,
    /// Its first rows; absent when it found none.
    pub sample: Option<Sample>,
    /// The query in the Athena console, which keeps it for 45 days.
    pub console_link: Option<String>,
    /// `s3://` location of its result.
    pub result_location: Option<String>,
    /// Why it failed.
    pub reason: Option<Reason>,
}

impl QueryResult {
    pub(super) fn of(query: Query, region: &Region) -> Self {
        Self {
            number: query.number,
            name: query.name,
            tells: query.tells,
            severity: query.severity,
            sql: query.sql,
            state: query.state,
            rows: query.rows,
            sample: query.sample.filter(|sample| !sample.rows.is_empty()),
            console_link: query.execution_id.map(|id| links::query(region, &id)),
            result_location: query.result_location,
            reason: query.reason,
        }
    }

    /// Whether it ran and found nothing.
    pub fn is_empty(&self) -> bool {
        self.state == QueryState::Succeeded && self.rows == Some(0)
    }

    /// The smaller, the sooner it should be read. Nobody knows what a query without a result would
    /// have found. SQL of the user's own is taken for medium: somebody wanted to know.
    fn rank(&self) -> usize {
        let severity = self.severity.unwrap_or(Severity::Medium) as usize;
        match self.state {
            QueryState::Succeeded if self.is_empty() => 100 + severity,
            QueryState::Succeeded => 1 + severity,
            _ => 0,
        }
    }
}

impl Summary {
    /// The queries, the worst first: those without a result, then by severity, and those that found
    /// nothing last.
    pub fn findings(&self) -> Vec<&QueryResult> {
        let mut findings: Vec<&QueryResult> = self.queries.iter().collect();
        findings.sort_by_key(|query| (query.rank(), query.number));
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first() {
        use QueryState::{Failed, Succeeded};
        let query = |number: u32, severity: Option<Severity>, state, rows| QueryResult {
            number,
            name: String::new(),
            tells: None,
            severity,
            sql: String::new(),
            state,
            rows,
            sample: None,
            console_link: None,
            result_location: None,
            reason: None,
        };
        let mut ranked = [
            query(0, Some(Severity::High), Succeeded, Some(0)),
            query(1, Some(Severity::Info), Succeeded, Some(9)),
            query(2, None, Succeeded, Some(9)),
            query(3, Some(Severity::High), Succeeded, None),
            query(4, Some(Severity::Low), Succeeded, Some(1)),
            query(5, Some(Severity::Info), Failed, None),
        ];
        ranked.sort_by_key(QueryResult::rank);
        assert_eq!(ranked.map(|query| query.number), [5, 3, 2, 4, 1, 0]);
    }
}
