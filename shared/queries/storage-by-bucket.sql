-- id: storage-by-bucket
-- title: Storage by bucket
-- tells: How many objects, versions and bytes each bucket stores in each storage class.
-- do: Start with the largest: see whether it grows, whether its storage class fits, and who owns it.
-- severity: info
-- counts: all versions
SELECT account, region, bucketname,
       coalesce(nullif(storage_class, ''), 'NOT REPORTED') AS storage_class,
       sum(CASE WHEN coalesce(is_latest, TRUE) THEN 1 ELSE 0 END) AS objects,
       sum(CASE WHEN coalesce(is_latest, TRUE) THEN coalesce(size, 0) ELSE 0 END) AS object_bytes,
       count(*) AS versions,
       coalesce(sum(size), 0) AS version_bytes,
       min(last_modified_date) AS oldest,
       max(last_modified_date) AS newest
FROM {ATHENA_TABLE}
WHERE NOT coalesce(is_delete_marker, FALSE)
GROUP BY account, region, bucketname, coalesce(nullif(storage_class, ''), 'NOT REPORTED')
ORDER BY version_bytes DESC, account, region, bucketname, storage_class
