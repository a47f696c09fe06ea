resource "consul_acl_policy" "role" {
  for_each = local.consul_policies

  name        = "${var.stack}-${each.key}"
  description = "obsctl, stack ${var.stack}: ${each.key}"
  rules       = each.value
}

resource "consul_acl_role" "role" {
  for_each = local.consul_policies

  name        = "${var.stack}-${each.key}"
  description = "obsctl, stack ${var.stack}: ${each.key}"
  policies    = [consul_acl_policy.role[each.key].id]
}

resource "consul_acl_token" "role" {
  for_each = { for role in var.tokens : role => role if contains(keys(local.consul_policies), role) }

  description = "obsctl, stack ${var.stack}: ${each.key}"
  policies    = [consul_acl_policy.role[each.key].name]
}

locals {
  existing_method = try(var.workload_identity.create_auth_method, true) ? [] : [var.workload_identity.auth_method]
  # The stack's jobs. That of `obsctl doctor --probe` is none of them: it registers nothing.
  jobs = "alert-sink|alertmanager|grafana|jaeger|otel-agent|otel-gateway|prometheus|victorialogs|warden|hello-service|response-service|traffic"

  # Which tasks have which role in Consul. Each task of the stack reads its files and registers its services.
  identities = {
    warden       = "value.nomad_job_id == \"${var.stack}-warden\" and value.nomad_task == \"warden\""
    prometheus   = "value.nomad_job_id == \"${var.stack}-prometheus\" and value.nomad_task == \"prometheus\""
    demo         = "value.nomad_job_id matches \"^${var.stack}-(hello-service|response-service|traffic)$\""
    doctor-probe = "value.nomad_job_id == \"${var.stack}-doctor-probe\""
    tasks        = "value.nomad_job_id matches \"^${var.stack}-(${local.jobs})$\""
  }
}

resource "consul_acl_auth_method" "nomad" {
  count = try(var.workload_identity.create_auth_method, false) ? 1 : 0

  name           = var.workload_identity.auth_method
  description    = "obsctl: identities of Nomad's workloads"
  type           = "jwt"
  token_locality = "local" # and without an end: Nomad takes a token back with its task, and never renews one

  config_json = jsonencode(merge(
    {
      JWKSURL          = var.workload_identity.jwks_url
      JWTSupportedAlgs = ["RS256"]
      BoundAudiences   = [var.workload_identity.audience]
      ClaimMappings = {
        nomad_namespace = "nomad_namespace"
        nomad_job_id    = "nomad_job_id"
        nomad_task      = "nomad_task"
        nomad_service   = "nomad_service"
      }
    },
    var.workload_identity.jwks_ca_cert == null ? {} : { JWKSCACert = var.workload_identity.jwks_ca_cert },
  ))
}

resource "consul_acl_binding_rule" "program" {
  for_each = var.workload_identity == null ? {} : local.identities

  auth_method = one(concat(consul_acl_auth_method.nomad[*].name, local.existing_method))
  description = "obsctl, stack ${var.stack}: ${each.key}"
  selector    = "value.nomad_namespace == \"${var.nomad_namespace}\" and ${each.value}"
  bind_type   = "role"
  bind_name   = consul_acl_role.role[each.key].name
}
