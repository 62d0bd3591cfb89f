//! The machines and templates of the repository as values.

use std::path::PathBuf;

use serde_json::{Map, Value, json};
use serde_yaml_ng::Value as Yaml;

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of a file of the workspace.
pub(crate) fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A state machine.
pub(crate) struct Machine {
    /// `harvester` or `cleanup`.
    pub(crate) name: &'static str,
    /// Its definition.
    pub(crate) definition: Value,
}

/// Both state machines.
pub(crate) fn machines() -> [Machine; 2] {
    ["harvester", "cleanup"].map(|name| Machine {
        name,
        definition: serde_json::from_str(&text(&format!("state-machines/{name}.asl.json")))
            .unwrap_or_else(|error| panic!("{name}: {error}")),
    })
}

/// States that share a namespace: those of the machine itself, of one map's items or of one branch.
#[derive(Clone)]
pub(crate) struct Scope {
    /// The machine, and the state that holds the scope.
    pub(crate) path: String,
    /// Whether each item is an execution of its own.
    pub(crate) is_distributed: bool,
    /// The state that is entered first.
    pub(crate) start: String,
    /// The states by name.
    pub(crate) states: Map<String, Value>,
}

/// A state with the scope it stands in.
pub(crate) struct State {
    /// The path of the scope and the name of the state, for messages.
    pub(crate) path: String,
    /// Name.
    pub(crate) name: String,
    /// The state.
    pub(crate) body: Value,
}

impl Machine {
    /// All scopes, outermost first.
    pub(crate) fn scopes(&self) -> Vec<Scope> {
        let mut found = Vec::new();
        collect(self.name, false, &self.definition, &mut found);
        found
    }

    /// All states of all scopes.
    pub(crate) fn states(&self) -> Vec<State> {
        let in_scope = |scope: Scope| {
            scope.states.into_iter().map(move |(name, body)| State {
                path: format!("{} / {name}", scope.path),
                name,
                body,
            })
        };
        self.scopes().into_iter().flat_map(in_scope).collect()
    }

    /// All tasks that call a function, with the kebab-case name of the task.
    pub(crate) fn calls(&self) -> Vec<(String, State)> {
        let states = self.states().into_iter();
        states
            .filter_map(|state| Some((called_task(&state.body)?, state)))
            .collect()
    }
}

fn collect(path: &str, is_distributed: bool, definition: &Value, found: &mut Vec<Scope>) {
    let states = definition["States"]
        .as_object()
        .expect("a scope has states")
        .clone();
    let start = definition["StartAt"]
        .as_str()
        .expect("a scope has a start")
        .to_owned();
    found.push(Scope {
        path: path.to_owned(),
        is_distributed,
        start,
        states: states.clone(),
    });
    for (name, state) in &states {
        let inner = format!("{path} / {name}");
        if let Some(processor) = state.get("ItemProcessor") {
            let is_distributed = processor["ProcessorConfig"]["Mode"] == "DISTRIBUTED";
            collect(&inner, is_distributed, processor, found);
        }
        for branch in state
            .get("Branches")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            collect(&inner, false, branch, found);
        }
    }
}

/// The task that a state calls: `${ConfigureInventoriesFunctionArn}` is `configure-inventories`.
pub(crate) fn called_task(state: &Value) -> Option<String> {
    let substitution = state["Arguments"]["FunctionName"].as_str()?;
    let name = substitution
        .strip_prefix("${")?
        .strip_suffix("FunctionArn}")?;
    Some(kebab(name))
}

/// `ConfigureInventories` as `configure-inventories`.
pub(crate) fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
    }
    kebab
}

/// `configure-inventories` as `ConfigureInventories`.
pub(crate) fn camel(task: &str) -> String {
    task.split('-').map(capitalised).collect()
}

/// `configure-inventories` as `Configure inventories`.
pub(crate) fn sentence(task: &str) -> String {
    capitalised(&task.replace('-', " "))
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .chain(letters)
        .collect()
}

/// A template, its functions written out: `!Sub x` is `{"Fn::Sub": "x"}`.
pub(crate) fn template(name: &str) -> Value {
    let path = format!("cfn/{name}.yaml");
    let yaml: Yaml =
        serde_yaml_ng::from_str(&text(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    without_tags(&yaml)
}

/// All templates that make resources of the platform, by name.
pub(crate) fn templates() -> [(&'static str, Value); 3] {
    ["host", "inventory-destination", "member-account"].map(|name| (name, template(name)))
}

fn without_tags(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => json!(value),
        Yaml::Number(value) => value
            .as_i64()
            .map_or_else(|| json!(value.as_f64()), |value| json!(value)),
        Yaml::String(value) => json!(value),
        Yaml::Sequence(values) => values.iter().map(without_tags).collect(),
        Yaml::Mapping(pairs) => pairs
            .iter()
            .map(|(key, value)| {
                (
                    key.as_str().expect("keys are text").to_owned(),
                    without_tags(value),
                )
            })
            .collect::<Map<_, _>>()
            .into(),
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let function = match tag.trim_start_matches('!') {
                "Ref" => "Ref".to_owned(),
                "Condition" => "Condition".to_owned(),
                other => format!("Fn::{other}"),
            };
            json!({ function: without_tags(&tagged.value) })
        }
    }
}

/// The resources of a template that have a type.
pub(crate) fn resources<'a>(template: &'a Value, of_type: &str) -> Vec<(&'a str, &'a Value)> {
    let all = template["Resources"]
        .as_object()
        .expect("a template has resources");
    all.iter()
        .filter(|(_, resource)| resource["Type"] == of_type)
        .map(|(name, resource)| (name.as_str(), resource))
        .collect()
}

/// Calls `visit` on every value inside `value`, itself included.
pub(crate) fn walk<'a>(value: &'a Value, visit: &mut impl FnMut(&'a Value)) {
    visit(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        Value::Object(fields) => fields.values().for_each(|field| walk(field, visit)),
        _ => {}
    }
}

/// A value that may stand alone or in a list.
pub(crate) fn one_or_many(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().collect(),
        other => vec![other],
    }
}
