-- id: stale-buckets
-- title: Stale buckets
-- tells: In which buckets nothing was written or deleted for a year, or for as many days as are asked for.
-- do: Ask the owners whether the bucket is still read; if not, archive or delete it. S3 Inventory does not tell who reads.
-- severity: low
-- counts: all versions
-- parameter: days (days, 365): Days without a change after which a bucket is stale.
SELECT account, region, bucketname,
       max(last_modified_date) AS newest,
       sum(CASE WHEN coalesce(is_delete_marker, FALSE) THEN 0 ELSE 1 END) AS versions,
       coalesce(sum(size), 0) AS bytes
FROM {ATHENA_TABLE}
GROUP BY account, region, bucketname
HAVING max(last_modified_date) < {NOW} - INTERVAL '{days}' DAY
ORDER BY bytes DESC, account, region, bucketname
