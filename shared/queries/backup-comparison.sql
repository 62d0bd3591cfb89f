-- id: backup-comparison
-- title: Backups that differ
-- tells: Which objects of a bucket are missing from its backup bucket, or have another size or another ETag there.
-- do: Repair the replication or copy job and copy these objects again. Copies that were uploaded in other parts or encrypted with a key of KMS have another ETag and may be the same.
-- severity: medium
-- counts: current objects
-- parameter: bucket (bucket, ""): The bucket that is backed up; empty for each that has a backup bucket in the snapshot.
-- parameter: backup (bucket, ""): The bucket that holds its backup; empty for the one with its name and `-backup`.
WITH objects AS (
  SELECT account, region, bucketname, "key", size, nullif(e_tag, '') AS e_tag
  FROM {ATHENA_TABLE}
  WHERE coalesce(is_latest, TRUE)
    AND NOT coalesce(is_delete_marker, FALSE)
),
buckets AS (
  SELECT DISTINCT bucketname AS name
  FROM objects
),
pairs AS (
  SELECT name,
         CASE WHEN '{bucket}' <> '' AND '{backup}' <> '' THEN '{backup}' ELSE name || '-backup' END AS backup
  FROM buckets
  WHERE '{bucket}' IN ('', name)
),
compared AS (
  SELECT name, backup
  FROM pairs
  WHERE '{backup}' IN ('', backup)
    AND ('{bucket}' <> '' OR backup IN (SELECT name FROM buckets))
)
SELECT original.account, original.region, original.bucketname, compared.backup, original."key",
       CASE
         WHEN copied."key" IS NULL THEN 'missing'
         WHEN copied.size <> original.size THEN 'other size'
         ELSE 'other ETag'
       END AS difference,
       original.size,
       copied.size AS backup_size,
       original.e_tag,
       copied.e_tag AS backup_e_tag
FROM objects AS original
JOIN compared ON compared.name = original.bucketname
LEFT JOIN objects AS copied ON copied.bucketname = compared.backup AND copied."key" = original."key"
WHERE copied."key" IS NULL
   OR copied.size <> original.size
   OR copied.e_tag <> original.e_tag
ORDER BY original.account, original.region, original.bucketname, compared.backup, original."key"
