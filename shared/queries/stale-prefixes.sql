-- id: stale-prefixes
-- title: Stale prefixes
-- tells: Under which top prefixes nothing was written or deleted for a year, or for as many days as are asked for.
-- do: Give the prefix a lifecycle rule that archives or expires it; where all prefixes of a bucket are stale, look at the bucket.
-- severity: low
-- counts: all versions
-- parameter: days (days, 365): Days without a change after which a prefix is stale.
SELECT account, region, bucketname, top_prefix,
       max(last_modified_date) AS newest,
       sum(CASE WHEN coalesce(is_delete_marker, FALSE) THEN 0 ELSE 1 END) AS versions,
       coalesce(sum(size), 0) AS bytes
FROM {ATHENA_TABLE}
GROUP BY account, region, bucketname, top_prefix
HAVING max(last_modified_date) < {NOW} - INTERVAL '{days}' DAY
ORDER BY bytes DESC, account, region, bucketname, top_prefix
