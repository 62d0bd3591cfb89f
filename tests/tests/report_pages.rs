//! Report pages of the sample runs. What they do in a browser is tested by `.ci/browser`.

use serde_json::Value;
use shared::report::MAX_BYTES;
use shared::run::Outcome;
use tests::{HOSTILE, HOSTILE_MARK, SampleRun};

const DATA: &str = r#"<script id="data" type="application/json">"#;

/// What stands between two texts, and the page without it.
fn cut_out<'a>(page: &'a str, begin: &str, end: &str) -> (&'a str, String) {
    let (head, rest) = page
        .split_once(begin)
        .unwrap_or_else(|| panic!("no {begin}"));
    let (inner, tail) = rest.split_once(end).unwrap_or_else(|| panic!("no {end}"));
    (inner, format!("{head}{begin}…{end}{tail}"))
}

/// The page without its style and its script, and with its data in lines.
fn readable(page: &str) -> String {
    let (style, page) = cut_out(page, "<style>", "</style>");
    let (script, page) = cut_out(&page, "<script>", "</script>");
    assert!(style.contains("prefers-color-scheme: dark") && style.contains("@media print"));
    assert!(script.contains(r#""use strict""#));
    let (_, page) = cut_out(&page, "script-src '", "'");
    let (_, page) = cut_out(&page, "style-src '", "'");
    let (data, page) = cut_out(&page, DATA, "</script>");
    let data: Value = serde_json::from_str(data).expect("the data are JSON");
    let lines: Vec<String> = data
        .as_object()
        .expect("the data are lists by name")
        .iter()
        .flat_map(|(name, list)| {
            let entries = list.as_array().expect("a list").iter();
            std::iter::once(name.clone()).chain(entries.map(|entry| format!("  {entry}")))
        })
        .collect();
    page.replace(
        &format!("{DATA}…"),
        &format!("{DATA}\n{}\n", lines.join("\n")),
    )
}

fn page(sample: anyhow::Result<SampleRun>) -> String {
    let sample = sample.expect("the samples are sound");
    sample.page().expect("every sample has a page")
}

#[test]
fn a_complete_run() {
    insta::assert_snapshot!("complete", readable(&page(SampleRun::complete())));
}

#[test]
fn a_partial_run() {
    insta::assert_snapshot!("partial", readable(&page(SampleRun::partial())));
}

#[test]
fn a_failed_run() {
    insta::assert_snapshot!("failed", readable(&page(SampleRun::failed())));
}

#[test]
fn an_empty_run() {
    insta::assert_snapshot!("empty", readable(&page(SampleRun::empty())));
}

#[test]
fn a_smoke_run() {
    insta::assert_snapshot!("smoke", readable(&page(SampleRun::smoke())));
}

#[test]
fn a_page_says_complete_of_complete_runs_only() {
    for sample in SampleRun::all().unwrap() {
        let summary = sample.summary().unwrap();
        let page = readable(&sample.page().unwrap()).replace("autocomplete", "");
        let is_complete = summary.outcome == Outcome::Complete
            && !summary.is_smoke_test
            && sample.as_of.is_none();
        let (_, rest) = page.split_once(r#"<span class="badge">"#).unwrap();
        let (badge, _) = rest.split_once('<').unwrap();
        assert_eq!(badge == "complete", is_complete, "{}", sample.name);
        if !is_complete {
            for claim in ["complete", "All of "] {
                assert!(!page.contains(claim), "{}: {claim}", sample.name);
            }
        }
        for shortfall in summary.shortfalls() {
            assert!(page.contains(&shortfall), "{}: {shortfall}", sample.name);
        }
    }
}

#[test]
fn what_comes_from_outside_cannot_break_out() {
    let page = page(SampleRun::hostile());
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script").count(), 2);
    for tag in ["<style", "</style", "</head>", "<body", "</body"] {
        assert_eq!(page.matches(tag).count(), 1, "{tag}");
    }
    for never in [
        "</title></style>",
        "<img",
        "<!--",
        "]]>",
        "\u{202e}",
        "\u{2028}",
        "\u{1b}",
        "\r",
    ] {
        assert!(!page.contains(never), "{never:?}");
    }
    // Everywhere it may come from, it is there as text.
    let marks = page.matches(HOSTILE_MARK).count();
    assert!(marks > 100, "{marks}");
    assert!(HOSTILE.contains(HOSTILE_MARK));
    assert!(page.contains("]]&gt; {{ 7*7 }}") && !page.contains("]]&gt; 49"));
}

/// The policy of the page refuses these; a page that had them would look broken.
#[test]
fn nothing_in_a_page_is_against_its_policy() {
    for sample in SampleRun::all().unwrap() {
        let page = readable(&sample.page().unwrap());
        for refused in [
            " style=",
            " src=",
            "<link",
            "<base",
            "<form",
            "<iframe",
            "javascript:",
        ] {
            let found = page.lines().find(|line| {
                line.contains(refused) && line.starts_with('<') && !line.contains("&lt;")
            });
            assert_eq!(found, None, "{}: {refused}", sample.name);
        }
    }
    let script = include_str!("../../shared/src/report/page.js");
    for unsafe_word in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "setAttribute(\"style\"",
    ] {
        assert!(!script.contains(unsafe_word), "{unsafe_word}");
    }
}

#[test]
fn ten_thousand_buckets_are_a_page_of_bounded_size() {
    let page = page(SampleRun::large());
    assert!(page.len() <= MAX_BYTES, "{}", page.len());
    let (data, _) = cut_out(&page, DATA, "</script>");
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["buckets"].as_array().unwrap().len(), 10_000);
    assert_eq!(data["accounts"].as_array().unwrap().len(), 300);
    assert_eq!(data["prefixes"].as_array().unwrap().len(), 200);
}
