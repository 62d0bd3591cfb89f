//! The Glue database, table and partitions of a snapshot.

use aws_sdk_glue::types::{
    Column, DatabaseInput, PartitionInput, SerDeInfo, StorageDescriptor, TableInput,
};

use super::{AwsError, Class, Clients};
use crate::ids::{AccountId, BucketName, Region};
use crate::snapshot_schema::{COLUMNS, PARTITION_COLUMNS};

const SERDE: &str = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe";
const INPUT_FORMAT: &str = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat";
const OUTPUT_FORMAT: &str = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat";
/// Partitions Glue takes in one request.
const PARTITION_BATCH: usize = 100;

/// The rows of one source bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Owner of the bucket.
    pub account: AccountId,
    /// Its Region.
    pub region: Region,
    /// Its name.
    pub bucket: BucketName,
    /// `s3://` location of its files.
    pub location: String,
}

impl Clients {
    /// Whether a table exists.
    pub async fn table_exists(&self, database: &str, table: &str) -> Result<bool, AwsError> {
        let answer = self
            .glue
            .get_table()
            .database_name(database)
            .name(table)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(error) => {
                let error = AwsError::new(format!("GetTable of {database}.{table}"), &error);
                if error.is_missing() {
                    Ok(false)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Whether a database exists.
    pub async fn database_exists(&self, database: &str) -> Result<bool, AwsError> {
        match self.glue.get_database().name(database).send().await {
            Ok(_) => Ok(true),
            Err(error) => {
                let error = AwsError::new(format!("GetDatabase of {database}"), &error);
                if error.is_missing() {
                    Ok(false)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Makes the database; one that is there stays as it is.
    pub async fn create_database(&self, database: &str) -> Result<(), AwsError> {
        let input = DatabaseInput::builder()
            .name(database)
            .description("Snapshots of S3Insights: one table per run")
            .build()
            .expect("the name is set");
        match self
            .glue
            .create_database()
            .database_input(input)
            .send()
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = AwsError::new(format!("CreateDatabase of {database}"), &error);
                if error.class == Class::Exists {
                    Ok(())
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Makes the snapshot table; one that is there stays as it is.
    pub async fn create_table(
        &self,
        database: &str,
        table: &str,
        location: &str,
        description: &str,
    ) -> Result<(), AwsError> {
        let partition_keys = PARTITION_COLUMNS
            .iter()
            .map(|name| column(name, "string"))
            .collect();
        let input = TableInput::builder()
            .name(table)
            .description(description)
            // Without it, later DDL on the table fails.
            .table_type("EXTERNAL_TABLE")
            .parameters("EXTERNAL", "TRUE")
            .parameters("classification", "parquet")
            .set_partition_keys(Some(partition_keys))
            .storage_descriptor(storage(location))
            .build()
            .expect("the name is set");
        let answer = self
            .glue
            .create_table()
            .database_name(database)
            .table_input(input)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = AwsError::new(format!("CreateTable of {database}.{table}"), &error);
                if error.class == Class::Exists {
                    Ok(())
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Adds partitions; those that are there stay as they are.
    pub async fn create_partitions(
        &self,
        database: &str,
        table: &str,
        partitions: &[Partition],
    ) -> Result<(), AwsError> {
        let operation = || format!("BatchCreatePartition of {database}.{table}");
        for chunk in partitions.chunks(PARTITION_BATCH) {
            let inputs = chunk
                .iter()
                .map(|partition| {
                    PartitionInput::builder()
                        .values(partition.account.as_str())
                        .values(partition.region.as_str())
                        .values(partition.bucket.as_str())
                        .storage_descriptor(storage(&partition.location))
                        .build()
                })
                .collect();
            let answer = self
                .glue
                .batch_create_partition()
                .database_name(database)
                .table_name(table)
                .set_partition_input_list(Some(inputs))
                .send()
                .await
                .map_err(|error| AwsError::new(operation(), &error))?;
            // Glue answers 200 also when single partitions were not made.
            let failed = answer.errors().iter().find_map(|failed| {
                let detail = failed.error_detail()?;
                (detail.error_code() != Some("AlreadyExistsException")).then_some(detail)
            });
            if let Some(detail) = failed {
                return Err(AwsError {
                    operation: operation(),
                    code: detail.error_code().unwrap_or("Unknown").to_owned(),
                    message: detail.error_message().unwrap_or_default().to_owned(),
                    class: Class::Unavailable,
                });
            }
        }
        Ok(())
    }

    /// Deletes a table with its partitions; one that is not there is deleted.
    pub async fn delete_table(&self, database: &str, table: &str) -> Result<(), AwsError> {
        match self
            .glue
            .delete_table()
            .database_name(database)
            .name(table)
            .send()
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = AwsError::new(format!("DeleteTable of {database}.{table}"), &error);
                if error.is_missing() {
                    Ok(())
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Deletes a database if no table is left in it.
    pub async fn delete_database_if_empty(&self, database: &str) -> Result<(), AwsError> {
        let tables = self
            .glue
            .get_tables()
            .database_name(database)
            .max_results(1)
            .send()
            .await;
        match tables {
            Ok(answer) if !answer.table_list().is_empty() => return Ok(()),
            Ok(_) => {}
            Err(error) => {
                let error = AwsError::new(format!("GetTables of {database}"), &error);
                return if error.is_missing() {
                    Ok(())
                } else {
                    Err(error)
                };
            }
        }
        match self.glue.delete_database().name(database).send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = AwsError::new(format!("DeleteDatabase of {database}"), &error);
                if error.is_missing() {
                    Ok(())
                } else {
                    Err(error)
                }
            }
        }
    }
}

fn column(name: &str, kind: &str) -> Column {
    Column::builder()
        .name(name)
        .r#type(kind)
        .build()
        .expect("the name is set")
}

fn storage(location: &str) -> StorageDescriptor {
    let columns = COLUMNS
        .iter()
        .map(|known| column(known.name, known.athena_type.as_str()))
        .collect();
    StorageDescriptor::builder()
        .location(location)
        .set_columns(Some(columns))
        .input_format(INPUT_FORMAT)
        .output_format(OUTPUT_FORMAT)
        .serde_info(
            SerDeInfo::builder()
                .serialization_library(SERDE)
                .parameters("serialization.format", "1")
                .build(),
        )
        .build()
}
