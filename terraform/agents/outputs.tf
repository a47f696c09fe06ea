output "files" {
  description = "File name -> text: the agents' configuration without secrets. Start the agents with -config=nomad.json and -config-file=consul.json."
  value = {
    "nomad.json"  = jsonencode(local.nomad)
    "consul.json" = jsonencode(local.consul)
  }

  precondition {
    condition     = var.nomad_server || !var.nomad_client || length(var.join) > 0
    error_message = "join must name the servers: a Nomad client that is no server never finds them without."
  }

  precondition {
    condition     = var.consul_server || length(var.join) > 0
    error_message = "join must name the servers: a Consul agent that is no server never finds them without."
  }
}

output "secret_files" {
  description = "File name -> text: what has gossip keys and tokens. Give these to the agents as a second file each, readable by their user alone."
  value = {
    "nomad-secrets.json"  = jsonencode(local.nomad_secrets)
    "consul-secrets.json" = jsonencode(local.consul_secrets)
  }
  sensitive = true
}

output "folders" {
  description = "Path -> owner (number of the user) and mode of each folder that must be there before Nomad's client starts: those of host_volumes that jobs write to, and volumes_folder."
  value = merge(
    { for volume in values(var.host_volumes) : volume.path => { owner = volume.owner, mode = volume.mode } if !volume.read_only },
    var.volumes_folder == null ? {} : { (var.volumes_folder) = { owner = 0, mode = "0755" } },
  )
}
