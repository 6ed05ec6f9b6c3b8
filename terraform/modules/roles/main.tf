# One role for each kind of process, with what that process does and nothing else. The prefixes are those of the object
# layout: core/layout.py is where they come from.

locals {
  # may_read, may_write, may_delete: prefixes of object keys. A conditional put is a put.
  roles = {
    api = {
      may_read = ["datasets/*", "jobs/*", "models/*", "people/*", "queue/*"]
      may_write = [
        "datasets/*", "jobs/*/spec.json", "jobs/*/cancel.json", "jobs/*/replies.jsonl", "queue/*",
        "models/*/promoted.json", "people/*",
      ]
      # Jobs that score replies are the API's own, and go when the next one has ended.
      may_delete = ["jobs/scores-*", "people/*", "queue/scores-*"]
    }
    worker = {
      may_read   = ["datasets/*", "jobs/*", "models/*", "queue/*"]
      may_write  = ["jobs/*", "models/*"]
      may_delete = ["jobs/*/checkpoints/*", "queue/*"]
    }
    serving = {
      may_read   = ["models/*"]
      may_write  = []
      may_delete = []
    }
  }
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = var.trusted_services
    }
  }
}

data "aws_iam_policy_document" "this" {
  for_each = local.roles

  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [var.bucket_arn]
    # "If exists": a read of an absent object answers 404 only to those who may list, and that check, like the one for
    # the bucket itself, names no prefix.
    condition {
      test     = "StringLikeIfExists"
      variable = "s3:prefix"
      values   = each.value.may_read
    }
  }

  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = [for prefix in each.value.may_read : "${var.bucket_arn}/${prefix}"]
  }

  dynamic "statement" {
    for_each = length(each.value.may_write) > 0 ? [each.value.may_write] : []
    content {
      sid       = "Write"
      actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
      resources = [for prefix in statement.value : "${var.bucket_arn}/${prefix}"]
    }
  }

  # S3 asks the key on behalf of whoever reads or writes; a part of a large upload is encrypted and read back.
  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]
    content {
      sid       = "Key"
      actions   = length(each.value.may_write) > 0 ? ["kms:Decrypt", "kms:GenerateDataKey"] : ["kms:Decrypt"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = length(each.value.may_delete) > 0 ? [each.value.may_delete] : []
    content {
      sid       = "Delete"
      actions   = ["s3:DeleteObject"]
      resources = [for prefix in statement.value : "${var.bucket_arn}/${prefix}"]
    }
  }
}

resource "aws_iam_role" "this" {
  for_each           = local.roles
  name               = "${var.prefix}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.trust.json
  tags               = var.tags
}

resource "aws_iam_role_policy" "this" {
  for_each = local.roles
  name     = "objects"
  role     = aws_iam_role.this[each.key].id
  policy   = data.aws_iam_policy_document.this[each.key].json
}
