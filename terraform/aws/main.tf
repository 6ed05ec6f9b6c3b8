# On AWS: the bucket and the roles. The document store (MongoDB or DocumentDB), the network and the machines are yours:
# give the processes the roles below and the addresses by OA_MONGODB_URI and OA_S3_BUCKET (docs/operator.md).

terraform {
  required_version = ">= 1.6"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.60, < 6"
    }
  }
}

provider "aws" {
  region = var.region
  default_tags {
    tags = { project = "open-assistant" }
  }
}

module "storage" {
  source      = "../modules/storage"
  bucket      = var.bucket
  kms_key_arn = var.kms_key_arn
  job_days    = var.job_days
}

module "roles" {
  source      = "../modules/roles"
  prefix      = var.prefix
  bucket_arn  = module.storage.arn
  kms_key_arn = var.kms_key_arn
}
