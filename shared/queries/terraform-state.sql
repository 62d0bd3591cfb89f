-- id: terraform-state
-- title: Terraform state and variables
-- tells: Where Terraform state and variable files are, which hold passwords and keys in plain text.
-- do: Check who may read these buckets, and that they are encrypted and versioned; remove copies that no pipeline uses.
-- severity: high
-- counts: current objects
SELECT account, region, bucketname, "key", size, last_modified_date, encryption_status
FROM {ATHENA_TABLE}
WHERE category = 'terraform-state'
  AND coalesce(is_latest, TRUE)
  AND NOT coalesce(is_delete_marker, FALSE)
ORDER BY account, region, bucketname, "key"
