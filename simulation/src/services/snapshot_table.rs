//! Glue.

use real_shared::aws::{AwsError, Class, Partition};

use super::{Clients, error};

impl Clients {
    /// Whether a table exists.
    pub async fn table_exists(&self, database: &str, table: &str) -> Result<bool, AwsError> {
        let key = (database.to_owned(), table.to_owned());
        self.world
            .request(
                "GetTable",
                || table.to_owned(),
                |state| Ok(state.tables.contains_key(&key)),
            )
            .await
    }

    /// Whether a database exists.
    pub async fn database_exists(&self, database: &str) -> Result<bool, AwsError> {
        self.world
            .request(
                "GetDatabase",
                || database.to_owned(),
                |state| Ok(state.databases.contains(database)),
            )
            .await
    }

    /// Makes a database.
    pub async fn create_database(&self, database: &str) -> Result<(), AwsError> {
        self.world
            .request(
                "CreateDatabase",
                || database.to_owned(),
                |state| {
                    state.databases.insert(database.to_owned());
                    Ok(())
                },
            )
            .await
    }

    /// Makes a table if it is not there.
    pub async fn create_table(
        &self,
        database: &str,
        table: &str,
        _location: &str,
        _description: &str,
    ) -> Result<(), AwsError> {
        let key = (database.to_owned(), table.to_owned());
        self.world
            .request(
                "CreateTable",
                || table.to_owned(),
                |state| {
                    state.tables.entry(key.clone()).or_default();
                    Ok(())
                },
            )
            .await
    }

    /// Adds the partitions that are not there.
    pub async fn create_partitions(
        &self,
        database: &str,
        table: &str,
        partitions: &[Partition],
    ) -> Result<(), AwsError> {
        let key = (database.to_owned(), table.to_owned());
        for partition in partitions {
            self.world
                .request(
                    "BatchCreatePartition",
                    || partition.location.clone(),
                    |state| {
                        let known = state.tables.get_mut(&key);
                        let Some(known) = known else {
                            let code = "EntityNotFoundException";
                            return Err(error("BatchCreatePartition", code, Class::Missing));
                        };
                        known.insert(partition.location.clone());
                        Ok(())
                    },
                )
                .await?;
        }
        Ok(())
    }

    /// Deletes a table.
    pub async fn delete_table(&self, database: &str, table: &str) -> Result<(), AwsError> {
        let key = (database.to_owned(), table.to_owned());
        self.world
            .request(
                "DeleteTable",
                || table.to_owned(),
                |state| {
                    state.tables.remove(&key);
                    Ok(())
                },
            )
            .await
    }

    /// Deletes a database that holds nothing.
    pub async fn delete_database_if_empty(&self, database: &str) -> Result<(), AwsError> {
        self.world
            .request(
                "DeleteDatabase",
                || database.to_owned(),
                |state| {
                    if state.tables.keys().all(|(of, _)| of != database) {
                        state.databases.remove(database);
                    }
                    Ok(())
                },
            )
            .await
    }
}
