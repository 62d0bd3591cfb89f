//! The real machines, read from `state-machines/`. What is a number there, retries, times and bounds,
//! is taken from them; what is order and choice is compared with them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use serde_json::{Map, Value};

static HARVESTER: LazyLock<Definition> =
    LazyLock::new(|| Definition::parse(include_str!("../../../state-machines/harvester.asl.json")));
static CLEANUP: LazyLock<Definition> =
    LazyLock::new(|| Definition::parse(include_str!("../../../state-machines/cleanup.asl.json")));

struct Definition {
    machine: Value,
    /// Every state by its name, which is one of its own in the whole machine.
    states: HashMap<String, Value>,
}

impl Definition {
    fn parse(text: &str) -> Self {
        let machine: Value = serde_json::from_str(text).expect("a machine is JSON");
        let scopes = scopes(&machine).into_iter();
        let states = scopes
            .flat_map(|(_, scope)| states(scope).clone())
            .collect();
        Self { machine, states }
    }
}

/// One of the two machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Machine {
    /// It takes a snapshot.
    Harvester,
    /// It removes what runs made for themselves.
    Cleanup,
}

/// How a state is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// Not at all: the state is a map, a parallel or the machine itself, and here its inside begins.
    Begins,
    /// It did what it is for.
    Goes,
    /// What it met is caught.
    Fails,
}

/// One step of an execution: from a state that takes time to the next one that does, or to an end.
/// Choices and passes in between take none.
pub type Step = (Machine, &'static str, How, &'static str);

/// Where the states of the machine itself begin.
pub(crate) const TOP: &str = "the machine";
/// Where they end after a state that says no more than that it is the last one.
pub(crate) const END: &str = "the end";

impl Machine {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Harvester, Self::Cleanup];

    fn definition(self) -> &'static Definition {
        match self {
            Self::Harvester => &HARVESTER,
            Self::Cleanup => &CLEANUP,
        }
    }

    /// A state by its name.
    pub(crate) fn state(self, name: &str) -> &'static Value {
        let state = self.definition().states.get(name);
        state.unwrap_or_else(|| panic!("{self:?} has no state {name:?}"))
    }

    /// What catches an error of a state.
    pub(crate) fn catcher(self, state: &str, error: &str) -> &'static Value {
        let mut catchers = self.state(state)["Catch"].as_array().into_iter().flatten();
        catchers
            .find(|catcher| {
                let names = catcher["ErrorEquals"].as_array().into_iter().flatten();
                let mut names = names.filter_map(Value::as_str);
                names.any(|name| name == error || name == "States.ALL")
            })
            .unwrap_or_else(|| panic!("{state:?} does not catch {error}"))
    }

    /// The number that a choice compares a variable of its input with.
    pub(crate) fn bound(self, choice: &str, variable: &str) -> i64 {
        let bounds: Vec<i64> = conditions(self.state(choice))
            .into_iter()
            .filter_map(|condition| {
                let (_, compared) = condition.split_once(&format!("{variable} "))?;
                let number = compared.trim_start_matches(['<', '>', '=', ' ']);
                number.split(' ').next()?.parse().ok()
            })
            .collect();
        match bounds[..] {
            [bound] => bound,
            _ => panic!("{choice:?} compares {variable} with {bounds:?}"),
        }
    }

    /// What decides, by state: of choices their conditions, of waits their seconds, of maps their mode.
    pub fn decisions(self) -> BTreeMap<&'static str, Vec<&'static str>> {
        let scopes = scopes(&self.definition().machine).into_iter();
        let states = scopes.flat_map(|(_, scope)| states(scope));
        states
            .filter_map(|(name, state)| {
                let decides = match text(&state["Type"]) {
                    "Choice" => conditions(state),
                    "Wait" => vec![text(&state["Seconds"])],
                    "Map" => vec![text(&state["ItemProcessor"]["ProcessorConfig"]["Mode"])],
                    _ => return None,
                };
                Some((name.as_str(), decides.into_iter().map(inner).collect()))
            })
            .collect()
    }

    /// Every step that the machine may take, as far as its conditions may hold.
    pub fn steps(self) -> BTreeSet<Step> {
        let mut steps = BTreeSet::new();
        for (outside, scope) in scopes(&self.definition().machine) {
            let start = text(&scope["StartAt"]);
            let mut add = |from, how, to| {
                let ends = ends(scope, to).into_iter();
                steps.extend(ends.map(|to| (self, from, how, to)));
            };
            add(outside, How::Begins, start);
            for (name, state) in states(scope).iter().filter(|(_, state)| takes_time(state)) {
                match state.get("Next") {
                    Some(next) => add(name.as_str(), How::Goes, text(next)),
                    None => add(name.as_str(), How::Goes, END),
                }
                for caught in state["Catch"].as_array().into_iter().flatten() {
                    add(name.as_str(), How::Fails, text(&caught["Next"]));
                }
            }
        }
        steps
    }
}

/// Sets of states, the machine's own and those inside of maps and parallels, with the name of the state
/// they are inside of.
fn scopes(machine: &Value) -> Vec<(&str, &Value)> {
    let mut scopes = vec![(TOP, machine)];
    let mut next = 0;
    while let Some((_, scope)) = scopes.get(next).copied() {
        next += 1;
        for (name, state) in states(scope) {
            let inside = state.get("ItemProcessor").into_iter();
            let branches = state["Branches"].as_array().into_iter().flatten();
            scopes.extend(inside.chain(branches).map(|scope| (name.as_str(), scope)));
        }
    }
    scopes
}

fn states(scope: &Value) -> &Map<String, Value> {
    scope["States"].as_object().expect("a machine has states")
}

fn text(value: &'static Value) -> &'static str {
    value.as_str().expect("names are texts")
}

fn takes_time(state: &'static Value) -> bool {
    matches!(text(&state["Type"]), "Task" | "Wait" | "Map" | "Parallel")
}

/// What a way through choices and passes leads to.
fn ends(scope: &'static Value, from: &'static str) -> BTreeSet<&'static str> {
    let mut ends = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut ahead = vec![from];
    while let Some(name) = ahead.pop() {
        let state = &scope["States"][name];
        let is_passed = matches!(state["Type"].as_str(), Some("Pass" | "Choice"));
        if !is_passed {
            ends.insert(name);
        } else if seen.insert(name) {
            let choices = state["Choices"].as_array().into_iter().flatten();
            let choices = choices.map(|choice| &choice["Next"]);
            let others = ["Next", "Default"]
                .into_iter()
                .filter_map(|field| state.get(field));
            ahead.extend(choices.chain(others).map(text));
        }
    }
    ends
}

/// The conditions of a choice, in their order.
fn conditions(choice: &'static Value) -> Vec<&'static str> {
    let choices = choice["Choices"].as_array().into_iter().flatten();
    choices.map(|choice| text(&choice["Condition"])).collect()
}

/// What is between the marks of an expression.
fn inner(expression: &'static str) -> &'static str {
    let inner = expression.strip_prefix("{% ");
    inner
        .and_then(|text| text.strip_suffix(" %}"))
        .unwrap_or(expression)
}

/// What is left of the retries of a state.
#[derive(Debug)]
pub(crate) struct Retries {
    retriers: &'static [Value],
    /// How often each was used.
    used: Vec<u32>,
}

impl Retries {
    pub(crate) fn of(state: &'static Value) -> Self {
        let retriers = state["Retry"].as_array().expect("a task is retried");
        Self {
            retriers,
            used: vec![0; retriers.len()],
        }
    }

    /// The longest pause before an error is tried again; `None` when it is not.
    pub(crate) fn after(&mut self, error: &str) -> Option<i64> {
        let names = |retrier: &Value| {
            let errors = retrier["ErrorEquals"]
                .as_array()
                .expect("a retrier names errors");
            errors.iter().any(|name| name == error)
        };
        let index = self.retriers.iter().position(names)?;
        let number = |field: &str| {
            let number = self.retriers[index][field].as_i64();
            number.unwrap_or_else(|| panic!("a retrier has {field}"))
        };
        let used = self.used[index];
        if i64::from(used) >= number("MaxAttempts") {
            return None;
        }
        let doubled = number("BackoffRate").saturating_pow(used);
        let pause = number("IntervalSeconds").saturating_mul(doubled);
        let longest = number("MaxDelaySeconds");
        self.used[index] += 1;
        Some(pause.min(longest))
    }
}
