//! The tasks: one module each with its `Input`, `Output` and `handle`, and one thin binary each. A
//! handler fetches, has `shared` decide, and writes. Every task may be repeated; its module says why
//! that is safe.

pub mod await_inventories;
pub mod check_query;
pub mod close_run;
pub mod configure_inventories;
pub mod create_destination;
pub mod dead_letter_keeper;
pub mod delete_destination;
pub mod discover_buckets;
pub mod empty_destination;
pub mod find_leftovers;
pub mod initialize;
pub mod inventory_file_consolidator;
pub mod inventory_object_processor;
pub mod publish_snapshot;
pub mod refresh_statuses;
pub mod remove_inventories;
pub mod run_query;
pub mod seed_smoke_test;
pub mod send_summary;

mod platform;
pub mod queue;
mod serving;
mod settling;

pub use platform::Platform;
pub use serving::serve;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::json;

/// The fields of every state machine task's input, by the task's name: what the machines must put
/// into a payload, no more and no less.
pub fn input_fields() -> BTreeMap<&'static str, Vec<String>> {
    BTreeMap::from([
        ("initialize", fields_of::<initialize::Input>()),
        ("discover-buckets", fields_of::<discover_buckets::Input>()),
        (
            "create-destination",
            fields_of::<create_destination::Input>(),
        ),
        (
            "configure-inventories",
            fields_of::<configure_inventories::Input>(),
        ),
        ("seed-smoke-test", fields_of::<seed_smoke_test::Input>()),
        ("await-inventories", fields_of::<await_inventories::Input>()),
        ("refresh-statuses", fields_of::<refresh_statuses::Input>()),
        ("publish-snapshot", fields_of::<publish_snapshot::Input>()),
        ("run-query", fields_of::<run_query::Input>()),
        ("check-query", fields_of::<check_query::Input>()),
        ("send-summary", fields_of::<send_summary::Input>()),
        (
            "remove-inventories",
            fields_of::<remove_inventories::Input>(),
        ),
        ("empty-destination", fields_of::<empty_destination::Input>()),
        (
            "delete-destination",
            fields_of::<delete_destination::Input>(),
        ),
        ("close-run", fields_of::<close_run::Input>()),
        ("find-leftovers", fields_of::<find_leftovers::Input>()),
    ])
}

/// Field names of a type that refuses unknown fields, as its own error message lists them.
fn fields_of<T: DeserializeOwned>() -> Vec<String> {
    let refusal = serde_json::from_value::<T>(json!({ "": null }))
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    refusal
        .split('`')
        .skip(3)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_task_lists_its_fields() {
        let fields = super::input_fields();
        assert_eq!(fields["await-inventories"], ["run_id", "task_token"]);
        assert_eq!(fields["seed-smoke-test"], ["run_id"]);
        assert!(fields.values().all(|fields| !fields.is_empty()));
    }
}
