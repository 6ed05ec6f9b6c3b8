variable "region" {
  description = "AWS region: OA_S3_REGION."
  type        = string
  default     = "us-east-1"
}

variable "bucket" {
  description = "Name of the bucket; unique in all of AWS."
  type        = string
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

variable "job_days" {
  description = "Days after which a training job's checkpoints and stage outputs expire."
  type        = number
  default     = 90
}
