locals {
  # With TLS Consul listens for HTTPS alone.
  consul_http_port = var.tls == null ? 8500 : 8501

  nomad = merge(
    {
      name       = var.node_name
      datacenter = var.datacenter
      region     = var.region
      data_dir   = "${var.data_dir}/nomad"
      bind_addr  = var.address
      advertise  = { http = var.address, rpc = var.address, serf = var.address }
      acl        = { enabled = var.acl }
      consul     = merge(local.nomad_consul, var.workload_identity ? local.identities : {})
      limits     = var.limits
      plugin     = { for name, config in var.plugins : name => { config = config } }
      telemetry = {
        prometheus_metrics         = true
        publish_allocation_metrics = true
        publish_node_metrics       = true
        disable_hostname           = true
        collection_interval        = var.telemetry_interval
      }
    },
    var.nomad_server ? { server = local.nomad_server } : {},
    var.nomad_client ? { client = local.nomad_client } : {},
    var.tls == null ? {} : { tls = local.nomad_tls },
  )

  nomad_consul = merge(
    { address = "127.0.0.1:${local.consul_http_port}" },
    var.tls == null ? {} : {
      ssl       = true
      ca_file   = var.tls.ca_file
      cert_file = var.tls.consul_cert_file
      key_file  = var.tls.consul_key_file
    },
  )

  # How long they hold: Nomad gives a new one in time.
  identity = { aud = ["consul.io"], ttl = "1h" }
  identities = merge(
    { task_identity = local.identity },
    var.service_identity ? { service_identity = local.identity } : {},
  )

  nomad_server = {
    enabled          = true
    bootstrap_expect = var.servers
    server_join      = { retry_join = var.join }
  }

  nomad_client = merge(
    {
      enabled     = true
      server_join = { retry_join = var.join }
      reserved    = var.reserved
      options     = var.client_options
      meta        = merge(var.client_meta, var.volumes_folder == null ? {} : { obsctl_volumes = var.volumes_folder })
      host_volume = merge(local.host_volumes, var.collector_volumes ? local.collector_volumes : {})
    },
    var.node_pool == null ? {} : { node_pool = var.node_pool },
    var.network_interface == null ? {} : { network_interface = var.network_interface },
  )

  host_volumes = { for name, volume in var.host_volumes : name => { path = volume.path, read_only = volume.read_only } }

  # log-links makes hard links below the first, so it must not be read-only.
  collector_volumes = {
    obsctl-nomad-alloc = { path = "${var.data_dir}/nomad/alloc", read_only = false }
    obsctl-host-root   = { path = "/", read_only = true }
  }

  nomad_tls = var.tls == null ? null : {
    http                   = true
    rpc                    = true
    ca_file                = var.tls.ca_file
    cert_file              = var.tls.nomad_cert_file
    key_file               = var.tls.nomad_key_file
    verify_server_hostname = true
    verify_https_client    = coalesce(var.tls.verify_https_client, !var.workload_identity)
  }

  nomad_secrets = merge(
    var.nomad_server && var.nomad_gossip_key != null ? { server = { encrypt = var.nomad_gossip_key } } : {},
    var.consul_tokens.nomad == null ? {} : { consul = { token = var.consul_tokens.nomad } },
  )
}
