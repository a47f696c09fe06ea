# Addresses and management tokens come from the environment: NOMAD_ADDR, NOMAD_TOKEN, CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN.
provider "nomad" {}

provider "consul" {}

module "acl" {
  source = "../.."

  stack             = var.stack
  nomad_namespace   = var.nomad_namespace
  tokens            = ["deploy"]
  workload_identity = { jwks_url = var.jwks_url }
}
