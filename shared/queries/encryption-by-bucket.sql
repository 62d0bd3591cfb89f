-- id: encryption-by-bucket
-- title: Encryption by bucket
-- tells: How the versions of each bucket are encrypted, and whether with an S3 Bucket Key.
-- do: Compare with what your rules ask for; with SSE-KMS and no Bucket Key every read is a request to KMS that costs money.
-- severity: info
-- counts: all versions
SELECT account, region, bucketname,
       coalesce(nullif(upper(encryption_status), ''), 'NOT REPORTED') AS encryption,
       coalesce(nullif(upper(bucket_key_status), ''), 'NOT REPORTED') AS bucket_key,
       count(*) AS versions,
       coalesce(sum(size), 0) AS bytes,
       min(last_modified_date) AS oldest,
       max(last_modified_date) AS newest
FROM {ATHENA_TABLE}
WHERE NOT coalesce(is_delete_marker, FALSE)
GROUP BY account, region, bucketname,
         coalesce(nullif(upper(encryption_status), ''), 'NOT REPORTED'),
         coalesce(nullif(upper(bucket_key_status), ''), 'NOT REPORTED')
ORDER BY account, region, bucketname, encryption, bucket_key
