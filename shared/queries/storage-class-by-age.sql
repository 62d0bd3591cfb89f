-- id: storage-class-by-age
-- title: Storage classes by age
-- tells: How old the bytes of each bucket are in each storage class, and how many of them could move to a colder one.
-- do: Add a lifecycle rule where many bytes are candidates: of at least 128 KiB each, in STANDARD, unchanged for 90 days. How often they are read is not known here.
-- severity: low
-- counts: current objects
SELECT account, region, bucketname,
       coalesce(nullif(storage_class, ''), 'NOT REPORTED') AS storage_class,
       count(*) AS objects,
       coalesce(sum(size), 0) AS bytes,
       sum(CASE WHEN last_modified_date < {NOW} - INTERVAL '30' DAY THEN coalesce(size, 0) ELSE 0 END) AS bytes_over_30_days,
       sum(CASE WHEN last_modified_date < {NOW} - INTERVAL '90' DAY THEN coalesce(size, 0) ELSE 0 END) AS bytes_over_90_days,
       sum(CASE WHEN last_modified_date < {NOW} - INTERVAL '365' DAY THEN coalesce(size, 0) ELSE 0 END) AS bytes_over_365_days,
       sum(CASE
             WHEN upper(storage_class) = 'STANDARD' AND size >= 131072 AND last_modified_date < {NOW} - INTERVAL '90' DAY
             THEN size
             ELSE 0
           END) AS candidate_bytes
FROM {ATHENA_TABLE}
WHERE coalesce(is_latest, TRUE)
  AND NOT coalesce(is_delete_marker, FALSE)
GROUP BY account, region, bucketname, coalesce(nullif(storage_class, ''), 'NOT REPORTED')
ORDER BY candidate_bytes DESC, account, region, bucketname, storage_class
