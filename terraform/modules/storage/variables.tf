variable "bucket" {
  description = "Name of the bucket; unique in all of AWS."
  type        = string
}

variable "kms_key_arn" {
  description = "Key that encrypts objects; null uses the key that S3 manages."
  type        = string
  default     = null
}

variable "job_days" {
  description = "Days after which a training job's checkpoints and stage outputs expire. Published models and snapshots never do."
  type        = number
  default     = 90
  validation {
    condition     = var.job_days >= 7
    error_message = "job_days must be at least 7: a job that runs for days still needs its first checkpoints."
  }
}

variable "noncurrent_days" {
  description = "Days for which overwritten and deleted objects can be brought back."
  type        = number
  default     = 30
}

variable "require_tls" {
  description = "Refuse requests without TLS. False only for emulators on one machine."
  type        = bool
  default     = true
}

variable "force_destroy" {
  description = "Let `terraform destroy` remove a bucket that still holds objects. For emulators and tests."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of the bucket."
  type        = map(string)
  default     = {}
}

variable "job_expiry_min_bytes" {
  description = "Size in bytes above which a job's objects expire. 0, for emulators without such a filter: all of them."
  type        = number
  default     = 1048576
}
