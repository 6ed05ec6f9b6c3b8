output "arns" {
  description = "ARN of each role, by kind of process: api, worker, serving."
  value       = { for name, role in aws_iam_role.this : name => role.arn }
}
