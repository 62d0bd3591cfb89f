//! Summaries as text and as HTML, from what [`super::view`] shows of them.

use std::sync::LazyLock;

use minijinja::Environment;
use minijinja::value::{Serde, Value as TemplateValue};

use super::Summary;
use super::view::{LADDER, Limits, view};
use crate::templates;

/// Longest text or HTML part, in bytes. Mail programs cut messages off at about 100 KB.
pub const MAX_BYTES: usize = 90_000;

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    templates::environment(&[
        ("summary.txt", include_str!("summary.txt")),
        ("summary.html", include_str!("summary.html")),
    ])
});

pub(super) fn text(summary: &Summary) -> String {
    fit(summary, "summary.txt")
}

pub(super) fn html(summary: &Summary) -> String {
    fit(summary, "summary.html")
}

fn fit(summary: &Summary, template: &str) -> String {
    let mut rendered = String::new();
    for limits in LADDER {
        rendered = render(summary, template, limits);
        if rendered.len() <= MAX_BYTES {
            break;
        }
    }
    rendered
}

fn render(summary: &Summary, template: &str, limits: Limits) -> String {
    TEMPLATES
        .get_template(template)
        .and_then(|template| template.render(TemplateValue::from(Serde(view(summary, limits)))))
        .expect("the templates name only what every summary has")
}

/// A number with a comma between thousands.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of bytes in the unit that fits, with one digit after the point.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1_024 {
        return format!("{bytes} bytes");
    }
    let mut unit = 0;
    let mut whole = bytes;
    while whole >= 1_024 * 1_024 {
        whole /= 1_024;
        unit += 1;
    }
    format!(
        "{}.{} {}",
        whole / 1_024,
        whole % 1_024 * 10 / 1_024,
        UNITS[unit]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sizes_are_easy_to_read() {
        for (given, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(number(given), text);
        }
        for (given, text) in [
            (1_023, "1023 bytes"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (1 << 20, "1.0 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(bytes(given), text);
        }
    }
}
