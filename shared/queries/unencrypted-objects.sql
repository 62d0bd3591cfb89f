-- id: unencrypted-objects
-- title: Unencrypted objects
-- tells: How many objects of each bucket are not encrypted by S3, or have no encryption status in their report.
-- do: Copy these objects onto themselves with encryption; S3 encrypts only what was written since January 2023 by itself.
-- severity: medium
-- counts: current objects
SELECT account, region, bucketname,
       coalesce(nullif(upper(encryption_status), ''), 'NOT REPORTED') AS encryption,
       count(*) AS objects,
       coalesce(sum(size), 0) AS bytes,
       min(last_modified_date) AS oldest,
       max(last_modified_date) AS newest
FROM {ATHENA_TABLE}
WHERE coalesce(upper(encryption_status), '') IN ('', 'NOT-SSE')
  AND coalesce(is_latest, TRUE)
  AND NOT coalesce(is_delete_marker, FALSE)
GROUP BY account, region, bucketname, coalesce(nullif(upper(encryption_status), ''), 'NOT REPORTED')
ORDER BY objects DESC, account, region, bucketname, encryption
