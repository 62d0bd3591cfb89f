//! Deliberate faults of the protocol. Each is done to the requests of the run table on their way, one
//! to those of S3, as if its source said so; the simulation has to find every one.

use real_dynamodb::types::AttributeValue;

use crate::dynamodb::{Key, Write};

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// A file is counted whether or not it was counted before.
    FilesAreCountedAgain,
    /// The last file is counted like any other, and its bucket does not become `done`.
    LastFileIsOneOfMany,
    /// Any file makes its bucket `done`.
    FirstFileIsTheLast,
    /// Buckets become `done` also after the run was frozen.
    FreezeIsIgnored,
    /// Nobody freezes a run.
    NobodyFreezes,
    /// A bucket is ended again that has come to an end.
    EndsAreNotFinal,
    /// A bucket is begun again that was begun before.
    BucketsAreBegunTwice,
    /// A bucket takes every report that comes.
    EveryReportIsTaken,
    /// A report is told by the key of its manifest, not by its content.
    ReportsAreToldByTheirKey,
    /// A repeated claim of a report sets the count of its files anew.
    PendingStartsAgain,
    /// Files are recorded after their messages were sent.
    FilesAreRecordedAfterTheirMessages,
    /// A record of a file replaces the one that is there.
    FilesAreRecordedAnew,
    /// The token is stored after the look whether all is settled.
    TokenIsStoredAfterTheLook,
    /// The run is read as it was before the last writes: the token is looked for before the counter
    /// changes.
    RunsAreReadBeforeTheyChange,
    /// That a message about a bucket was given up is not recorded.
    DeadLettersAreNotTold,
    /// The counter of the run does not follow the buckets.
    CounterIsForgotten,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::FilesAreCountedAgain,
        Self::LastFileIsOneOfMany,
        Self::FirstFileIsTheLast,
        Self::FreezeIsIgnored,
        Self::NobodyFreezes,
        Self::EndsAreNotFinal,
        Self::BucketsAreBegunTwice,
        Self::EveryReportIsTaken,
        Self::ReportsAreToldByTheirKey,
        Self::PendingStartsAgain,
        Self::FilesAreRecordedAfterTheirMessages,
        Self::FilesAreRecordedAnew,
        Self::TokenIsStoredAfterTheLook,
        Self::RunsAreReadBeforeTheyChange,
        Self::DeadLettersAreNotTold,
        Self::CounterIsForgotten,
    ];

    /// Does it to a write.
    pub(crate) fn change(self, write: &mut Write) {
        let sort = write.key.1.as_str();
        match self {
            Self::FilesAreCountedAgain if sort.starts_with("file#") => {
                drop_condition(write, "done = :no");
            }
            Self::LastFileIsOneOfMany => {
                drop_condition(write, " AND files_pending > :one");
            }
            Self::FirstFileIsTheLast => {
                if let Some(condition) = &mut write.condition {
                    *condition = condition
                        .replace("files_pending > :one", "files_pending = :no_number")
                        .replace("files_pending = :one", "files_pending > :none");
                }
                let nothing = AttributeValue::Bool(false);
                write.values.insert(":no_number".to_owned(), nothing);
            }
            Self::FreezeIsIgnored => {
                drop_condition(write, " AND attribute_not_exists(frozen_at)");
            }
            Self::NobodyFreezes if write.update.contains("frozen_at") => {
                "REMOVE nothing".clone_into(&mut write.update);
            }
            Self::EndsAreNotFinal if write.condition.as_deref() == Some("#status = :from") => {
                write.condition = None;
            }
            Self::BucketsAreBegunTwice => {
                drop_condition(write, "#status = :discovered AND ");
            }
            Self::EveryReportIsTaken => {
                drop_condition(
                    write,
                    " AND (attribute_not_exists(report) OR (report = :report AND report_md5 = :md5))",
                );
            }
            Self::ReportsAreToldByTheirKey => {
                drop_condition(write, " AND report_md5 = :md5");
            }
            Self::PendingStartsAgain => {
                write.update = write
                    .update
                    .replace("if_not_exists(files_pending, :files)", ":files");
            }
            Self::FilesAreRecordedAnew if sort.starts_with("file#") && write.item.is_some() => {
                write.condition = None;
            }
            Self::DeadLettersAreNotTold if write.update.contains("dead_letter") => {
                "REMOVE nothing".clone_into(&mut write.update);
            }
            Self::CounterIsForgotten if sort == "run" => {
                write.update = write
                    .update
                    .replace("ADD in_progress :by", "REMOVE nothing");
            }
            _ => {}
        }
    }

    /// Whether a write is kept back until its task has ended.
    pub(crate) fn defers(self, write: &Write) -> bool {
        match self {
            Self::FilesAreRecordedAfterTheirMessages => {
                write.key.1.starts_with("file#") && write.item.is_some()
            }
            Self::TokenIsStoredAfterTheLook => write.update.contains("task_token"),
            _ => false,
        }
    }

    /// Whether an item is read without consistency.
    pub(crate) fn reads_lag(self, key: &Key) -> bool {
        self == Self::RunsAreReadBeforeTheyChange && key.1 == "run"
    }
}

fn drop_condition(write: &mut Write, part: &str) {
    if let Some(condition) = &mut write.condition {
        let without = condition.replace(part, "");
        write.condition = (!without.is_empty()).then_some(without);
    }
}
