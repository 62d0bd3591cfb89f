//! The page as HTML.
//!
//! Names, messages, keys and queries come from outside. Before the template sees a text it is made
//! visible ([`visible`]) and cut to a length; the template escapes it besides. A page that would be
//! too long is rendered again with shorter texts and lists.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::Environment;
use minijinja::value::{Serde, Value as TemplateValue};
use sha2::{Digest as _, Sha256};

use super::Report;
use super::view::view;
use crate::summary::{shortened, visible};
use crate::templates;

/// Longest page of a run over up to 10,000 buckets, in bytes.
pub const MAX_BYTES: usize = 3_000_000;

/// Beyond 10,000 buckets a page may grow with them: all of them are in it, and texts cut ever
/// shorter would not make up for that.
const MAX_BYTES_PER_BUCKET: usize = MAX_BYTES / 10_000;

const TEMPLATE: &str = "page.html";
pub(super) const STYLE: &str = include_str!("page.css");
pub(super) const SCRIPT: &str = include_str!("page.js");

/// How much of everything is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Characters of each text.
    pub(super) characters: usize,
    /// Entries of each list, the one of all buckets aside.
    pub(super) entries: usize,
    /// Rows of each sample.
    pub(super) sample_rows: usize,
    /// Characters of each value of a sample.
    pub(super) sample_characters: usize,
    /// Characters of each query and of the input.
    pub(super) code: usize,
}

/// Ever less, until it fits.
pub(super) const LADDER: [Limits; 7] = [
    Limits {
        characters: 2_000,
        entries: 1_000,
        sample_rows: 10,
        sample_characters: 300,
        code: 20_000,
    },
    Limits {
        characters: 600,
        entries: 500,
        sample_rows: 10,
        sample_characters: 200,
        code: 8_000,
    },
    Limits {
        characters: 300,
        entries: 200,
        sample_rows: 10,
        sample_characters: 120,
        code: 4_000,
    },
    Limits {
        characters: 150,
        entries: 100,
        sample_rows: 5,
        sample_characters: 80,
        code: 2_000,
    },
    Limits {
        characters: 60,
        entries: 50,
        sample_rows: 3,
        sample_characters: 40,
        code: 500,
    },
    Limits {
        characters: 40,
        entries: 20,
        sample_rows: 1,
        sample_characters: 20,
        code: 200,
    },
    Limits {
        characters: 20,
        entries: 10,
        sample_rows: 0,
        sample_characters: 20,
        code: 100,
    },
];

static TEMPLATES: LazyLock<Environment<'static>> =
    LazyLock::new(|| templates::environment(&[(TEMPLATE, include_str!("page.html"))]));

pub(super) fn page(report: &Report<'_>) -> String {
    let most = MAX_BYTES.max(report.buckets.len() * MAX_BYTES_PER_BUCKET);
    let mut rendered = String::new();
    for limits in LADDER {
        rendered = render(report, limits);
        if rendered.len() <= most {
            break;
        }
    }
    rendered
}

fn render(report: &Report<'_>, limits: Limits) -> String {
    TEMPLATES
        .get_template(TEMPLATE)
        .and_then(|template| template.render(TemplateValue::from(Serde(view(report, limits)))))
        .expect("the template names only what every page has")
}

/// A text from outside as it may be shown.
pub(super) fn text(text: &str, characters: usize) -> String {
    // What is cut away need not be made visible first; one more tells that it is cut.
    let kept = text.char_indices().nth(characters + 1);
    let kept = kept.map_or(text, |(end, _)| &text[..end]);
    shortened(&visible(kept), characters)
}

/// Source of what is in the page, as its policy names it.
pub(super) fn hash(content: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(content)))
}

/// A text in lines, made visible but for its line ends and tabs, and whether it is cut.
pub(super) fn code(source: &str, characters: usize) -> (String, bool) {
    let lines: Vec<String> = source
        .lines()
        .map(|line| line.split('\t').map(visible).collect::<Vec<_>>().join("\t"))
        .collect();
    let whole = lines.join("\n");
    let is_cut = whole.chars().count() > characters;
    (shortened(&whole, characters), is_cut)
}
