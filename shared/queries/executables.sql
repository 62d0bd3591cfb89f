-- id: executables
-- title: Executables
-- tells: Which buckets hold programs, libraries, packages or scripts, by top prefix and extension.
-- do: Find out who may write where they are run from; look closer where you expect no programs at all.
-- severity: medium
-- counts: current objects
SELECT account, region, bucketname, top_prefix, extension,
       count(*) AS objects,
       coalesce(sum(size), 0) AS bytes,
       max(last_modified_date) AS newest
FROM {ATHENA_TABLE}
WHERE category = 'executable'
  AND coalesce(is_latest, TRUE)
  AND NOT coalesce(is_delete_marker, FALSE)
GROUP BY account, region, bucketname, top_prefix, extension
ORDER BY objects DESC, account, region, bucketname, top_prefix, extension
