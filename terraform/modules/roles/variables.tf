variable "prefix" {
  description = "First part of the roles' names."
  type        = string
}

variable "bucket_arn" {
  description = "ARN of the bucket that the storage module made."
  type        = string
}

variable "kms_key_arn" {
  description = "Key that encrypts the bucket's objects; null when S3 manages it. The roles may then use it."
  type        = string
  default     = null
}

variable "trusted_services" {
  description = "AWS services that may take these roles, such as ecs-tasks.amazonaws.com."
  type        = list(string)
  default     = ["ecs-tasks.amazonaws.com", "lambda.amazonaws.com", "ec2.amazonaws.com"]
}

variable "tags" {
  description = "Tags of the roles."
  type        = map(string)
  default     = {}
}
