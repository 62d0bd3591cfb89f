-- id: small-infrequent-access
-- title: Small objects in infrequent access
-- tells: Where objects under 128 KiB are in storage classes that charge for 128 KiB at least, and for how many bytes too much.
-- do: Leave small objects out of the lifecycle rule that moves them there, and move those that are there back to STANDARD.
-- severity: low
-- counts: all versions
SELECT account, region, bucketname,
       upper(storage_class) AS storage_class,
       count(*) AS versions,
       sum(size) AS bytes,
       count(*) * 131072 AS charged_bytes,
       count(*) * 131072 - sum(size) AS wasted_bytes
FROM {ATHENA_TABLE}
WHERE upper(storage_class) IN ('GLACIER_IR', 'ONEZONE_IA', 'STANDARD_IA')
  AND size < 131072
  AND NOT coalesce(is_delete_marker, FALSE)
GROUP BY account, region, bucketname, upper(storage_class)
ORDER BY wasted_bytes DESC, account, region, bucketname, storage_class
