-- id: objects-by-month
-- title: Objects by month
-- tells: How many of the versions that are stored were written in which month, judged by their last modification, and how many bytes they are.
-- do: See how fast storage grows, and look for months in which it grew by more than you can explain. What was deleted since is not counted.
-- severity: info
-- counts: all versions
SELECT CAST(date_trunc('month', last_modified_date) AS date) AS month,
       count(*) AS versions,
       coalesce(sum(size), 0) AS bytes,
       count(DISTINCT bucketname) AS buckets
FROM {ATHENA_TABLE}
WHERE NOT coalesce(is_delete_marker, FALSE)
GROUP BY CAST(date_trunc('month', last_modified_date) AS date)
ORDER BY month
