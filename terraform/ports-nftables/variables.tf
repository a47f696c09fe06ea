variable "table" {
  description = "Name of the nftables table. Loading the ruleset replaces this table and touches no other."
  type        = string
  default     = "obsctl"

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,30}$", var.table))
    error_message = "table must be a lower-case letter followed by letters, digits and underscores."
  }
}

variable "nodes" {
  description = "Addresses or networks of the cluster's nodes. They reach each other on all ports: Nomad gives tasks ports of its own choice."
  type        = list(string)

  validation {
    condition     = length(var.nodes) > 0 && alltrue([for node in var.nodes : can(cidrhost(strcontains(node, "/") ? node : "${node}/32", 0)) && !strcontains(node, ":")])
    error_message = "nodes must be IPv4 addresses or networks, such as 10.0.1.0/24."
  }

  validation {
    condition     = alltrue([for node in var.nodes : try(tonumber(split("/", node)[1]), 32) >= 8])
    error_message = "nodes must not be the whole internet: none wider than /8."
  }
}

variable "cidrs" {
  description = "Networks from which people reach the programs. There is no default: the programs ask for no password, except Grafana."
  type        = list(string)

  validation {
    condition     = length(var.cidrs) > 0 && alltrue([for cidr in var.cidrs : can(cidrhost(cidr, 0)) && !strcontains(cidr, ":")])
    error_message = "cidrs must name at least one IPv4 network, such as 10.20.0.0/16."
  }

  validation {
    condition     = alltrue([for cidr in var.cidrs : try(tonumber(split("/", cidr)[1]), 0) >= 8])
    error_message = "cidrs must not open the programs to the whole internet: none wider than /8."
  }
}

variable "ports" {
  description = "The ports that people reach: program -> port. They are those of obsctl.yaml."
  type        = map(number)
  default = {
    prometheus   = 9090
    grafana      = 3000
    alertmanager = 9093
    jaeger       = 16686
  }

  validation {
    condition     = length(var.ports) > 0 && alltrue([for port in values(var.ports) : port > 0 && port < 65536 && floor(port) == port])
    error_message = "ports must be whole numbers from 1 to 65535."
  }

  validation {
    condition     = alltrue([for name in keys(var.ports) : can(regex("^[a-z0-9-]+$", name))])
    error_message = "The names in ports must be lower-case letters, digits and hyphens."
  }
}

variable "closed_ports" {
  description = <<-EOT
    Ports that none but the nodes and this machine reach: Nomad's, Consul's and those of the stack's programs that are
    not in ports, and the ports that Nomad gives to tasks. Each is a port or a range, such as 20000-32000.
  EOT
  type        = list(string)
  default = [
    "4317-4318", "4646-4648", "8098-8099", "8300-8302", "8500-8503", "8600", "9094", "9428",
    "14317-14318", "16686", "24317", "3000", "9090", "9093", "20000-32000",
  ]

  validation {
    condition     = length(var.closed_ports) > 0 && alltrue([for port in var.closed_ports : can(regex("^[0-9]{1,5}(-[0-9]{1,5})?$", port))])
    error_message = "closed_ports must be ports or ranges, such as 4646-4648."
  }

  validation {
    condition = alltrue([for range in var.closed_ports : try(
      tonumber(split("-", range)[0]) >= 1 && tonumber(reverse(split("-", range))[0]) <= 65535 &&
    tonumber(split("-", range)[0]) <= tonumber(reverse(split("-", range))[0]), true)])
    error_message = "closed_ports must be from 1 to 65535, the lower end of a range first."
  }
}

variable "task_interfaces" {
  description = "Network interfaces of this node's own containers. They reach all ports, as the tasks of other nodes do."
  type        = list(string)
  default     = ["docker0", "nomad"]

  validation {
    condition     = alltrue([for name in var.task_interfaces : can(regex("^[A-Za-z0-9_.-]{1,15}$", name))])
    error_message = "task_interfaces must be names of network interfaces, such as docker0."
  }
}
