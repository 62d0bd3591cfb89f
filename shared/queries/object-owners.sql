-- id: object-owners
-- title: Buckets with several owners
-- tells: Which buckets hold versions of more than one owner: written by other accounts, which keep the rights on them.
-- do: Make the bucket the owner of all that is in it, with the Object Ownership setting "bucket owner enforced".
-- severity: medium
-- counts: all versions
SELECT account, region, bucketname, object_owner, versions, bytes
FROM (
  SELECT account, region, bucketname, object_owner, versions, bytes,
         count(*) OVER (PARTITION BY account, region, bucketname) AS owners
  FROM (
    SELECT account, region, bucketname, object_owner,
           count(*) AS versions,
           coalesce(sum(size), 0) AS bytes
    FROM {ATHENA_TABLE}
    WHERE object_owner <> ''
      AND NOT coalesce(is_delete_marker, FALSE)
    GROUP BY account, region, bucketname, object_owner
  ) AS owned
) AS counted
WHERE owners > 1
ORDER BY account, region, bucketname, versions DESC, object_owner
