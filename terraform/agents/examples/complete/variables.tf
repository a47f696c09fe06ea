variable "nodes" {
  description = "The nodes: name -> address, and whether it is one of the servers or runs jobs."
  type = map(object({
    address = string
    server  = bool
  }))
}

variable "nomad_gossip_key" {
  description = "nomad operator gossip keyring generate. Set it as TF_VAR_nomad_gossip_key."
  type        = string
  sensitive   = true
}

variable "consul_gossip_key" {
  description = "consul keygen. Set it as TF_VAR_consul_gossip_key."
  type        = string
  sensitive   = true
}

variable "consul_tokens" {
  description = "Consul's tokens for the agents. Set it as TF_VAR_consul_tokens."
  type = object({
    agent              = optional(string)
    nomad              = optional(string)
    initial_management = optional(string)
  })
  sensitive = true
}

variable "folder" {
  description = "Folder on this machine into which the files are written, one folder a node, for a provisioner to copy."
  type        = string
  default     = "build"
}
