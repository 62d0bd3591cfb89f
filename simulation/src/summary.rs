//! The summary as it is, but for its texts, which are not rendered.

use std::ops::Deref;

use real_shared::summary as real;
use serde::Serialize;

pub use real::{Records, Setting, earlier_run};

/// The summary of a run.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Summary(real::Summary);

impl Summary {
    /// Builds it of what is on record.
    pub fn build(records: Records<'_>, setting: &Setting) -> Self {
        Self(real::Summary::build(records, setting))
    }

    /// The subject of the mail.
    pub fn subject(&self) -> String {
        self.0.outcome.to_string()
    }

    /// The mail as text.
    pub fn text(&self) -> String {
        String::new()
    }

    /// The mail as HTML.
    pub fn html(&self) -> String {
        String::new()
    }
}

impl Deref for Summary {
    type Target = real::Summary;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
