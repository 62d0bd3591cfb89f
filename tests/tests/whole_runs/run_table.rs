use std::collections::{BTreeSet, HashMap};
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType, TransactWriteItem, Update,
};
use simulation::{Item, Key, Sample, Write, run_table_samples};
use tests::{repository, test};

const TABLE: &str = "run-table-samples";

/// The evaluator of the simulation knows DynamoDB from its documentation; here it is compared with what
/// the embedded AWS makes of every kind of write that the tasks send.
#[test]
fn the_simulation_writes_to_the_run_table_as_dynamodb_does() {
    test(async |platform| {
        let samples = run_table_samples(0..1_000);
        every_expression_is_among(&samples)?;
        let aws = &platform.aws;
        let client = Client::new(&aws.sdk_config(&aws.host_account_id, &aws.region));
        create_table(&client).await?;
        for sample in &samples {
            compare(&client, sample)
                .await
                .with_context(|| format!("{sample:#?}"))?;
        }
        Ok(())
    });
}

/// Every expression in the sources of the run table was sent, and every condition was met and was not.
fn every_expression_is_among(samples: &[Sample]) -> Result<()> {
    let sent = samples.iter().flat_map(|sample| &sample.writes);
    let sent: Vec<&str> = sent
        .flat_map(|write| [Some(write.update.as_str()), write.condition.as_deref()])
        .flatten()
        .collect();
    let written = written_expressions()?;
    ensure!(written.len() > 20, "only {written:?} are expressions");
    for expression in written {
        let is_sent = sent.iter().any(|sent| sent.contains(&expression));
        ensure!(is_sent, "no sample has {expression:?}");
    }
    for held in [true, false] {
        let met = samples.iter().filter(|sample| sample.held.contains(&held));
        ensure!(
            met.count() > 10,
            "too few samples whose condition is {held}"
        );
    }
    Ok(())
}

/// The texts in the sources of the run table that begin like expressions of DynamoDB.
fn written_expressions() -> Result<BTreeSet<String>> {
    let folder = repository().join("shared/src/aws");
    let mut files = vec![folder.join("run_table.rs")];
    for entry in fs::read_dir(folder.join("run_table"))? {
        files.push(entry?.path());
    }
    let mut expressions = BTreeSet::new();
    for file in files {
        let source = fs::read_to_string(&file)?;
        // Comments hold no text in quotation marks that begins so.
        for text in source.split('"').skip(1) {
            let begins = [
                "SET ",
                "ADD ",
                "REMOVE ",
                "attribute_",
                "#status =",
                "done =",
            ];
            if begins.iter().any(|begin| text.starts_with(begin)) && !text.contains('{') {
                let lines = text.split("\\\n").map(str::trim_start);
                expressions.insert(lines.collect());
            }
        }
    }
    Ok(expressions)
}

async fn create_table(client: &Client) -> Result<()> {
    let mut table = client
        .create_table()
        .table_name(TABLE)
        .billing_mode(BillingMode::PayPerRequest);
    for (name, kind) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
        table = table
            .attribute_definitions(
                AttributeDefinition::builder()
                    .attribute_name(name)
                    .attribute_type(ScalarAttributeType::S)
                    .build()?,
            )
            .key_schema(
                KeySchemaElement::builder()
                    .attribute_name(name)
                    .key_type(kind)
                    .build()?,
            );
    }
    table.send().await?;
    Ok(())
}

/// Does to the embedded AWS what was done in the simulation, and compares what came of it.
async fn compare(client: &Client, sample: &Sample) -> Result<()> {
    for (write, before) in sample.writes.iter().zip(&sample.before) {
        place(client, &write.key, before.as_ref()).await?;
    }
    let held = if sample.is_transaction {
        transact(client, &sample.writes).await?
    } else {
        vec![write(client, &sample.writes[0]).await?]
    };
    ensure!(held == sample.held, "the conditions held: {held:?}");
    for (write, expected) in sample.writes.iter().zip(&sample.after) {
        let found = client
            .get_item()
            .table_name(TABLE)
            .set_key(Some(key(&write.key)))
            .consistent_read(true)
            .send()
            .await?
            .item;
        let (found, expected) = (found.map(sorted), expected.clone().map(sorted));
        ensure!(found == expected, "{:?} is {found:#?}", write.key);
    }
    Ok(())
}

fn key((pk, sk): &Key) -> Item {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

/// An item whose sets are in order, which DynamoDB does not keep.
fn sorted(mut item: Item) -> Item {
    for value in item.values_mut() {
        if let AttributeValue::Ss(members) = value {
            members.sort_unstable();
        }
    }
    item
}

/// Has an item be there, or not.
async fn place(client: &Client, of: &Key, item: Option<&Item>) -> Result<()> {
    if let Some(item) = item {
        let put = client.put_item().table_name(TABLE);
        put.set_item(Some(item.clone())).send().await?;
    } else {
        let delete = client.delete_item().table_name(TABLE);
        delete.set_key(Some(key(of))).send().await?;
    }
    Ok(())
}

/// Sends one write; gives whether its condition held.
async fn write(client: &Client, write: &Write) -> Result<bool> {
    let names = (!write.names.is_empty()).then(|| write.names.clone());
    let values = (!write.values.is_empty()).then(|| write.values.clone());
    let condition = write.condition.clone();
    let refused = if let Some(item) = &write.item {
        let put = client
            .put_item()
            .table_name(TABLE)
            .set_item(Some(item.clone()));
        let put = put.set_condition_expression(condition);
        let put = put.set_expression_attribute_names(names);
        let answer = put.set_expression_attribute_values(values).send().await;
        answer.err().as_ref().map(code)
    } else {
        let update = client
            .update_item()
            .table_name(TABLE)
            .set_key(Some(key(&write.key)));
        let update = update.update_expression(&write.update);
        let update = update.set_condition_expression(condition);
        let update = update.set_expression_attribute_names(names);
        let answer = update.set_expression_attribute_values(values).send().await;
        answer.err().as_ref().map(code)
    };
    match refused.as_deref() {
        None => Ok(true),
        Some("ConditionalCheckFailedException") => Ok(false),
        Some(other) => bail!("{other}"),
    }
}

fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> String {
    error.code().unwrap_or("no answer").to_owned()
}

/// Sends a transaction; gives which conditions held.
async fn transact(client: &Client, writes: &[Write]) -> Result<Vec<bool>> {
    let items: Result<Vec<TransactWriteItem>> = writes
        .iter()
        .map(|write| {
            let names = (!write.names.is_empty()).then(|| write.names.clone());
            let values = (!write.values.is_empty()).then(|| write.values.clone());
            let update = Update::builder()
                .table_name(TABLE)
                .set_key(Some(key(&write.key)))
                .update_expression(&write.update)
                .set_condition_expression(write.condition.clone())
                .set_expression_attribute_names(names)
                .set_expression_attribute_values(values)
                .build()?;
            Ok(TransactWriteItem::builder().update(update).build())
        })
        .collect();
    let request = client
        .transact_write_items()
        .set_transact_items(Some(items?));
    let Err(error) = request.send().await else {
        return Ok(vec![true; writes.len()]);
    };
    match error.into_service_error() {
        TransactWriteItemsError::TransactionCanceledException(cancelled) => {
            let reasons = cancelled.cancellation_reasons().iter();
            Ok(reasons
                .map(|reason| reason.code().is_none_or(|code| code == "None"))
                .collect())
        }
        other => Err(other.into()),
    }
}
