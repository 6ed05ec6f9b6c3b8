output "bucket" {
  description = "Name of the bucket: OA_S3_BUCKET."
  value       = aws_s3_bucket.this.id
}

output "arn" {
  description = "ARN of the bucket, for policies."
  value       = aws_s3_bucket.this.arn
}
