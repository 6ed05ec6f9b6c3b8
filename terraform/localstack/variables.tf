variable "endpoint" {
  description = "Address of the emulator."
  type        = string
  default     = "http://127.0.0.1:4566"
}

variable "region" {
  description = "Region that the emulator plays."
  type        = string
  default     = "us-east-1"
}

variable "bucket" {
  description = "Name of the bucket: OA_S3_BUCKET."
  type        = string
  default     = "open-assistant"
}

variable "prefix" {
  description = "First part of the roles' names."
  type        = string
  default     = "open-assistant"
}

variable "kms_key_arn" {
  description = "Key that encrypts objects; null uses the key that S3 manages."
  type        = string
  default     = null
}

variable "job_expiry_min_bytes" {
  description = "Size in bytes above which a job's objects expire. 0, for emulators without such a filter: all of them."
  type        = number
  default     = 1048576
}
