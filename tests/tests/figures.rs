//! The tables of `docs/scale.md` and `docs/costs.md` are what the measurements and the prices make.

use std::path::{Path, PathBuf};

use tests::costs::{self, Price};
use tests::scale::{self, Measurement};

const BEGIN: &str = "<!-- generated from here -->\n";
const END: &str = "<!-- generated up to here -->\n";

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(docs(name)).unwrap_or_else(|error| panic!("docs/{name}: {error}"))
}

fn measured() -> Vec<Measurement> {
    serde_json::from_str(&read("scale.json")).expect("docs/scale.json holds measurements")
}

/// Holds the generated part of a page against what it would be made now.
#[track_caller]
fn check(page: &str, tables: &str) {
    let text = read(page);
    let (head, rest) = text.split_once(BEGIN).expect("a generated part begins");
    let (_, tail) = rest.split_once(END).expect("a generated part ends");
    let made = format!("{head}{BEGIN}\n{tables}\n{END}{tail}");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(docs(page), made).expect("the page can be written");
    } else {
        assert!(
            text == made,
            "docs/{page} is stale; make it anew with \
             `UPDATE_GENERATED=1 cargo test -p tests --test figures` and commit it"
        );
    }
}

#[test]
fn the_table_of_scale_shows_what_was_measured() {
    check("scale.md", &scale::tables(&measured()));
}

#[test]
fn the_table_of_costs_is_computed_from_what_was_measured() {
    let prices: Vec<Price> =
        serde_yaml_ng::from_str(&read("prices.yaml")).expect("docs/prices.yaml holds prices");
    let tables = costs::tables(&measured(), &prices).expect("all that is needed was measured");
    check("costs.md", &tables);
}

/// Budget: as many buckets more as one likes, and no payload and no history is larger for it.
#[test]
fn payloads_and_histories_do_not_grow_with_buckets() {
    let measured = measured();
    let of = |name: &str| measured.iter().find(|one| one.case == name).unwrap();
    let few = of("buckets-10");
    for many in measured
        .iter()
        .filter(|one| one.case.starts_with("buckets-"))
    {
        // Room for the digits of a number and the length of a run id.
        assert!(many.payload_bytes <= few.payload_bytes + 64, "{many:#?}");
        assert!(many.history_events < 1_000, "{many:#?}");
    }
}
