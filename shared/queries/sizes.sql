-- id: sizes
-- title: Sizes
-- tells: How many objects there are of which size, in steps from empty to 1 TiB, and how many bytes they are together.
-- do: Where most objects are tiny, requests cost more than storage: see whether they can be written together.
-- severity: info
-- counts: current objects
SELECT at_least_bytes,
       count(*) AS objects,
       coalesce(sum(size), 0) AS bytes
FROM (
  SELECT size,
         CASE
           WHEN size IS NULL THEN NULL
           WHEN size >= 1099511627776 THEN 1099511627776
           WHEN size >= 107374182400 THEN 107374182400
           WHEN size >= 10737418240 THEN 10737418240
           WHEN size >= 1073741824 THEN 1073741824
           WHEN size >= 104857600 THEN 104857600
           WHEN size >= 10485760 THEN 10485760
           WHEN size >= 1048576 THEN 1048576
           WHEN size >= 131072 THEN 131072
           WHEN size >= 10240 THEN 10240
           WHEN size >= 1024 THEN 1024
           WHEN size >= 1 THEN 1
           ELSE 0
         END AS at_least_bytes
  FROM {ATHENA_TABLE}
  WHERE coalesce(is_latest, TRUE)
    AND NOT coalesce(is_delete_marker, FALSE)
) AS sized
GROUP BY at_least_bytes
ORDER BY at_least_bytes
