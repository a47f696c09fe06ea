variable "node_name" {
  description = "Name of the node in Nomad and Consul. The node's alerts carry it."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9-]{1,63}$", var.node_name))
    error_message = "node_name must be 1 to 63 letters, digits and hyphens: Consul's DNS serves no other names."
  }
}

variable "address" {
  description = "Address of this node that the other nodes reach. The agents listen on it, and Consul on 127.0.0.1 too."
  type        = string

  validation {
    condition     = can(cidrhost("${var.address}/32", 0)) && !startswith(var.address, "0.") && !strcontains(var.address, ":")
    error_message = "address must be an IPv4 address of this node, such as 10.0.1.5; 0.0.0.0 is none."
  }
}

variable "datacenter" {
  description = "Datacenter of Nomad and Consul."
  type        = string
  default     = "dc1"

  validation {
    condition     = can(regex("^[a-z0-9_-]+$", var.datacenter))
    error_message = "datacenter must be lower-case letters, digits, hyphens and underscores: Consul accepts no other."
  }
}

variable "region" {
  description = "Region of Nomad."
  type        = string
  default     = "global"

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]+$", var.region))
    error_message = "region must be letters, digits, hyphens and underscores: it is a part of the certificates' names."
  }
}

variable "nomad_server" {
  description = "Whether this node is a Nomad server."
  type        = bool
  default     = false
}

variable "nomad_client" {
  description = "Whether this node is a Nomad client, which runs jobs."
  type        = bool
  default     = false
}

variable "consul_server" {
  description = "Whether this node is a Consul server. Otherwise it runs a Consul client agent."
  type        = bool
  default     = false
}

variable "servers" {
  description = "Number of servers, of Nomad and of Consul: they elect a leader once that many are there."
  type        = number
  default     = 3

  validation {
    condition     = contains([1, 3, 5, 7], var.servers)
    error_message = "servers must be 1, 3, 5 or 7: an even number survives no more failures than the odd one below it."
  }
}

variable "join" {
  description = "Addresses of the servers that this node joins, or go-discover texts (\"provider=aws tag_key=...\")."
  type        = list(string)
  default     = []
}

variable "data_dir" {
  description = "Folder on the node in which Nomad and Consul keep their data, each in a folder of its name."
  type        = string
  default     = "/opt"

  validation {
    condition     = startswith(var.data_dir, "/")
    error_message = "data_dir must be an absolute path."
  }
}

variable "acl" {
  description = "Whether Nomad and Consul refuse what no policy allows."
  type        = bool
  default     = true
}

variable "nomad_gossip_key" {
  description = "Key that encrypts the gossip of Nomad's servers, as `nomad operator gossip keyring generate` prints it. Null: no encryption."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.nomad_gossip_key == null || try(length(var.nomad_gossip_key) == 44 && endswith(var.nomad_gossip_key, "="), false)
    error_message = "nomad_gossip_key must be 32 bytes in base64 (44 characters): nomad operator gossip keyring generate."
  }
}

variable "consul_gossip_key" {
  description = "Key that encrypts Consul's gossip, as `consul keygen` prints it. Null: no encryption."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.consul_gossip_key == null || try(length(var.consul_gossip_key) == 44 && endswith(var.consul_gossip_key, "="), false)
    error_message = "consul_gossip_key must be 32 bytes in base64 (44 characters): consul keygen."
  }
}

variable "consul_tokens" {
  description = <<-EOT
    Consul's tokens on this node.
    agent: with which the Consul agent registers its node. nomad: with which the Nomad agent talks to Consul; on Nomad
    1.6 it needs the role tasks of the module acl too, for the templates and services of tasks, and without
    service_identity for the services.
    initial_management: on servers, the management token that Consul makes at the first start of the cluster.
  EOT
  type = object({
    agent              = optional(string)
    nomad              = optional(string)
    initial_management = optional(string)
  })
  default   = {}
  sensitive = true
}

variable "tls" {
  description = <<-EOT
    Paths on the node of the PEM files with which the agents prove who they are and check others: mutual TLS for
    HTTP and RPC. The certificates must name server.REGION.nomad, client.REGION.nomad and server.DATACENTER.consul.
    verify_https_client: whether Nomad's HTTP API wants a client's certificate, by default unless workload_identity is
    set: Consul reads the keys of the identities there, and shows none. Null: no TLS.
  EOT
  type = object({
    ca_file             = string
    nomad_cert_file     = string
    nomad_key_file      = string
    consul_cert_file    = string
    consul_key_file     = string
    verify_https_client = optional(bool)
  })
  default = null
}

variable "workload_identity" {
  description = "Whether Nomad gives tasks and services an identity for Consul. Needs Nomad 1.7 and Consul's JWT auth method (module acl)."
  type        = bool
  default     = false
}

variable "service_identity" {
  description = "Whether that holds for services too, which then need no right of Nomad's own Consul token. Not with Consul older than 1.15, which keeps the services of a node that crashed."
  type        = bool
  default     = true
}

variable "host_volumes" {
  description = "Host volumes that the Nomad client offers to jobs: name -> path on the node, and whose folder it is. The folders must exist: see the output folders. owner: the user who writes to it, by default nobody (65534), as whom driver exec runs all of them; with docker and podman it is that of the component's image, see docs/drivers.md."
  type = map(object({
    path      = string
    read_only = optional(bool, false)
    owner     = optional(number, 65534)
    mode      = optional(string, "0750")
  }))
  default = {}

  validation {
    condition     = alltrue([for volume in values(var.host_volumes) : startswith(volume.path, "/")])
    error_message = "Each path of host_volumes must be absolute."
  }

  validation {
    condition     = alltrue([for volume in values(var.host_volumes) : can(regex("^0?[0-7]{3}$", volume.mode)) && volume.owner >= 0 && floor(volume.owner) == volume.owner])
    error_message = "Each of host_volumes needs an owner that is the number of a user, and a mode such as 0750."
  }

  validation {
    condition     = alltrue([for name in keys(var.host_volumes) : can(regex("^[A-Za-z0-9_.-]{1,128}$", name))])
    error_message = "The names in host_volumes must be letters, digits, hyphens, dots and underscores."
  }
}

variable "collector_volumes" {
  description = "Whether to offer obsctl-nomad-alloc and obsctl-host-root, which the collector needs with each driver but raw_exec. Who may run jobs may mount them: see docs/drivers.md."
  type        = bool
  default     = false
}

variable "volumes_folder" {
  description = "Folder for the data of jobs with driver raw_exec (the node's meta obsctl_volumes). Null: none."
  type        = string
  default     = null
}

variable "plugins" {
  description = "Settings of Nomad's task drivers: name -> what stands in its config block."
  type        = any
  default     = {}

  validation {
    condition     = can(keys(var.plugins))
    error_message = "plugins must be an object, such as { raw_exec = { enabled = true } }."
  }
}

variable "client_meta" {
  description = "Meta of the Nomad client, for constraints of jobs."
  type        = map(string)
  default     = {}
}

variable "client_options" {
  description = "Options of the Nomad client, such as fingerprint.denylist."
  type        = map(string)
  default     = {}
}

variable "node_pool" {
  description = "Node pool of the Nomad client. Null: the pool default."
  type        = string
  default     = null
}

variable "network_interface" {
  description = "Network interface whose address tasks get. Null: the one of the default route."
  type        = string
  default     = null
}

variable "reserved" {
  description = "What jobs do not get of the node: CPU in MHz, memory and disk in MB."
  type = object({
    cpu    = optional(number, 200)
    memory = optional(number, 256)
    disk   = optional(number, 1024)
  })
  default = {}
}

variable "limits" {
  description = "Connections that one address may have to each agent, and how long a TLS handshake may take. Prometheus, the warden and the jobs' templates of a node share its address."
  type = object({
    http_max_conns_per_client = optional(number, 200)
    rpc_max_conns_per_client  = optional(number, 100)
    https_handshake_timeout   = optional(string, "5s")
    rpc_handshake_timeout     = optional(string, "5s")
  })
  default = {}
}

variable "telemetry_interval" {
  description = "How often Nomad measures allocations and nodes. Not longer than Prometheus' scrape interval."
  type        = string
  default     = "5s"

  validation {
    condition     = can(regex("^[1-9][0-9]*s$", var.telemetry_interval))
    error_message = "telemetry_interval must be seconds, such as 5s."
  }
}
