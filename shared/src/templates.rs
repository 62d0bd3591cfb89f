//! The template engine as the mail and the report page use it.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, UndefinedBehavior};

use crate::summary::{bytes, number};

/// An environment with these templates, by name. A name that ends with `.html` has values escaped.
pub(crate) fn environment(templates: &[(&'static str, &'static str)]) -> Environment<'static> {
    let mut environment = Environment::new();
    // Optional entries may be asked for, but not shown when they are missing.
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    environment.set_syntax(syntax.build().expect("the delimiters are the usual ones"));
    environment.add_filter("number", number);
    environment.add_filter("bytes", bytes);
    environment.add_filter("pad", |text: Value, width: usize| {
        format!("{:<width$}", text.to_string())
    });
    environment.add_filter("right", |text: Value, width: usize| {
        format!("{:>width$}", text.to_string())
    });
    for (name, source) in templates {
        environment
            .add_template(name, source)
            .expect("the templates are part of this program");
    }
    environment
}
