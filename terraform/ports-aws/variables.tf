variable "name" {
  description = "Name of the load balancer and the security groups, and the beginning of the target groups' names."
  type        = string
  default     = "obsctl"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,14}[a-z0-9]$", var.name))
    error_message = "name must be 2 to 16 lower-case letters, digits and hyphens: AWS allows 32 characters with the program's name behind it."
  }
}

variable "vpc_id" {
  description = "VPC of the cluster."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets of the load balancer, in at least two availability zones."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "subnet_ids must name at least two subnets: AWS wants an application load balancer in two availability zones."
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

variable "certificate_arn" {
  description = "ARN of the certificate (ACM) with which the load balancer answers by HTTPS."
  type        = string

  validation {
    condition     = startswith(var.certificate_arn, "arn:")
    error_message = "certificate_arn must be the ARN of a certificate: the listeners speak HTTPS alone."
  }
}

variable "ssl_policy" {
  description = "Which TLS versions and ciphers the load balancer accepts."
  type        = string
  default     = "ELBSecurityPolicy-TLS13-1-2-2021-06"
}

variable "node_security_group_id" {
  description = "Security group of the nodes. It is opened for the load balancer, on the programs' ports alone."
  type        = string
}

variable "nodes" {
  description = "Addresses in the VPC of the nodes that may run the programs. The load balancer finds out where each one runs, by its health check."
  type        = set(string)

  validation {
    condition     = length(var.nodes) > 0 && alltrue([for node in var.nodes : can(cidrhost("${node}/32", 0)) && !strcontains(node, ":")])
    error_message = "nodes must be IPv4 addresses of nodes, such as 10.0.1.21."
  }
}

variable "programs" {
  description = "The programs that are opened: name -> port (the same on the node and on the load balancer) and the path of the health check. The ports are those of obsctl.yaml."
  type = map(object({
    port        = number
    health_path = string
  }))
  default = {
    prometheus   = { port = 9090, health_path = "/-/healthy" }
    grafana      = { port = 3000, health_path = "/api/health" }
    alertmanager = { port = 9093, health_path = "/-/healthy" }
    jaeger       = { port = 16686, health_path = "/" }
  }

  validation {
    condition     = alltrue([for program in values(var.programs) : program.port > 0 && program.port < 65536 && startswith(program.health_path, "/")])
    error_message = "Each of programs needs a port from 1 to 65535 and a health_path that begins with /."
  }
}

variable "internal" {
  description = "Whether the load balancer has addresses of the VPC alone."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of everything that the module makes."
  type        = map(string)
  default     = {}
}
