# The bucket of everything: datasets, jobs, checkpoints, models. Versioned, encrypted, private.

resource "aws_s3_bucket" "this" {
  bucket        = var.bucket
  force_destroy = var.force_destroy
  tags          = var.tags
}

resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  # Versioning first: rules about old versions mean nothing before it.
  depends_on = [aws_s3_bucket_versioning.this]
  bucket     = aws_s3_bucket.this.id

  # Checkpoints and stage outputs serve while a job runs or is looked at. What lineage needs (spec, claims, events,
  # result) lies beside them under the job's id, but is small: the size tells them apart.
  rule {
    id     = "large-job-objects-expire"
    status = "Enabled"
    filter {
      prefix = var.job_expiry_min_bytes == 0 ? "jobs/" : null
      dynamic "and" {
        for_each = var.job_expiry_min_bytes == 0 ? [] : [var.job_expiry_min_bytes]
        content {
          prefix                   = "jobs/"
          object_size_greater_than = and.value
        }
      }
    }
    expiration {
      days = var.job_days
    }
  }

  # Heartbeats and promotions overwrite; deleted snapshots and models can be brought back for this long.
  rule {
    id     = "old-versions-expire"
    status = "Enabled"
    filter {
      prefix = ""
    }
    noncurrent_version_expiration {
      noncurrent_days = var.noncurrent_days
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }
  }
}

# Nothing may read or write without TLS, whatever its role allows.
data "aws_iam_policy_document" "tls_only" {
  statement {
    sid       = "DenyWithoutTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "tls_only" {
  count      = var.require_tls ? 1 : 0
  depends_on = [aws_s3_bucket_public_access_block.this]
  bucket     = aws_s3_bucket.this.id
  policy     = data.aws_iam_policy_document.tls_only.json
}
