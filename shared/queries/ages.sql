-- id: ages
-- title: Ages
-- tells: How many objects and bytes were last modified how many days ago, in steps from a day to ten years.
-- do: See whether old data is a large part, and then in which buckets and storage classes it is.
-- severity: info
-- counts: current objects
SELECT at_least_days,
       count(*) AS objects,
       coalesce(sum(size), 0) AS bytes
FROM (
  SELECT size,
         CASE
           WHEN last_modified_date IS NULL THEN NULL
           WHEN last_modified_date <= {NOW} - INTERVAL '3650' DAY THEN 3650
           WHEN last_modified_date <= {NOW} - INTERVAL '1825' DAY THEN 1825
           WHEN last_modified_date <= {NOW} - INTERVAL '730' DAY THEN 730
           WHEN last_modified_date <= {NOW} - INTERVAL '365' DAY THEN 365
           WHEN last_modified_date <= {NOW} - INTERVAL '180' DAY THEN 180
           WHEN last_modified_date <= {NOW} - INTERVAL '90' DAY THEN 90
           WHEN last_modified_date <= {NOW} - INTERVAL '30' DAY THEN 30
           WHEN last_modified_date <= {NOW} - INTERVAL '7' DAY THEN 7
           WHEN last_modified_date <= {NOW} - INTERVAL '1' DAY THEN 1
           ELSE 0
         END AS at_least_days
  FROM {ATHENA_TABLE}
  WHERE coalesce(is_latest, TRUE)
    AND NOT coalesce(is_delete_marker, FALSE)
) AS aged
GROUP BY at_least_days
ORDER BY at_least_days
