-- id: not-replicated
-- title: Objects without a replica
-- tells: How many objects of each bucket were never replicated, wait for it, or failed to be.
-- do: Where a copy elsewhere is required, add a replication rule, and run a batch replication for what is already there.
-- severity: medium
-- counts: current objects
SELECT account, region, bucketname,
       coalesce(nullif(upper(replication_status), ''), 'NONE') AS replication,
       count(*) AS objects,
       coalesce(sum(size), 0) AS bytes
FROM {ATHENA_TABLE}
WHERE coalesce(upper(replication_status), '') NOT IN ('COMPLETE', 'COMPLETED', 'REPLICA')
  AND coalesce(is_latest, TRUE)
  AND NOT coalesce(is_delete_marker, FALSE)
GROUP BY account, region, bucketname, coalesce(nullif(upper(replication_status), ''), 'NONE')
ORDER BY objects DESC, account, region, bucketname, replication
