//! Pages that list the catalogue. What stands around the lists is written by hand: for
//! `docs/analysis-techniques.md` in `analysis-techniques.md` here, for `docs/run-input.md` in the page.

use std::fmt::Write as _;

use shared::catalogue::{self, Kind, Parameter, Query, Topic};

use crate::generated;

/// Stands in the hand-written page where the queries go.
const HERE: &str = "<!-- the queries -->\n";

fn default(parameter: &Parameter) -> String {
    match (parameter.kind, parameter.default.as_str()) {
        (_, "") => "empty".to_owned(),
        (Kind::Bytes | Kind::Days, number) => number.to_owned(),
        (_, text) => format!("`{text}`"),
    }
}

fn section(query: &Query) -> String {
    let mut section = format!("### {}\n\n", query.title);
    let _ = writeln!(
        section,
        "`{}` · severity {} · counts {}\n\n{}\n\n{}\n",
        query.id,
        query.severity.as_str(),
        query.counts.as_str(),
        by_sentence(query.tells),
        by_sentence(&format!("What to do: {}", lower_first(query.action))),
    );
    if !query.parameters.is_empty() {
        section.push_str("| Parameter | Takes | Default | Meaning |\n|---|---|---|---|\n");
        for parameter in &query.parameters {
            let _ = writeln!(
                section,
                "| `{}` | {} | {} | {} |",
                parameter.name,
                parameter.kind.expected(),
                default(parameter),
                parameter.tells
            );
        }
        section.push('\n');
    }
    let _ = writeln!(section, "```sql\n{}\n```\n", query.sql);
    section
}

/// One sentence on each line, as in all documents.
fn by_sentence(text: &str) -> String {
    text.replace(". ", ".\n")
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_lowercase);
    // `S3 Inventory …` stays as it is.
    if letters.clone().next().is_some_and(char::is_lowercase) {
        first.chain(letters).collect()
    } else {
        text.to_owned()
    }
}

#[test]
fn the_page_of_analysis_techniques_is_not_stale() {
    let by_hand = generated::text("tests/tests/catalogue/analysis-techniques.md");
    let mut queries = String::new();
    for topic in Topic::ALL {
        let _ = writeln!(queries, "## {}\n", topic.title());
        let of_topic = catalogue::all().iter().filter(|query| query.topic == topic);
        queries.extend(of_topic.map(section));
    }
    let (before, after) = by_hand.split_once(HERE).expect("the queries have a place");
    let note = "<!-- Made of shared/queries/*.sql and tests/tests/catalogue/analysis-techniques.md; make it \
                anew with `UPDATE_GENERATED=1 cargo test -p tests --test catalogue`. -->\n";
    let page = format!("{note}{before}{}{after}", queries.trim_end());
    generated::check(
        "docs/analysis-techniques.md",
        &format!("{}\n", page.trim_end()),
    );
}

#[test]
fn the_catalogue_in_the_page_of_the_run_input_is_not_stale() {
    let mut table = "| Id | Tells | Counts | Parameters |\n|---|---|---|---|\n".to_owned();
    for query in catalogue::all() {
        let parameters: Vec<String> = query
            .parameters
            .iter()
            .map(|parameter| format!("`{}`: {}", parameter.name, default(parameter)))
            .collect();
        let _ = writeln!(
            table,
            "| `{}` | {} | {} | {} |",
            query.id,
            query.tells,
            query.counts.as_str(),
            parameters.join(", ")
        );
    }
    let (start, end) = (
        "<!-- the catalogue -->\n",
        "<!-- the end of the catalogue -->\n",
    );
    let page = generated::text("docs/run-input.md");
    let (before, rest) = page.split_once(start).expect("the catalogue has a place");
    let (_, after) = rest.split_once(end).expect("its place ends");
    let page = format!("{before}{start}\n{table}\n{end}{after}");
    generated::check("docs/run-input.md", &page);
}
