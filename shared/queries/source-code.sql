-- id: source-code
-- title: Source code
-- tells: Which buckets hold source code, notebooks or build files, by top prefix and extension.
-- do: Find out who may read it and whether it belongs in a repository; code often holds passwords. Scripts of shells are counted as executables.
-- severity: medium
-- counts: current objects
SELECT account, region, bucketname, top_prefix, extension,
       count(*) AS objects,
       coalesce(sum(size), 0) AS bytes,
       max(last_modified_date) AS newest
FROM {ATHENA_TABLE}
WHERE extension IN (
    'asp', 'aspx', 'c', 'cc', 'clj', 'cpp', 'cs', 'csproj', 'cxx', 'dart', 'erl', 'ex', 'exs', 'fs', 'go', 'gradle',
    'groovy', 'h', 'hpp', 'hs', 'ipynb', 'java', 'js', 'jsp', 'jsx', 'kt', 'kts', 'lua', 'mjs', 'php', 'pl', 'pm',
    'py', 'rb', 'rs', 'scala', 'sln', 'sol', 'swift', 'tf', 'tsx', 'vb', 'vue'
  )
  AND coalesce(is_latest, TRUE)
  AND NOT coalesce(is_delete_marker, FALSE)
GROUP BY account, region, bucketname, top_prefix, extension
ORDER BY objects DESC, account, region, bucketname, top_prefix, extension
