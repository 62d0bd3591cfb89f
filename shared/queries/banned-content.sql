-- id: banned-content
-- title: Torrents and file sharing
-- tells: Which objects are torrents, or unfinished and indexed downloads of file sharing, which the rules of most companies ban.
-- do: Find out who put them there, and delete them together with what was downloaded through them.
-- severity: medium
-- counts: current objects
SELECT account, region, bucketname, "key", size, last_modified_date
FROM {ATHENA_TABLE}
WHERE extension IN ('aria2', 'fastresume', 'magnet', 'metalink', 'nzb', 'torrent')
  AND coalesce(is_latest, TRUE)
  AND NOT coalesce(is_delete_marker, FALSE)
ORDER BY account, region, bucketname, "key"
