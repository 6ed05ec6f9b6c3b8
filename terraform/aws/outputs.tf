output "settings" {
  description = "What to put in the environment of every process."
  value       = { OA_S3_BUCKET = module.storage.bucket, OA_S3_REGION = var.region }
}

output "role_arns" {
  description = "Role of each kind of process."
  value       = module.roles.arns
}
