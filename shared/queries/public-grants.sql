-- id: public-grants
-- title: Public grants
-- tells: Which objects have an access control list that grants something to everybody, or to everybody with an AWS account.
-- do: Turn on S3 Block Public Access and turn access control lists off for the bucket. A grant has no effect where either is done already.
-- severity: high
-- counts: current objects
SELECT account, region, bucketname, "key", grantee, size, last_modified_date
FROM (
  SELECT account, region, bucketname, "key", size, last_modified_date,
         CASE
           WHEN object_access_control_list LIKE '%QWxsVXNlcn%'
             OR object_access_control_list LIKE '%FsbFVzZXJz%'
             OR object_access_control_list LIKE '%BbGxVc2Vyc%'
           THEN 'AllUsers'
           WHEN object_access_control_list LIKE '%QXV0aGVudGljYXRlZFVzZXJz%'
             OR object_access_control_list LIKE '%F1dGhlbnRpY2F0ZWRVc2Vyc%'
             OR object_access_control_list LIKE '%BdXRoZW50aWNhdGVkVXNlcn%'
           THEN 'AuthenticatedUsers'
         END AS grantee
  FROM {ATHENA_TABLE}
  WHERE coalesce(is_latest, TRUE)
    AND NOT coalesce(is_delete_marker, FALSE)
) AS granted
WHERE grantee IS NOT NULL
ORDER BY account, region, bucketname, "key"
