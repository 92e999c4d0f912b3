"""ResourceQuota: no write makes a namespace use more than its quotas allow."""
