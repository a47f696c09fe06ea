locals {
  consul = merge(
    {
      node_name   = var.node_name
      datacenter  = var.datacenter
      data_dir    = "${var.data_dir}/consul"
      bind_addr   = var.address
      client_addr = join(" ", distinct(["127.0.0.1", var.address]))
      server      = var.consul_server
      retry_join  = var.join
      acl         = { enabled = var.acl, default_policy = var.acl ? "deny" : "allow", enable_token_persistence = var.acl }
      limits      = var.limits
      telemetry   = { prometheus_retention_time = "60s", disable_hostname = true }
      ports       = var.tls == null ? {} : { http = -1, https = local.consul_http_port }
    },
    var.consul_server ? { bootstrap_expect = var.servers } : {},
    var.tls == null ? {} : { tls = local.consul_tls },
  )

  consul_tls = var.tls == null ? null : {
    defaults = {
      ca_file         = var.tls.ca_file
      cert_file       = var.tls.consul_cert_file
      key_file        = var.tls.consul_key_file
      verify_incoming = true
      verify_outgoing = true
    }
    internal_rpc = { verify_server_hostname = true }
  }

  consul_tokens = {
    for name, token in { agent = var.consul_tokens.agent, initial_management = var.consul_tokens.initial_management } :
    name => token if token != null && (name == "agent" || var.consul_server)
  }

  consul_secrets = merge(
    var.consul_gossip_key == null ? {} : { encrypt = var.consul_gossip_key },
    length(local.consul_tokens) == 0 ? {} : { acl = { tokens = local.consul_tokens } },
  )
}
