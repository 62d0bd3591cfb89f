-- id: expiring-objects
-- title: Objects about to expire
-- tells: How many objects of each bucket a lifecycle rule will expire within 30 days, or within as many as are asked for.
-- do: Make sure that the rule means these objects, while they are still there.
-- severity: info
-- counts: current objects
-- parameter: days (days, 30): How many days to look ahead.
SELECT account, region, bucketname, top_prefix,
       count(*) AS objects,
       coalesce(sum(size), 0) AS bytes,
       min(lifecycle_expiration_date) AS first_expiration,
       max(lifecycle_expiration_date) AS last_expiration
FROM {ATHENA_TABLE}
WHERE lifecycle_expiration_date < {NOW} + INTERVAL '{days}' DAY
  AND coalesce(is_latest, TRUE)
  AND NOT coalesce(is_delete_marker, FALSE)
GROUP BY account, region, bucketname, top_prefix
ORDER BY objects DESC, account, region, bucketname, top_prefix
