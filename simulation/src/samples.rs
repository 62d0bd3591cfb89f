//! What the run table was asked to write, and what came of it here: one sample of each kind, to be
//! compared with another implementation of DynamoDB.

use std::collections::BTreeMap;

use crate::dynamodb::Write;
use crate::expression::Item;
use crate::world::State;

/// One request that writes, with what was there before and afterwards.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What is written, all or nothing.
    pub writes: Vec<Write>,
    /// Whether it is a transaction, which one write may be too.
    pub is_transaction: bool,
    /// The items before, in the order of the writes.
    pub before: Vec<Option<Item>>,
    /// Which of the conditions held.
    pub held: Vec<bool>,
    /// The items afterwards.
    pub after: Vec<Option<Item>>,
}

/// A sample of each kind.
pub(crate) type Samples = BTreeMap<String, Sample>;

impl Sample {
    /// Before a request, if samples are taken.
    pub(crate) fn begin(state: &State, writes: &[Write], is_transaction: bool) -> Option<Self> {
        state.samples.is_some().then(|| Self {
            writes: writes.to_vec(),
            is_transaction,
            before: items(state, writes),
            held: Vec::new(),
            after: Vec::new(),
        })
    }

    /// After it.
    pub(crate) fn end(sample: Option<Self>, state: &mut State, held: Vec<bool>) {
        let Some(mut sample) = sample else { return };
        sample.held = held;
        sample.after = items(state, &sample.writes);
        let samples = state.samples.as_mut().expect("they are taken");
        samples.entry(sample.kind()).or_insert(sample);
    }

    /// What held, the expressions, and which of the attributes that they name were there.
    fn kind(&self) -> String {
        let writes = self.writes.iter().zip(&self.before);
        let writes: Vec<String> = writes
            .map(|(write, before)| kind(write, before.as_ref()))
            .collect();
        format!("{:?}: {}", self.held, writes.join("; "))
    }
}

fn kind(write: &Write, before: Option<&Item>) -> String {
    let condition = write.condition.as_deref().unwrap_or_default();
    let is_named = |attribute: &str| {
        let alias = write.names.iter().find(|(_, name)| *name == attribute);
        let spelling = alias.map_or(attribute, |(alias, _)| alias.as_str());
        write.update.contains(spelling) || condition.contains(spelling)
    };
    let mut there: Vec<&str> = before
        .into_iter()
        .flat_map(|item| item.keys().map(String::as_str))
        .filter(|name| is_named(name))
        .collect();
    there.sort_unstable();
    let what = if write.item.is_some() {
        "put"
    } else {
        write.update.as_str()
    };
    format!("{what} if {condition} with {there:?}")
}

fn items(state: &State, writes: &[Write]) -> Vec<Option<Item>> {
    let items = writes.iter().map(|write| state.table.items.get(&write.key));
    items.map(Option::<&Item>::cloned).collect()
}
