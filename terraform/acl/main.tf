locals {
  people   = ["deploy", "plan", "drill", "read"]
  programs = ["warden", "log-links", "prometheus", "demo", "doctor-probe", "tasks"]
  roles    = concat([for role in local.people : role if contains(var.people, role)], local.programs)

  values = { stack = var.stack, namespace = var.nomad_namespace }

  # Role -> text of its policy; a role that needs nothing of a server has no file for it. Written by `make generated`.
  files = { for role in local.roles : role => "${path.module}/policies/${role}" }
  nomad_files = {
    for role, file in local.files : role =>
    var.dynamic_volumes && fileexists("${file}.nomad-volumes.hcl.tftpl") ? "${file}.nomad-volumes.hcl.tftpl" : "${file}.nomad.hcl.tftpl"
  }
  nomad_policies  = { for role, file in local.nomad_files : role => templatefile(file, local.values) if fileexists(file) }
  consul_files    = { for role, file in local.files : role => "${file}.consul.hcl.tftpl" }
  consul_policies = { for role, file in local.consul_files : role => templatefile(file, local.values) if fileexists(file) }

  # The task of each program that asks Nomad: its identity has the policy, and no token is needed.
  tasks = {
    warden    = { job = "${var.stack}-warden", group = "warden", task = "warden" }
    log-links = { job = "${var.stack}-otel-agent", group = "otel-agent", task = "log-links" }
  }
}

resource "nomad_acl_policy" "role" {
  for_each = local.nomad_policies

  name        = "${var.stack}-${each.key}"
  description = "obsctl, stack ${var.stack}: ${each.key}"
  rules_hcl   = each.value

  dynamic "job_acl" {
    for_each = contains(keys(local.tasks), each.key) ? [local.tasks[each.key]] : []

    content {
      namespace = var.nomad_namespace
      job_id    = job_acl.value.job
      group     = job_acl.value.group
      task      = job_acl.value.task
    }
  }
}

resource "nomad_acl_role" "person" {
  for_each = var.people

  name        = "${var.stack}-${each.key}"
  description = "obsctl, stack ${var.stack}: ${each.key}"

  policy {
    name = nomad_acl_policy.role[each.key].name
  }
}

resource "nomad_acl_token" "role" {
  for_each = { for role in var.tokens : role => role if contains(keys(local.nomad_policies), role) }

  name     = "${var.stack}-${each.key}"
  type     = "client"
  policies = [nomad_acl_policy.role[each.key].name]
}
