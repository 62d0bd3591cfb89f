-- id: noncurrent-versions
-- title: Noncurrent versions
-- tells: How many overwritten or deleted versions each bucket still stores and pays for, in bytes too, and how many delete markers it keeps.
-- do: Add a lifecycle rule that expires noncurrent versions and delete markers without versions behind them; a marker itself costs next to nothing.
-- severity: low
-- counts: all versions
SELECT account, region, bucketname,
       sum(CASE WHEN coalesce(is_delete_marker, FALSE) THEN 0 ELSE 1 END) AS noncurrent_versions,
       sum(CASE WHEN coalesce(is_delete_marker, FALSE) THEN 0 ELSE coalesce(size, 0) END) AS noncurrent_bytes,
       sum(CASE WHEN coalesce(is_delete_marker, FALSE) THEN 1 ELSE 0 END) AS delete_markers,
       min(last_modified_date) AS oldest
FROM {ATHENA_TABLE}
WHERE NOT coalesce(is_latest, TRUE)
   OR coalesce(is_delete_marker, FALSE)
GROUP BY account, region, bucketname
ORDER BY noncurrent_bytes DESC, account, region, bucketname
