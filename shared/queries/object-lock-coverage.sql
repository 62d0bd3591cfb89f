-- id: object-lock-coverage
-- title: Object Lock coverage
-- tells: How many versions of each bucket are locked against deletion, by which mode, and how many are not or not any more.
-- do: Where your rules ask for locked data, set a default retention on the bucket and lock what is there already by a batch operation.
-- severity: info
-- counts: all versions
SELECT account, region, bucketname,
       count(*) AS versions,
       sum(CASE WHEN is_compliance THEN 1 ELSE 0 END) AS compliance_versions,
       sum(CASE WHEN is_governance THEN 1 ELSE 0 END) AS governance_versions,
       sum(CASE WHEN is_held THEN 1 ELSE 0 END) AS legal_hold_versions,
       sum(CASE WHEN is_over THEN 1 ELSE 0 END) AS expired_versions,
       sum(CASE WHEN is_compliance OR is_governance OR is_held THEN 0 ELSE 1 END) AS unlocked_versions,
       sum(CASE WHEN is_compliance OR is_governance OR is_held THEN 0 ELSE coalesce(size, 0) END) AS unlocked_bytes
FROM (
  SELECT account, region, bucketname, size,
         coalesce(object_lock_retain_until_date > {NOW} AND upper(object_lock_mode) = 'COMPLIANCE', FALSE) AS is_compliance,
         coalesce(object_lock_retain_until_date > {NOW} AND upper(object_lock_mode) = 'GOVERNANCE', FALSE) AS is_governance,
         coalesce(upper(object_lock_legal_hold_status) = 'ON', FALSE) AS is_held,
         coalesce(object_lock_retain_until_date <= {NOW}, FALSE) AS is_over
  FROM {ATHENA_TABLE}
  WHERE NOT coalesce(is_delete_marker, FALSE)
) AS locks
GROUP BY account, region, bucketname
ORDER BY account, region, bucketname
