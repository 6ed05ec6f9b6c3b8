# On an emulator of AWS (LocalStack, or moto's server): the same modules, so that what is applied here is what AWS gets.

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
  region     = var.region
  access_key = "test" # what emulators expect; it opens nothing
  secret_key = "test"

  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true

  endpoints {
    s3  = var.endpoint
    iam = var.endpoint
    sts = var.endpoint
  }
}

module "storage" {
  source        = "../modules/storage"
  bucket        = var.bucket
  kms_key_arn   = var.kms_key_arn
  require_tls   = false
  force_destroy = true

  job_expiry_min_bytes = var.job_expiry_min_bytes
}

module "roles" {
  source      = "../modules/roles"
  prefix      = var.prefix
  bucket_arn  = module.storage.arn
  kms_key_arn = var.kms_key_arn
}
