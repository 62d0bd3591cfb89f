-- id: secrets
-- title: Possible secrets
-- tells: Which objects are named like private keys, key stores, credentials or environment files.
-- do: Move what is a secret into a secrets store, rotate it, and delete the object with all its versions.
-- severity: high
-- counts: current objects
SELECT account, region, bucketname, "key", size, last_modified_date, encryption_status
FROM {ATHENA_TABLE}
WHERE category = 'secret'
  AND coalesce(is_latest, TRUE)
  AND NOT coalesce(is_delete_marker, FALSE)
ORDER BY account, region, bucketname, "key"
