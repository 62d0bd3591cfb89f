-- id: large-objects
-- title: Large objects
-- tells: Which objects are of 1 GiB and more, or of another size that is asked for, the 1,000 largest of them.
-- do: Delete what is not needed, and move what is rarely read to a colder storage class.
-- severity: low
-- counts: current objects
-- parameter: size (bytes, 1073741824): The size from which an object is large.
SELECT account, region, bucketname, "key", size, storage_class, last_modified_date
FROM {ATHENA_TABLE}
WHERE size >= {size}
  AND coalesce(is_latest, TRUE)
  AND NOT coalesce(is_delete_marker, FALSE)
ORDER BY size DESC, account, region, bucketname, "key"
LIMIT 1000
