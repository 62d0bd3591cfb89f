-- id: database-dumps
-- title: Database dumps and backups
-- tells: Which objects are named like dumps, backups or files of databases.
-- do: Delete forgotten ones, give the others a lifecycle rule, and treat their buckets as holding the data of the database.
-- severity: high
-- counts: current objects
SELECT account, region, bucketname, "key", size, last_modified_date, encryption_status, storage_class
FROM {ATHENA_TABLE}
WHERE category = 'database-dump'
  AND coalesce(is_latest, TRUE)
  AND NOT coalesce(is_delete_marker, FALSE)
ORDER BY account, region, bucketname, "key"
