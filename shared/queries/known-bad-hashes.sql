-- id: known-bad-hashes
-- title: Known bad content
-- tells: Which versions have content whose MD5 is in a table of known bad hashes, such as those of malware.
-- do: Quarantine the object and find out who read it. The ETag of an upload in parts or with a key of KMS or of a customer is no MD5, so such objects are never found.
-- severity: high
-- counts: all versions
-- parameter: table (table, known_bad_hashes): The table of hashes, with a column `md5` of hexadecimal digits in any case.
WITH known AS (
  SELECT DISTINCT lower(trim(replace(replace(md5, '"', ''), chr(13), ''))) AS hash
  FROM {table}
)
SELECT account, region, bucketname, "key", version_id, coalesce(is_latest, TRUE) AS is_latest, e_tag, size, last_modified_date
FROM {ATHENA_TABLE} AS objects
JOIN known ON hash = lower(replace(e_tag, '"', ''))
WHERE hash <> ''
  AND NOT coalesce(is_delete_marker, FALSE)
ORDER BY account, region, bucketname, "key", version_id
