-- id: extensions
-- title: Extensions
-- tells: How many objects and bytes have which extension, and of which category they are taken to be.
-- do: Look for extensions that you do not expect, then for their buckets.
-- severity: info
-- counts: current objects
SELECT coalesce(extension, '(none)') AS extension,
       category,
       count(*) AS objects,
       coalesce(sum(size), 0) AS bytes,
       count(DISTINCT bucketname) AS buckets
FROM {ATHENA_TABLE}
WHERE coalesce(is_latest, TRUE)
  AND NOT coalesce(is_delete_marker, FALSE)
GROUP BY coalesce(extension, '(none)'), category
ORDER BY bytes DESC, objects DESC, extension, category
