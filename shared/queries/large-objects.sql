-- id: large-objects
-- title: Large objects
-- tells: Which objects are of 1 GiB and more, the 1,000 largest of them.
-- do: Delete what is not needed, and move what is rarely read to a colder storage class.
-- severity: low
-- counts: current objects
SELECT account, region, bucketname, "key", size, storage_class, last_modified_date
FROM {ATHENA_TABLE}
WHERE size >= 1073741824
  AND coalesce(is_latest, TRUE)
  AND NOT coalesce(is_delete_marker, FALSE)
ORDER BY size DESC, account, region, bucketname, "key"
LIMIT 1000
