//! DynamoDB as the run table sees it: requests with the builders of the SDK, conditions and updates
//! evaluated, transactions whole or not at all, reads that lag where consistency is not asked for.

use std::collections::{BTreeMap, HashMap};

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use real_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use real_dynamodb::types::error::TransactionCanceledException;
use real_dynamodb::types::{
    AttributeValue, CancellationReason, TransactWriteItem, Update, WriteRequest,
};

use crate::checks;
use crate::expression::{Item, Placeholders, holds, updated};
use crate::samples::Sample;
use crate::world::{Fate, State, World};

/// Key of an item: `pk` and `sk`.
pub type Key = (String, String);

/// The items of the run table.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) items: BTreeMap<Key, Item>,
    /// What was there before writes that a reader who does not ask for consistency may not see yet.
    lagging: BTreeMap<Key, Option<Item>>,
}

impl Table {
    /// Replicas have caught up.
    pub(crate) fn settle(&mut self) {
        self.lagging.clear();
    }
}

/// Writes an item, or removes it, and sees that what must hold still does.
fn write(state: &mut State, key: Key, after: Item) {
    let before = state.table.items.insert(key.clone(), after);
    state
        .table
        .lagging
        .entry(key.clone())
        .or_insert_with(|| before.clone());
    checks::after_write(state, &key, before.as_ref());
}

/// An error of the service, with its code.
#[derive(Debug)]
pub struct StoreError(ErrorMetadata);

impl std::fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::error::Error for StoreError {}

impl ProvideErrorMetadata for StoreError {
    fn meta(&self) -> &ErrorMetadata {
        &self.0
    }
}

type Failed<E = StoreError> = SdkError<E, HttpResponse>;

fn metadata(code: &str) -> ErrorMetadata {
    ErrorMetadata::builder()
        .code(code)
        .message("simulated")
        .build()
}

fn answer(status: u16) -> HttpResponse {
    let status = StatusCode::try_from(status).expect("it is a status");
    HttpResponse::new(status, SdkBody::empty())
}

fn failed(code: &str) -> Failed {
    SdkError::service_error(StoreError(metadata(code)), answer(400))
}

/// What becomes of a request, told as the SDK tells it.
fn before_it(fate: Fate) -> Result<(), Failed> {
    match fate {
        Fate::Throttled => Err(failed("ProvisionedThroughputExceededException")),
        _ => Ok(()),
    }
}

fn after_it<T>(fate: Fate, answer: T) -> Result<T, Failed> {
    match fate {
        Fate::AnswerLost => Err(failed("InternalServerError")),
        _ => Ok(answer),
    }
}

/// The client.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) world: World,
}

impl Client {
    fn request(&self) -> Request {
        Request {
            world: self.world.clone(),
            key: None,
            item: None,
            update: String::new(),
            condition: None,
            names: HashMap::new(),
            values: HashMap::new(),
            consistent: false,
            index: false,
            writes: Vec::new(),
            puts: Vec::new(),
        }
    }

    /// `PutItem`
    pub fn put_item(&self) -> PutItem {
        PutItem(self.request())
    }

    /// `GetItem`
    pub fn get_item(&self) -> GetItem {
        GetItem(self.request())
    }

    /// `UpdateItem`
    pub fn update_item(&self) -> UpdateItem {
        UpdateItem(self.request())
    }

    /// `Query`
    pub fn query(&self) -> Query {
        Query(self.request())
    }

    /// `TransactWriteItems`
    pub fn transact_write_items(&self) -> TransactWriteItems {
        TransactWriteItems(self.request())
    }

    /// `BatchWriteItem`
    pub fn batch_write_item(&self) -> BatchWriteItem {
        BatchWriteItem(self.request())
    }
}

#[derive(Debug)]
struct Request {
    world: World,
    key: Option<Item>,
    item: Option<Item>,
    update: String,
    condition: Option<String>,
    names: HashMap<String, String>,
    values: Item,
    consistent: bool,
    index: bool,
    writes: Vec<TransactWriteItem>,
    puts: Vec<WriteRequest>,
}

fn key_of(item: &Item) -> Key {
    let text = |name: &str| item[name].as_s().expect("keys are texts").clone();
    (text("pk"), text("sk"))
}

/// The builder methods that several requests share.
macro_rules! builders {
    ($request:ident: $($method:ident),*) => {
        impl $request {
            /// The table; there is one.
            #[must_use]
            pub fn table_name(self, _: &str) -> Self {
                self
            }
            $(builders!(@ $method);)*
        }
    };
    (@ set_key) => {
        /// The key.
        #[must_use]
        pub fn set_key(mut self, key: Option<Item>) -> Self {
            self.0.key = key;
            self
        }
    };
    (@ set_item) => {
        /// The item.
        #[must_use]
        pub fn set_item(mut self, item: Option<Item>) -> Self {
            self.0.item = item;
            self
        }
    };
    (@ update_expression) => {
        /// What changes.
        #[must_use]
        pub fn update_expression(mut self, expression: impl Into<String>) -> Self {
            self.0.update = expression.into();
            self
        }
    };
    (@ condition_expression) => {
        /// Under which condition.
        #[must_use]
        pub fn condition_expression(mut self, expression: impl Into<String>) -> Self {
            self.0.condition = Some(expression.into());
            self
        }
    };
    (@ expression_attribute_names) => {
        /// What a name stands for.
        #[must_use]
        pub fn expression_attribute_names(
            mut self,
            placeholder: impl Into<String>,
            name: impl Into<String>,
        ) -> Self {
            self.0.names.insert(placeholder.into(), name.into());
            self
        }
    };
    (@ expression_attribute_values) => {
        /// What a value stands for.
        #[must_use]
        pub fn expression_attribute_values(
            mut self,
            placeholder: impl Into<String>,
            value: real_dynamodb::types::AttributeValue,
        ) -> Self {
            self.0.values.insert(placeholder.into(), value);
            self
        }
    };
    (@ set_expression_attribute_values) => {
        /// What all values stand for.
        #[must_use]
        pub fn set_expression_attribute_values(mut self, values: Option<Item>) -> Self {
            self.0.values = values.unwrap_or_default();
            self
        }
    };
    (@ consistent_read) => {
        /// Whether the newest state is asked for.
        #[must_use]
        pub fn consistent_read(mut self, consistent: bool) -> Self {
            self.0.consistent = consistent;
            self
        }
    };
}

/// `PutItem`
#[derive(Debug)]
pub struct PutItem(Request);
builders!(PutItem: set_item, condition_expression);

/// `GetItem`
#[derive(Debug)]
pub struct GetItem(Request);
builders!(GetItem: set_key, consistent_read);

/// `UpdateItem`
#[derive(Debug)]
pub struct UpdateItem(Request);
builders!(
    UpdateItem: set_key, update_expression, condition_expression, expression_attribute_names,
    expression_attribute_values, set_expression_attribute_values
);

/// `Query`
#[derive(Debug)]
pub struct Query(Request);
builders!(Query: expression_attribute_names, expression_attribute_values, consistent_read);

/// `TransactWriteItems`
#[derive(Debug)]
pub struct TransactWriteItems(Request);

/// `BatchWriteItem`
#[derive(Debug)]
pub struct BatchWriteItem(Request);

/// One item written under a condition.
#[derive(Debug, Clone)]
pub struct Write {
    /// Its `pk` and `sk`.
    pub key: Key,
    /// The whole item of a put; an update has none.
    pub item: Option<Item>,
    /// Empty for a put.
    pub update: String,
    /// `None` if there is none.
    pub condition: Option<String>,
    /// What names stand for.
    pub names: HashMap<String, String>,
    /// What values stand for.
    pub values: Item,
}

impl Write {
    fn holds(&self, state: &State) -> bool {
        let given = Placeholders {
            names: Some(&self.names),
            values: Some(&self.values),
        };
        let item = state.table.items.get(&self.key);
        self.condition
            .as_ref()
            .is_none_or(|condition| holds(condition, item, given))
    }

    fn apply(&self, state: &mut State) {
        let after = if let Some(item) = &self.item {
            item.clone()
        } else {
            let given = Placeholders {
                names: Some(&self.names),
                values: Some(&self.values),
            };
            let before = state.table.items.get(&self.key).cloned();
            let before = before.unwrap_or_else(|| {
                HashMap::from([
                    ("pk".to_owned(), AttributeValue::S(self.key.0.clone())),
                    ("sk".to_owned(), AttributeValue::S(self.key.1.clone())),
                ])
            });
            updated(&self.update, &before, given)
        };
        write(state, self.key.clone(), after);
    }

    pub(crate) fn perform(&self, state: &mut State) -> bool {
        let holds = self.holds(state);
        if holds {
            self.apply(state);
        }
        holds
    }

    fn describe(&self) -> String {
        let what = if self.item.is_some() {
            "put"
        } else {
            &self.update
        };
        let mut text = format!("{} {}: {what}", self.key.0, self.key.1);
        let mut values: Vec<_> = self.values.iter().collect();
        values.sort_by_key(|(name, _)| *name);
        for (name, value) in values {
            let value = match value {
                AttributeValue::S(text) | AttributeValue::N(text) => text.clone(),
                AttributeValue::Bool(value) => value.to_string(),
                AttributeValue::M(fields) => match fields.get("code") {
                    Some(AttributeValue::S(code)) => code.clone(),
                    _ => "a map".to_owned(),
                },
                other => format!("{other:?}"),
            };
            text.extend([" ", name, "=", &value]);
        }
        text
    }
}

/// A write of one item, as `PutItem` and `UpdateItem` do it.
async fn write_one(world: World, mut write: Write) -> Result<(), Failed> {
    let fate = world.turn("Write", || write.describe()).await;
    before_it(fate)?;
    let mut state = world.state();
    if let Some(mutation) = state.mutation {
        if mutation.defers(&write) {
            let current = state.current;
            state.deferred.push((current, write));
            return Ok(());
        }
        mutation.change(&mut write);
    }
    let sample = Sample::begin(&state, std::slice::from_ref(&write), false);
    let mut held = write.perform(&mut state);
    Sample::end(sample, &mut state, vec![held]);
    if fate == Fate::Repeated {
        // The SDK sent it again, as it had no answer.
        held = write.perform(&mut state);
    }
    if !held {
        state.note(|| "  condition failed".to_owned());
        return Err(failed("ConditionalCheckFailedException"));
    }
    after_it(fate, ())
}

impl PutItem {
    /// Sends it.
    pub async fn send(self) -> Result<(), Failed> {
        let item = self.0.item.expect("the item is set");
        let write = Write {
            key: key_of(&item),
            item: Some(item),
            update: String::new(),
            condition: self.0.condition,
            names: self.0.names,
            values: self.0.values,
        };
        write_one(self.0.world, write).await
    }
}

impl UpdateItem {
    /// Sends it.
    pub async fn send(self) -> Result<(), Failed> {
        let write = Write {
            key: key_of(&self.0.key.expect("the key is set")),
            item: None,
            update: self.0.update,
            condition: self.0.condition,
            names: self.0.names,
            values: self.0.values,
        };
        write_one(self.0.world, write).await
    }
}

/// The answer to `GetItem`.
#[derive(Debug)]
pub struct GetItemOutput {
    /// The item, if there is one.
    pub item: Option<Item>,
}

impl GetItem {
    /// Sends it.
    pub async fn send(self) -> Result<GetItemOutput, Failed> {
        let key = key_of(&self.0.key.expect("the key is set"));
        let fate = self
            .0
            .world
            .turn("GetItem", || format!("{} {}", key.0, key.1))
            .await;
        before_it(fate)?;
        let mut state = self.0.world.state();
        let consistent = self.0.consistent
            && state
                .mutation
                .is_none_or(|mutation| !mutation.reads_lag(&key));
        let item = read(&mut state, &key, consistent);
        drop(state);
        after_it(fate, GetItemOutput { item })
    }
}

/// An item as a reader sees it.
fn read(state: &mut State, key: &Key, consistent: bool) -> Option<Item> {
    if !consistent && state.table.lagging.contains_key(key) && state.rng.bool() {
        return state.table.lagging[key].clone();
    }
    state.table.items.get(key).cloned()
}

impl Query {
    /// The index; there is one.
    #[must_use]
    pub fn index_name(mut self, _: &str) -> Self {
        self.0.index = true;
        self
    }

    /// Which items are asked for; the two queries of the run table.
    #[must_use]
    pub fn key_condition_expression(mut self, expression: impl Into<String>) -> Self {
        self.0.condition = Some(expression.into());
        self
    }

    /// The order. The caller is simulated with few runs, of which any order will do.
    #[must_use]
    pub fn scan_index_forward(self, _: bool) -> Self {
        self
    }

    /// All pages.
    #[must_use]
    pub fn into_paginator(self) -> Self {
        self
    }

    /// All items of all pages.
    #[must_use]
    pub fn items(self) -> Self {
        self
    }

    /// Sends it with the first item that is asked for.
    pub fn send(self) -> Items {
        Items {
            request: Some(self.0),
            found: Vec::new().into_iter(),
        }
    }
}

/// The items that a query finds.
#[derive(Debug)]
pub struct Items {
    request: Option<Request>,
    found: std::vec::IntoIter<Item>,
}

impl Items {
    /// The next one.
    pub async fn next(&mut self) -> Option<Result<Item, Failed>> {
        if let Some(request) = self.request.take() {
            match find(request).await {
                Ok(found) => self.found = found.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
        self.found.next().map(Ok)
    }
}

async fn find(request: Request) -> Result<Vec<Item>, Failed> {
    let text = |name: &str| request.values[name].as_s().expect("keys are texts").clone();
    let range = if request.index {
        None
    } else {
        assert_eq!(
            request.condition.as_deref(),
            Some("pk = :pk AND begins_with(sk, :prefix)")
        );
        Some((text(":pk"), text(":prefix")))
    };
    let describe = || {
        range
            .as_ref()
            .map_or("runs".to_owned(), |(pk, sk)| format!("{pk} {sk}"))
    };
    let fate = request.world.turn("Query", describe).await;
    before_it(fate)?;
    let mut state = request.world.state();
    let keys: Vec<Key> = if let Some((pk, prefix)) = &range {
        state
            .table
            .items
            .range((pk.clone(), prefix.clone())..)
            .map(|(key, _)| key)
            .take_while(|(found, sk)| found == pk && sk.starts_with(prefix.as_str()))
            .cloned()
            .collect()
    } else {
        let keys = state.table.items.keys();
        keys.filter(|(_, sk)| sk == "run").cloned().collect()
    };
    let consistent = request.consistent && !request.index;
    let found = keys
        .iter()
        .filter_map(|key| read(&mut state, key, consistent))
        .collect();
    drop(state);
    after_it(fate, found)
}

impl TransactWriteItems {
    /// What is written, all or nothing.
    #[must_use]
    pub fn set_transact_items(mut self, items: Option<Vec<TransactWriteItem>>) -> Self {
        self.0.writes = items.unwrap_or_default();
        self
    }

    /// Sends it. The SDK's own repetition of a transaction changes nothing, since it has a token.
    pub async fn send(self) -> Result<(), Failed<TransactWriteItemsError>> {
        let mut writes: Vec<Write> = self
            .0
            .writes
            .into_iter()
            .map(|item| of_update(item.update.expect("transactions update")))
            .collect();
        let describe = || {
            let writes: Vec<String> = writes.iter().map(Write::describe).collect();
            writes.join("; ")
        };
        let fate = self.0.world.turn("TransactWriteItems", describe).await;
        let error = |code: &str| {
            let error = TransactWriteItemsError::generic(metadata(code));
            SdkError::service_error(error, answer(400))
        };
        if fate == Fate::Throttled {
            return Err(cancelled(["TransactionConflict"].into_iter()));
        }
        let mut state = self.0.world.state();
        if let Some(mutation) = state.mutation {
            for write in &mut writes {
                mutation.change(write);
            }
        }
        let sample = Sample::begin(&state, &writes, true);
        let held: Vec<bool> = writes.iter().map(|write| write.holds(&state)).collect();
        if held.contains(&false) {
            Sample::end(sample, &mut state, held.clone());
            state.note(|| format!("  cancelled, conditions {held:?}"));
            return Err(cancelled(held.into_iter().map(|held| {
                if held {
                    "None"
                } else {
                    "ConditionalCheckFailed"
                }
            })));
        }
        state.in_transaction = true;
        for write in &writes {
            write.apply(&mut state);
        }
        state.in_transaction = false;
        Sample::end(sample, &mut state, held);
        checks::after_transaction(&mut state, &writes[0].key.0);
        if fate == Fate::AnswerLost {
            return Err(error("InternalServerError"));
        }
        Ok(())
    }
}

fn of_update(update: Update) -> Write {
    Write {
        key: key_of(&update.key),
        item: None,
        update: update.update_expression,
        condition: update.condition_expression,
        names: update.expression_attribute_names.unwrap_or_default(),
        values: update.expression_attribute_values.unwrap_or_default(),
    }
}

fn cancelled<'a>(codes: impl Iterator<Item = &'a str>) -> Failed<TransactWriteItemsError> {
    let reasons = codes
        .map(|code| CancellationReason::builder().code(code).build())
        .collect();
    let exception = TransactionCanceledException::builder()
        .set_cancellation_reasons(Some(reasons))
        .meta(metadata("TransactionCanceledException"))
        .build();
    SdkError::service_error(
        TransactWriteItemsError::TransactionCanceledException(exception),
        answer(400),
    )
}

/// The answer to `BatchWriteItem`.
#[derive(Debug)]
pub struct BatchWriteItemOutput {
    /// What is to be sent again.
    pub unprocessed_items: Option<HashMap<String, Vec<WriteRequest>>>,
}

impl BatchWriteItem {
    /// What is put.
    #[must_use]
    pub fn request_items(mut self, _: &str, requests: Vec<WriteRequest>) -> Self {
        self.0.puts = requests;
        self
    }

    /// Sends it.
    pub async fn send(self) -> Result<BatchWriteItemOutput, Failed> {
        let fate = self
            .0
            .world
            .turn("BatchWriteItem", || format!("{} items", self.0.puts.len()))
            .await;
        before_it(fate)?;
        let mut state = self.0.world.state();
        for request in self.0.puts {
            let item = request.put_request.expect("batches put").item;
            write(&mut state, key_of(&item), item);
        }
        drop(state);
        let unprocessed_items = None;
        after_it(fate, BatchWriteItemOutput { unprocessed_items })
    }
}
