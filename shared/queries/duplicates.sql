-- id: duplicates
-- title: Duplicate objects
-- tells: Which contents are stored more than once, judged by ETag and size, and how many bytes that wastes; the 1,000 most wasteful.
-- do: Look the keys up by ETag and keep one copy. Copies encrypted with KMS keys or uploaded in other parts have other ETags and are not seen.
-- severity: low
-- counts: current objects
SELECT e_tag, size,
       count(*) AS copies,
       count(DISTINCT bucketname) AS buckets,
       min(bucketname) AS first_bucket,
       max(bucketname) AS last_bucket,
       (count(*) - 1) * size AS bytes_wasted
FROM {ATHENA_TABLE}
WHERE size > 0
  AND e_tag <> ''
  AND coalesce(is_latest, TRUE)
  AND NOT coalesce(is_delete_marker, FALSE)
GROUP BY e_tag, size
HAVING count(*) > 1
ORDER BY bytes_wasted DESC, e_tag, size
LIMIT 1000
