-- id: public-website-content
-- title: Odd content of public websites
-- tells: Which objects do not look like content of a website, in buckets that look like one: with an index.html at their root.
-- do: Assume that anybody can read these objects: delete them, or move them to a bucket that is not public.
-- severity: high
-- counts: current objects
-- parameter: bucket (bucket, ""): The one bucket to look at; empty for all that have an index.html at their root.
WITH websites AS (
  SELECT bucketname AS website
  FROM {ATHENA_TABLE}
  WHERE (bucketname = '{bucket}' OR ('{bucket}' = '' AND "key" IN ('index.html', 'index.htm')))
    AND coalesce(is_latest, TRUE)
    AND NOT coalesce(is_delete_marker, FALSE)
  GROUP BY bucketname
)
SELECT account, region, bucketname, "key", category, size, last_modified_date
FROM {ATHENA_TABLE} AS objects
JOIN websites ON website = bucketname
WHERE CASE
    WHEN category IN ('secret', 'terraform-state', 'database-dump') THEN TRUE
    WHEN category IN ('image', 'video') THEN FALSE
    WHEN extension IS NULL THEN category NOT IN ('document', 'other')
    ELSE extension NOT IN (
      'atom', 'css', 'cur', 'eot', 'htm', 'html', 'js', 'json', 'm3u8', 'm4a', 'map', 'md', 'mjs', 'mp3', 'ogg', 'otf',
      'pdf', 'rss', 'ts', 'ttf', 'txt', 'vtt', 'wasm', 'wav', 'webmanifest', 'woff', 'woff2', 'xhtml', 'xml', 'xsl'
    )
  END
  AND coalesce(is_latest, TRUE)
  AND NOT coalesce(is_delete_marker, FALSE)
ORDER BY account, region, bucketname, "key"
