provider "aws" {
  region = var.region
}

module "ports" {
  source = "../.."

  vpc_id                 = var.vpc_id
  subnet_ids             = var.subnet_ids
  cidrs                  = var.cidrs
  certificate_arn        = var.certificate_arn
  node_security_group_id = var.node_security_group_id
  nodes                  = var.nodes
  tags                   = { stack = "obs" }
}
