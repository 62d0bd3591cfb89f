-- id: office-documents
-- title: Office documents
-- tells: Which buckets hold office documents, presentations, spreadsheets, PDF files or mail, by top prefix and extension.
-- do: Find out whether they hold personal or confidential data, and whether the bucket is meant for such; plain text and web pages are not counted.
-- severity: low
-- counts: current objects
SELECT account, region, bucketname, top_prefix, extension,
       count(*) AS objects,
       coalesce(sum(size), 0) AS bytes,
       max(last_modified_date) AS newest
FROM {ATHENA_TABLE}
WHERE category = 'document'
  AND extension IN (
    'doc', 'docm', 'docx', 'dot', 'dotx', 'eml', 'mbox', 'msg', 'numbers', 'odp', 'ods', 'odt', 'pages', 'pdf', 'pps',
    'ppsx', 'ppt', 'pptm', 'pptx', 'pst', 'rtf', 'vsd', 'vsdx', 'xls', 'xlsb', 'xlsm', 'xlsx'
  )
  AND coalesce(is_latest, TRUE)
  AND NOT coalesce(is_delete_marker, FALSE)
GROUP BY account, region, bucketname, top_prefix, extension
ORDER BY objects DESC, account, region, bucketname, top_prefix, extension
