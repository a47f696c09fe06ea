# The configuration of three servers and three clients with ACLs, encrypted gossip and mutual TLS, as files that any
# provisioner can copy: cloud-init, Ansible, an image build. The clients run the stack obs by docker, and offer what its
# components need with storage of kind host, the default.
module "agents" {
  source   = "../.."
  for_each = var.nodes

  node_name     = each.key
  address       = each.value.address
  nomad_server  = each.value.server
  consul_server = each.value.server
  nomad_client  = !each.value.server
  join          = [for node in values(var.nodes) : node.address if node.server]

  nomad_gossip_key  = var.nomad_gossip_key
  consul_gossip_key = var.consul_gossip_key
  consul_tokens     = var.consul_tokens

  tls = {
    ca_file          = "/etc/ssl/cluster/ca.pem"
    nomad_cert_file  = "/etc/ssl/cluster/nomad.pem"
    nomad_key_file   = "/etc/ssl/cluster/nomad-key.pem"
    consul_cert_file = "/etc/ssl/cluster/consul.pem"
    consul_key_file  = "/etc/ssl/cluster/consul-key.pem"
  }

  host_volumes = {
    for component, owner in local.owners : "obs-${component}" => { path = "/srv/obs-${component}", owner = owner }
    if !each.value.server
  }
  collector_volumes = !each.value.server
  plugins           = { docker = { allow_privileged = false } }
}

locals {
  # Each component that keeps data, and the user of its image, who must be able to write it: docs/drivers.md. With driver
  # exec that is 65534 for all.
  owners = {
    alert-sink   = 10001
    alertmanager = 65534
    grafana      = 472
    jaeger       = 10001
    otel-agent   = 10001
    otel-gateway = 10001
    prometheus   = 65534
    victorialogs = 0
  }

  plain = merge([for node, agents in module.agents : { for name in keys(agents.files) : "${node}/${name}" => agents.files[name] }]...)
  # The names are no secrets, and for_each takes none.
  secret = toset(flatten([for node in keys(var.nodes) : ["${node}/nomad-secrets.json", "${node}/consul-secrets.json"]]))
}

resource "local_file" "plain" {
  for_each = local.plain

  filename        = "${var.folder}/${each.key}"
  content         = each.value
  file_permission = "0644"
}

resource "local_sensitive_file" "secret" {
  for_each = local.secret

  filename        = "${var.folder}/${each.key}"
  content         = module.agents[dirname(each.key)].secret_files[basename(each.key)]
  file_permission = "0600"
}
